//! Makes a client of what the command line says.
//! `Target`, `Options`, files, environment -> a `Client`, or why not.
//! Invariant: files that were named are usable, or nothing is sent at all.
//! Leaves out: the network; it may come later.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use loghog::{Client, Protocol, Tls, TlsError, Transport};
use nix::unistd::{AccessFlags, access};

use crate::arguments::{self, Options, Target};
use crate::limits::{QUEUE_BYTES, SECRET_BYTES_MAX};

/// Where the secret is when no file is named.
const SECRET_VARIABLE: &str = "LOGHOG_SECRET";

/// Why there is nothing to send with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error("cannot read the secret from {}: {source}; check --secret-file", path.display())]
    SecretFile { path: PathBuf, source: io::Error },
    #[error("{} holds no secret; write one there, or leave --secret-file out", path.display())]
    NoSecret { path: PathBuf },
    #[error("{} is longer than {SECRET_BYTES_MAX} bytes; that is no secret", path.display())]
    LongSecret { path: PathBuf },
    #[error("cannot keep a spool in {}: {source}; check --spool and who may write there", path.display())]
    Spool { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Client(loghog::Error),
    #[error("{0}")]
    Usage(loghog::Error),
}

/// The client, which has not connected yet.
pub(crate) fn client(target: &Target, options: &Options) -> Result<Client, SetupError> {
    let mut builder =
        loghog::builder(&target.app).queue_bytes(QUEUE_BYTES).protocol(match options.protocol {
            arguments::Protocol::Auto => Protocol::Auto,
            arguments::Protocol::V1 => Protocol::V1,
            arguments::Protocol::V2 => Protocol::V2,
        });
    if !options.servers.is_empty() {
        builder = builder.addresses(&options.servers);
    }
    if let (true, Some(pem), Some(ca)) = (options.tls, &options.pem, &options.ca) {
        let tls = Tls::new(pem, ca);
        builder = builder.transport(Transport::Tls(match &options.server_name {
            Some(name) => tls.server_name(name),
            None => tls,
        }));
    }
    if let Some(secret) = secret(options.secret_file.as_deref())? {
        builder = builder.secret(secret);
    }
    if let Some(hostname) = &options.hostname {
        builder = builder.hostname(hostname);
    }
    if let Some(dir) = &options.spool {
        check_spool(dir).map_err(|source| SetupError::Spool { path: dir.clone(), source })?;
        builder = builder.spool(dir);
    }
    if let Some(bytes) = options.spool_bytes {
        builder = builder.spool_bytes(bytes);
    }
    builder.build_client().map_err(|error| match error {
        loghog::Error::NoApp
        | loghog::Error::NoAddress
        | loghog::Error::Address { .. }
        | loghog::Error::SpoolTooSmall { .. }
        | loghog::Error::Tls(TlsError::ServerName { .. }) => SetupError::Usage(error),
        error => SetupError::Client(error),
    })
}

/// The secret of the file or else of the environment.
fn secret(file: Option<&Path>) -> Result<Option<Vec<u8>>, SetupError> {
    match file {
        Some(path) => secret_in(path).map(Some),
        None => Ok(std::env::var_os(SECRET_VARIABLE).map(OsString::into_vec)),
    }
}

fn secret_in(path: &Path) -> Result<Vec<u8>, SetupError> {
    let failed = |source| SetupError::SecretFile { path: path.to_owned(), source };
    let mut secret = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut secret).map_err(failed)?;
    if secret.len() as u64 > SECRET_BYTES_MAX {
        return Err(SetupError::LongSecret { path: path.to_owned() });
    }
    if secret.ends_with(b"\n") {
        secret.pop();
        if secret.ends_with(b"\r") {
            secret.pop();
        }
    }
    match secret.is_empty() {
        true => Err(SetupError::NoSecret { path: path.to_owned() }),
        false => Ok(secret),
    }
}

/// The client itself goes on without a spool that it cannot use. Who names one
/// on the command line wants to know.
fn check_spool(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    access(dir, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK)?;
    Ok(())
}
