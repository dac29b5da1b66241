//! Whose a new file shall be.
//! The environment that sudo leaves -> `Owner`.
//! Invariant: the environment is believed only when root asks; nobody gains by lying in it.
//! Leaves out: files that are replaced; they keep the owner that they had ([`crate::files`]).

use std::env;

use nix::unistd::{User, geteuid};

/// A user and a group, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

/// The user who called sudo, or `None` when nobody did: files then belong to
/// whoever runs the program.
#[must_use]
pub fn caller() -> Option<Owner> {
    if !geteuid().is_root() {
        return None;
    }
    by_number().or_else(by_name)
}

fn by_number() -> Option<Owner> {
    let number = |name| env::var(name).ok()?.parse::<u32>().ok();
    Some(Owner { uid: number("SUDO_UID")?, gid: number("SUDO_GID")? })
}

/// Some replacements of sudo set the name only.
fn by_name() -> Option<Owner> {
    let user = User::from_name(&env::var("SUDO_USER").ok()?).ok()??;
    Some(Owner { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
}
