//! `loghog-client-cert`: makes, lists and revokes the certificates of clients.
//! Arguments and a CA -> `NAME.pem` in the current folder, or new books of the CA.
//! Invariant: a certificate is in the index before its owner has it.
//! Leaves out: telling the daemon; a revocation counts from its next reload.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::books::{self, Books};
use crate::ca::{Ca, CaCertificate, Files, PREFIX};
use crate::files::{self, Audience, Existing, FileError};
use crate::index::{Entry, Kind};
use crate::issue::Wanted;
use crate::limits::{LEAF_DAYS_DEFAULT, LEAF_DAYS_MAX, PEM_BYTES_MAX, SAN_COUNT_MAX};
use crate::lock;
use crate::name::{Name, San};
use crate::serial::Serial;

/// Where a CA is looked for when nobody says: in the current folder as the
/// original did, then where its package put it.
const FOLDERS: [&str; 3] = ["", "/etc/loghogd/certs", "/etc/loghogd"];

pub(crate) const USAGE: &str = "\
loghog-client-cert [OPTIONS] NAME [CA-PATH [CA-NAME]]
       loghog-client-cert --revoke NAME|FILE.pem [CA-PATH [CA-NAME]]
       loghog-client-cert --list [CA-PATH [CA-NAME]]";

pub(crate) const EXAMPLES: &str = "\
Examples:
  sudo loghog-client-cert $(hostname)
      makes HOSTNAME.pem in the current folder: key and certificate in one file
  loghog-client-cert web-1 --san web-1.example.com
      the same with one more name in it
  loghog-client-cert web-1 /etc/loghogd/certs example.org
      the same under example.org-ca.key and example.org-ca.cert, as the scripts of
      the old LogHog named them, or `loghog-server-cert --ca-name example.org` did
  sudo loghog-client-cert --revoke web-1
      shuts out every certificate that web-1 has; with web-1.pem, only the one in that file
  sudo loghog-client-cert --list

The CA is looked for in CA-PATH, or else in the current folder, in
/etc/loghogd/certs and in /etc/loghogd.

Exit codes: 0 done, 1 failed, 64 wrong usage";

/// Makes a client certificate, NAME.pem, in the current folder.
#[derive(Debug, Parser)]
#[command(name = "loghog-client-cert", version, override_usage = USAGE, after_help = EXAMPLES)]
pub struct Args {
    /// Whom the certificate is for: a host or an application
    #[arg(value_name = "NAME", required_unless_present = "list")]
    name: Option<String>,
    /// The folder with the CA's files
    #[arg(value_name = "CA-PATH")]
    ca_path: Option<String>,
    /// What the names of the CA's files begin with [default: loghog]
    #[arg(value_name = "CA-NAME")]
    ca_name: Option<String>,
    /// One more host name or IP address in the certificate (may be repeated)
    #[arg(long = "san", value_name = "NAME", conflicts_with_all = ["revoke", "list"])]
    sans: Vec<San>,
    /// Life of the certificate, in days; it never outlives its CA
    #[arg(long, value_name = "DAYS", default_value_t = LEAF_DAYS_DEFAULT,
          conflicts_with_all = ["revoke", "list"],
          value_parser = clap::value_parser!(u32).range(1..=i64::from(LEAF_DAYS_MAX)))]
    days: u32,
    /// Replace a NAME.pem that is there; the certificate in it stays valid, revoke it first if it must not
    #[arg(long, conflicts_with_all = ["revoke", "list"])]
    force: bool,
    /// Revoke every certificate of NAME, or the one in FILE.pem
    #[arg(long, conflicts_with = "list")]
    revoke: bool,
    /// List the certificates that were issued, and which are revoked
    #[arg(long)]
    list: bool,
}

/// Does what the arguments say, and returns what to tell the user.
///
/// # Errors
/// A [`clap::Error`] for wrong usage, else the file concerned and the remedy.
pub fn run(args: &Args) -> anyhow::Result<String> {
    let now = Timestamp::from_second(Timestamp::now().as_second())?;
    if args.list {
        // Without a NAME, everything after it moves up by one.
        if args.ca_name.is_some() {
            return Err(usage("--list takes a CA-PATH and a CA-NAME, and nothing else"));
        }
        return list(&find(args.name.as_deref(), args.ca_path.as_deref())?, now);
    }
    let name = args.name.as_deref().unwrap_or_default();
    let target = match args.revoke && name.ends_with(".pem") {
        true => Target::File(name.into()),
        false => Target::Owner(
            name.parse().map_err(|error| usage(format!("`{}`: {error}", name.escape_debug())))?,
        ),
    };
    let files = find(args.ca_path.as_deref(), args.ca_name.as_deref())?;
    match target {
        Target::Owner(name) if !args.revoke => issue(args, name, &files, now),
        target => revoke(&target, &files, now),
    }
}

/// What to revoke.
enum Target {
    /// Every certificate of one owner.
    Owner(Name),
    /// The certificate in a file.
    File(PathBuf),
}

fn usage(message: impl std::fmt::Display) -> anyhow::Error {
    Args::command().error(ErrorKind::ValueValidation, message).into()
}

fn find(ca_path: Option<&str>, ca_name: Option<&str>) -> anyhow::Result<Files> {
    let prefix: Name = match ca_name {
        Some(name) => name.parse().map_err(|error| usage(format!("CA-NAME: {error}")))?,
        None => PREFIX.parse()?,
    };
    let files = match ca_path {
        Some(path) => Files::find([Path::new(path)], prefix.as_str()),
        None => Files::find(FOLDERS.map(Path::new), prefix.as_str()),
    };
    Ok(files?)
}

fn issue(args: &Args, name: Name, files: &Files, now: Timestamp) -> anyhow::Result<String> {
    if name.as_str() == format!("{}-server", files.prefix()) {
        return Err(usage("this name would take the place of the server's own file"));
    }
    let mut sans: Vec<San> = name.as_str().parse().into_iter().collect();
    for san in &args.sans {
        if !sans.contains(san) {
            sans.push(san.clone());
        }
    }
    if sans.len() > SAN_COUNT_MAX {
        return Err(usage(format!("at most {SAN_COUNT_MAX} names fit into one certificate")));
    }

    let _held = lock::hold(files.folder())?;
    let path = PathBuf::from(format!("{}.pem", name.as_str()));
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    // Looked at now as well, so that the index stays free of what nobody gets.
    if existing == Existing::Keep && files::is_there(&path)? {
        return Err(FileError::Exists { path }.into());
    }
    let ca = Ca::open(files, now)?;
    let issued = ca.issue(Wanted { name, kind: Kind::Client, sans, days: args.days }, now)?;
    books::record(files, issued.entry.clone())?;
    files::publish(&path, issued.pem.as_bytes(), Audience::Owner, existing)?;

    let mut told = format!(
        "made {}, key and certificate of {}, until {}\n",
        path.display(),
        issued.entry.name.as_str(),
        day(issued.entry.until),
    );
    if issued.cut_short {
        writeln!(told, "note: it ends with its CA, sooner than asked for")?;
    }
    let cert = files.cert();
    writeln!(told, "give it to that client, to nobody else, together with {}", cert.display())?;
    Ok(told)
}

fn revoke(target: &Target, files: &Files, now: Timestamp) -> anyhow::Result<String> {
    let _held = lock::hold(files.folder())?;
    let ca = Ca::open(files, now)?;
    let mut books = Books::open(files, &ca.certificate)?;
    let serials = match target {
        Target::Owner(name) => serials_of(name, files, &ca.certificate, &books)?,
        Target::File(path) => vec![read_certificate(path, &ca.certificate)?.0],
    };
    let mut told = String::new();
    for serial in &serials {
        match books.revocations.since(serial) {
            Some(since) => writeln!(told, "{serial} was revoked already, on {}", day(since))?,
            None => writeln!(told, "revoked {serial}")?,
        }
        books.revocations.add(serial, now);
        books.index.revoke(serial, now);
    }
    books.save(files, &ca, now)?;
    writeln!(
        told,
        "{} now shuts out {} certificate(s). It counts once loghogd has read it: set `crl` under \
         [server] in loghogd.conf to this file, once, and reload loghogd (`systemctl reload \
         loghogd`, or SIGHUP). A connection that is open already lasts until it is closed",
        files.crl().display(),
        books.revocations.iter().len(),
    )?;
    Ok(told)
}

/// Every certificate of a client that is known: from the index, and, for those
/// that were made before there was one, from the `NAME.pem` at hand.
fn serials_of(
    name: &Name,
    files: &Files,
    ca: &CaCertificate,
    books: &Books,
) -> anyhow::Result<Vec<Serial>> {
    let is_theirs = |entry: &&Entry| entry.kind == Kind::Client && entry.name == *name;
    let mut serials: Vec<Serial> =
        books.index.entries().filter(is_theirs).map(|entry| entry.serial.clone()).collect();
    let path = PathBuf::from(format!("{}.pem", name.as_str()));
    match read_certificate(&path, ca) {
        // The file may have been given the name of another's certificate.
        Ok((serial, owner)) if owner == name.as_str() && !serials.contains(&serial) => {
            serials.push(serial);
        }
        _ => {}
    }
    if serials.is_empty() {
        bail!(
            "no certificate of {} is known: it is not in {}, and there is no {} of this CA in the \
             current folder; `--list` shows all, and `--revoke FILE.pem` takes any file",
            name.as_str(),
            files.index().display(),
            path.display(),
        );
    }
    Ok(serials)
}

/// Serial and common name of the certificate in a file.
fn read_certificate(path: &Path, ca: &CaCertificate) -> anyhow::Result<(Serial, String)> {
    let pem = files::read(path, PEM_BYTES_MAX)?;
    let Ok(der) = CertificateDer::from_pem_slice(&pem) else {
        bail!("{}: no certificate in it (a PEM block `BEGIN CERTIFICATE`)", path.display());
    };
    match X509Certificate::from_der(&der) {
        Ok((_, certificate)) if ca.has_issued(&certificate) => {
            let name = certificate.subject().iter_common_name().next();
            let name = name.and_then(|name| name.as_str().ok()).unwrap_or_default();
            Ok((Serial::from_bytes(certificate.raw_serial()), name.to_owned()))
        }
        _ => bail!(
            "{} was not issued by this CA, so only its own CA can revoke it; say where that is: \
             `loghog-client-cert --revoke {0} CA-PATH CA-NAME`",
            path.display()
        ),
    }
}

fn list(files: &Files, now: Timestamp) -> anyhow::Result<String> {
    let books = Books::open(files, &CaCertificate::open(files)?)?;
    let width = books.index.entries().map(|entry| entry.name.as_str().chars().count()).max();
    let width = width.unwrap_or_default().max("NAME".len());
    let mut told = format!("{:width$}  KIND    UNTIL       STATE               SERIAL\n", "NAME");
    for entry in books.index.entries() {
        let (name, kind, until) = (entry.name.as_str(), entry.kind, day(entry.until));
        let state = state(entry, now);
        writeln!(told, "{name:width$}  {kind:6}  {until}  {state:18}  {}", entry.serial)?;
    }
    for (serial, since) in books.revocations.iter() {
        if !books.index.entries().any(|entry| entry.serial == *serial) {
            let state = format!("revoked {}", day(*since));
            writeln!(told, "{:width$}  {:6}  {:10}  {state:18}  {serial}", "?", "?", "?")?;
        }
    }
    Ok(told)
}

fn state(entry: &Entry, now: Timestamp) -> String {
    match entry.revoked {
        Some(since) => format!("revoked {}", day(since)),
        None if entry.until <= now => "ended".to_owned(),
        None => "valid".to_owned(),
    }
}

fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}
