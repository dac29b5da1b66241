//! Gives up what the daemon does not need.
//! A checked configuration -> a process that can write to its own folders only, and start no program.
//! Invariant: it holds for every thread, for it comes before the first one; it cannot be taken back.
//! Leaves out: the user (`process`), and what the service manager keeps from us.
//!
//! Landlock (landlock(7)) does it where the kernel has it. What is open already stays
//! open: sockets, and the pidfile.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus,
};

use super::process;
use crate::config::checked::Config;
use crate::config::status::Address;

/// Where the system keeps what programs read: libraries, time zones, names, certificates
/// of authorities, what the kernel tells.
const SYSTEM: [&str; 8] = ["/etc", "/usr", "/lib", "/lib64", "/run", "/proc", "/sys", "/nix/store"];

/// Rights of this version are asked for; an older kernel grants what it knows.
const VERSION: ABI = ABI::V5;

/// How far it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confined {
    /// It holds.
    Fully,
    /// It holds as far as this kernel can.
    Partly,
    /// The kernel has no Landlock.
    NotAtAll,
    /// The configuration does not want it.
    NotWanted,
}

impl fmt::Display for Confined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Confined::Fully => "confined to its own folders",
            Confined::Partly => {
                "confined to its own folders, as far as this kernel's Landlock goes"
            }
            Confined::NotAtAll => "not confined to its own folders: this kernel has no Landlock",
            Confined::NotWanted => "not confined to its own folders: [main] confine = no",
        })
    }
}

/// From now on no program that this one starts gets more rights than it has, and files
/// can be written in our own folders only. Called before there is a second thread.
///
/// # Errors
/// What the system says.
pub(super) fn confine(config: &Config) -> Result<Confined> {
    nix::sys::prctl::set_no_new_privs().context("cannot give up gaining rights")?;
    if !config.main.confine {
        return Ok(Confined::NotWanted);
    }
    let all = AccessFs::from_all(VERSION);
    // To run a program is no reading.
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = all & !BitFlags::from(AccessFs::Execute);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)
        .and_then(Ruleset::create)
        .context("cannot confine the daemon")?;
    let readable = readable(config).into_iter().map(|path| (path, read));
    let writable = writable(config).into_iter().map(|path| (path, write));
    let null = (PathBuf::from("/dev/null"), AccessFs::ReadFile | AccessFs::WriteFile);
    for (path, rights) in readable.chain(writable).chain([null]) {
        // What is not there needs no right.
        let Ok(folder) = PathFd::new(&path) else { continue };
        rules = rules
            .add_rule(PathBeneath::new(folder, rights))
            .with_context(|| format!("cannot confine the daemon to {}", path.display()))?;
    }
    let status = rules.restrict_self().context("cannot confine the daemon")?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Confined::Fully,
        RulesetStatus::PartiallyEnforced => Confined::Partly,
        RulesetStatus::NotEnforced => Confined::NotAtAll,
    })
}

fn writable(config: &Config) -> BTreeSet<PathBuf> {
    let status = match &config.status {
        Some(Address::Unix(path)) => path.parent().map(Path::to_owned),
        _ => None,
    };
    process::folders(config).into_iter().map(|(_, folder)| folder).chain(status).collect()
}

/// Folders, so that a file may be replaced by another one of its name.
fn readable(config: &Config) -> BTreeSet<PathBuf> {
    let tls = config.server.tls.iter().flat_map(|tls| {
        [Some(&tls.pemfile), Some(&tls.cacert), tls.crl.as_ref()].into_iter().flatten()
    });
    let shipped = config.ship.iter().flat_map(|target| &target.files);
    let files = tls.chain(shipped).chain([&config.main.facilities_config]);
    let folders = files.filter_map(|file| file.parent()).map(Path::to_owned);
    let system = SYSTEM.map(PathBuf::from);
    folders.chain([config.folder.clone()]).chain(system).collect()
}
