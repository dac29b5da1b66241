//! Looks whether what the configuration names is there.
//! A checked configuration -> further problems and warnings.
//! Invariant: looks only; makes, opens for writing and binds nothing.
//! Leaves out: whether certificates are good; a start says that.

use crate::config::Loaded;
use crate::config::problem::{Kind, Problem, Problems};
use nix::unistd::User;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What a start would miss. `file` is `loghogd.conf`.
pub(super) fn missing(loaded: &Loaded, file: &Path) -> Vec<Problem> {
    let mut problems = Problems::of(file);
    let line = |section, option| loaded.raw.line_of(section, option);
    if let Some(tls) = &loaded.config.server.tls {
        let cacert = Some(&tls.cacert);
        let files =
            [("pemfile", Some(&tls.pemfile)), ("cacert", cacert), ("crl", tls.crl.as_ref())];
        for (option, path) in files.into_iter().filter_map(|(option, path)| Some((option, path?))) {
            if let Err(error) = readable(path) {
                let message = format!("{option}: {} cannot be read: {error}", path.display());
                let remedy = "make it with loghog-server-cert, correct the path, \
                              or let the user of loghogd read it";
                problems.add(line("server", option), Kind::Surroundings, message, remedy);
            }
        }
    }
    if let Some(user) = &loaded.config.main.user {
        let fault = match User::from_name(user) {
            Ok(Some(_)) => None,
            Ok(None) => Some("there is no such user".to_owned()),
            Err(error) => Some(format!("the user cannot be looked up: {error}")),
        };
        if let Some(fault) = fault {
            let message = format!("user: {fault}: {user}");
            let remedy = format!("create it: useradd --system {user}");
            problems.add(line("main", "user"), Kind::Surroundings, message, remedy);
        }
    }
    problems.into_vec()
}

/// Warns when everybody on this machine can read the secrets.
pub(super) fn exposed(loaded: &Loaded) -> Option<Problem> {
    let file = loaded.table.file();
    let signed = loaded.table.iter().any(|facility| facility.secret.is_some());
    let mode = file.metadata().ok()?.permissions().mode();
    (signed && mode & 0o004 != 0).then(|| Problem {
        file: file.to_owned(),
        line: None,
        kind: Kind::Exposed,
        message: "every user of this machine can read the secrets in it".to_owned(),
        remedy: format!("chmod o= {}", file.display()),
    })
}

fn readable(path: &Path) -> std::io::Result<()> {
    // Reading tells a folder from a file, opening does not.
    File::open(path)?.read(&mut [0]).map(drop)
}
