//! `loghog-server-cert`: makes a CA and the server's certificate, or renews the latter,
//! and with it those of clients that nobody accepts any more.
//! Arguments -> files in the current folder.
//! Invariant: a CA that is there is never replaced without `--force`; the
//! domain never chooses a file, so the files fit the shipped configuration.
//! Leaves out: clients; see [`crate::client`].

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::bail;
use clap::Parser;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::books::{self, Books};
use crate::ca::{self, Ca, CaError, Files, PREFIX};
use crate::files::{self, Audience, Existing};
use crate::index::{Index, Kind};
use crate::issue::{Issued, Wanted, sans_of};
use crate::limits::{LEAF_DAYS_DEFAULT, LEAF_DAYS_MAX, PEM_BYTES_MAX, SAN_COUNT_MAX};
use crate::lock;
use crate::name::{Domain, Name, San, shell_word};
use crate::reissue::{self, Fault};
use crate::revocation::Revocations;

/// The server's name where none is given, as the original had it.
const DOMAIN: &str = "loghog";

/// How a client on the server's own machine calls it.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

pub(crate) const EXAMPLES: &str = "\
Examples:
  cd /etc/loghogd/certs && sudo loghog-server-cert logs.example.org
      makes loghog-ca.key, loghog-ca.cert, loghog-ca.crl and loghog-server.pem
      for a server that clients call logs.example.org
  loghog-server-cert logs.example.org --san logs --san 192.0.2.7
      the same for a server that is also called logs, and by its address
  loghog-server-cert --renew
      a new server certificate under the CA that is there: clients keep theirs
  loghog-server-cert --reissue logs.example.org
      new certificates under the CA that is there for the server and for every
      NAME.pem, where those are X.509 v1 or have short keys, as the scripts of
      the old LogHog made them. What was there stays beside it, as NAME.pem.old
  loghog-server-cert --reissue --ca-name example.org logs.example.org
      the same under a CA that those scripts made for a domain: they called its
      files example.org-ca.key, example.org-ca.cert and example.org-server.pem

Exit codes: 0 done, 1 failed, 64 wrong usage";

/// Makes a CA and a server certificate in the current folder.
#[derive(Debug, Parser)]
#[command(name = "loghog-server-cert", version, after_help = EXAMPLES)]
pub struct Args {
    /// The server's name, as clients call it. localhost is added, and this host's name
    /// where there is no DOMAIN [default: loghog, with --renew the old one]
    #[arg(value_name = "DOMAIN")]
    domain: Option<Domain>,
    /// What the names of all files begin with
    #[arg(long, value_name = "PREFIX", default_value = PREFIX)]
    ca_name: Name,
    /// One more host name or IP address under which clients reach the server (may be repeated)
    #[arg(long = "san", value_name = "NAME")]
    sans: Vec<San>,
    /// Life of the server's certificate, in days; it never outlives its CA
    #[arg(long, value_name = "DAYS", default_value_t = LEAF_DAYS_DEFAULT,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(LEAF_DAYS_MAX)))]
    days: u32,
    /// Only issue a new server certificate, under the CA in the current folder;
    /// it keeps the names of the one that it replaces
    #[arg(long, conflicts_with = "force")]
    renew: bool,
    /// Issue new certificates under the CA in the current folder where those of the server,
    /// and of the clients whose NAME.pem lies there, are X.509 v1 or have a short key.
    /// Clients keep their names, and keys that are long enough
    #[arg(long, conflicts_with_all = ["force", "renew"])]
    reissue: bool,
    /// Replace the CA that is there. No client's certificate is worth anything afterwards
    #[arg(long)]
    force: bool,
}

/// Does what the arguments say, and returns what to tell the user.
///
/// # Errors
/// The file concerned, and the remedy.
pub fn run(args: &Args) -> anyhow::Result<String> {
    let now = Timestamp::from_second(Timestamp::now().as_second())?;
    let files = Files::new(Path::new(""), args.ca_name.as_str());
    let _held = lock::hold(files.folder())?;
    let mut told = String::new();

    if args.reissue {
        return reissue(args, &files, now);
    }
    let old = match args.renew {
        true => names_of_file(&files.server()),
        false => Names::default(),
    };
    let (domain, wanted) = wanted(args, old)?;
    let ca = match args.renew {
        true => open_ca(&files, "--renew", now)?,
        false => make_ca(&domain, args.force, &files, now, &mut told)?,
    };
    let names = shown(&wanted.sans);
    let issued = ca.issue(wanted, now)?;
    books::record(&files, issued.entry.clone())?;
    // What was there was either ours to renew or looked for in `make_ca`.
    files::publish(&files.server(), issued.pem.as_bytes(), Audience::Owner, Existing::Replace)?;
    tell(&files, &issued, &names, &mut told)?;
    tell_paths(&files, &mut told)?;
    Ok(told)
}

/// What the server's certificate shall say, and the server's name.
fn wanted(args: &Args, old: Names) -> anyhow::Result<(Domain, Wanted)> {
    let domain = match args.domain.clone().or(old.domain) {
        Some(domain) => domain,
        None => DOMAIN.parse()?,
    };
    let sans = sans(&domain, &args.sans, old.sans);
    if sans.len() > SAN_COUNT_MAX {
        bail!("{} names are too many for one certificate: at most {SAN_COUNT_MAX}", sans.len());
    }
    let name = domain.as_str().parse()?;
    Ok((domain, Wanted { name, kind: Kind::Server, sans, days: args.days }))
}

/// New certificates for the server and its clients, as far as they need them.
fn reissue(args: &Args, files: &Files, now: Timestamp) -> anyhow::Result<String> {
    let mut told = String::new();
    match reissue_all(args, files, now, &mut told) {
        Ok(()) => Ok(told),
        Err(error) if told.is_empty() => Err(error),
        Err(error) => bail!("{error}; run it again for the rest. So far:\n{}", told.trim_end()),
    }
}

fn reissue_all(
    args: &Args,
    files: &Files,
    now: Timestamp,
    told: &mut String,
) -> anyhow::Result<()> {
    let ca = open_ca(files, "--reissue", now)?;
    // All is looked at before anything is replaced.
    let plan = reissue::plan(files, &ca.certificate, now)?;
    let clients = plan.len();
    let server = files::read_if_there(&files.server(), PEM_BYTES_MAX)?;
    let state = server.as_deref().map_or(ServerState::Absent, state_of_server);
    let path = files.server();
    let mut old = names_of_file(&path);
    let domain = args.domain.iter().filter_map(|domain| domain.as_str().parse::<San>().ok());
    let has_names = domain.chain(args.sans.iter().cloned()).all(|name| old.sans.contains(&name));
    if state == ServerState::InOrder && has_names {
        writeln!(told, "left {}: its certificate is in order", path.display())?;
    } else {
        old.sans.extend(server.as_deref().and_then(common_name_of));
        let (_, wanted) = wanted(args, old)?;
        let names = shown(&wanted.sans);
        let issued = ca.issue(wanted, now)?;
        let kept = match &server {
            Some(bytes) => Some(reissue::replace(files, &path, bytes, &issued)?),
            None => {
                books::record(files, issued.entry.clone())?;
                let pem = issued.pem.as_bytes();
                files::publish(&path, pem, Audience::Owner, Existing::Keep)?;
                None
            }
        };
        tell(files, &issued, &names, told)?;
        if let Some(kept) = kept {
            let why = match state {
                ServerState::Faulty(fault) => format!(" ({fault})"),
                ServerState::Absent | ServerState::Unreadable | ServerState::InOrder => {
                    String::new()
                }
            };
            writeln!(told, "what was there{why} is in {}", kept.display())?;
        }
    }
    plan.carry_out(files, &ca, args.days, now, told)?;
    if let Some(laxity) = ca.certificate.laxity {
        writeln!(
            told,
            "note: {} {laxity}: LogHog takes it, TLS libraries that are strict (Python's ssl from \
             3.13 on) do not. Where they have to, make a new CA, and new certificates for all \
             clients: `{}`",
            files.cert().display(),
            ca::new_ca(files.prefix()),
        )?;
    }
    if clients > 0 {
        writeln!(
            told,
            "\ngive each new file to its client, to nobody else; {} stays the same",
            files.cert().display()
        )?;
    }
    tell_paths(files, told)
}

/// How the server's file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServerState {
    /// It is not there.
    Absent,
    /// It is there, and holds no certificate.
    Unreadable,
    /// It is refused today.
    Faulty(Fault),
    /// It can be used.
    InOrder,
}

fn state_of_server(pem: &[u8]) -> ServerState {
    let fault = with_certificate(pem, reissue::fault_of);
    match fault {
        None => ServerState::Unreadable,
        Some(None) => ServerState::InOrder,
        Some(Some(fault)) => ServerState::Faulty(fault),
    }
}

/// The common name, where it can be a name of a server.
fn common_name_of(pem: &[u8]) -> Option<San> {
    with_certificate(pem, |certificate| {
        certificate.subject().iter_common_name().next()?.as_str().ok()?.parse().ok()
    })?
}

fn with_certificate<T>(pem: &[u8], look: impl FnOnce(&X509Certificate<'_>) -> T) -> Option<T> {
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    X509Certificate::from_der(&der).ok().map(|(_, certificate)| look(&certificate))
}

fn shown(sans: &[San]) -> String {
    sans.iter().map(San::to_string).collect::<Vec<_>>().join(", ")
}

/// The CA that is there, with its books brought up to date: the original kept none.
/// `option` is what asks for it.
fn open_ca(files: &Files, option: &str, now: Timestamp) -> anyhow::Result<Ca> {
    let opened = Ca::open(files, now);
    if let Err(CaError::NotFound { .. }) = opened
        && let [other] = other_cas(files).as_slice()
    {
        bail!(
            "there is no {}, but there is {}; to renew certificates under that CA: \
             `loghog-server-cert {option} --ca-name {}`",
            files.cert().display(),
            other.cert().display(),
            shell_word(other.prefix()),
        );
    }
    let ca = opened?;
    Books::open(files, &ca.certificate)?.save(files, &ca, now)?;
    Ok(ca)
}

/// The CAs in the same folder, by their files; as many as are needed to know
/// whether there is just one. The original named a CA after its domain.
fn other_cas(files: &Files) -> Vec<Files> {
    let Ok(entries) = fs::read_dir(files.folder()) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let prefix: Name = name.strip_suffix("-ca.cert")?.parse().ok()?;
            let other = Files::new(Path::new(""), prefix.as_str());
            other.key().is_file().then_some(other)
        })
        .take(2)
        .collect()
}

fn make_ca(
    domain: &Domain,
    force: bool,
    files: &Files,
    now: Timestamp,
    told: &mut String,
) -> anyhow::Result<Ca> {
    if !force {
        refuse_to_overwrite(files)?;
    }
    let (ca, new) = Ca::create(domain, now)?;
    let list = Revocations::default().sign(&ca, now)?;
    let index = Index::new().to_string();
    for (path, text, audience) in [
        (files.key(), &new.key, Audience::Owner),
        (files.cert(), &new.cert, Audience::Everybody),
        (files.crl(), &list, Audience::Everybody),
        (files.index(), &index, Audience::Owner),
    ] {
        files::publish(&path, text.as_bytes(), audience, Existing::Replace)?;
    }
    writeln!(told, "made {}, the CA's key: it stays here", files.key().display())?;
    writeln!(told, "made {}, the CA's certificate: every client needs it", files.cert().display())?;
    writeln!(told, "made {}, the list of revoked certificates, empty", files.crl().display())?;
    Ok(ca)
}

fn refuse_to_overwrite(files: &Files) -> anyhow::Result<()> {
    for path in [files.key(), files.cert(), files.crl(), files.index(), files.server()] {
        if files::is_there(&path)? {
            bail!(
                "{} exists already; --renew issues a new server certificate under the CA that is \
                 here, --force makes a new CA in its place, and every client then needs a new certificate",
                path.display()
            );
        }
    }
    Ok(())
}

/// What the server is called in the certificate that is to be replaced.
#[derive(Debug, Default)]
struct Names {
    /// Its domain; the original's X.509 v1 certificates had none that counts.
    domain: Option<Domain>,
    /// All that it can be reached by.
    sans: Vec<San>,
}

/// The names in a certificate; none where there is no certificate.
fn names_of_file(path: &Path) -> Names {
    let Ok(Some(pem)) = files::read_if_there(path, PEM_BYTES_MAX) else {
        return Names::default();
    };
    with_certificate(&pem, names_of).unwrap_or_default()
}

fn names_of(certificate: &X509Certificate<'_>) -> Names {
    let sans = sans_of(certificate);
    let common_name = certificate.subject().iter_common_name().next();
    let domain = common_name
        .and_then(|name| name.as_str().ok())
        .filter(|name| name.parse().is_ok_and(|name: San| sans.contains(&name)))
        .and_then(|name| name.parse().ok());
    Names { domain, sans }
}

/// The server's names, each once. It can be tried from its own host in any
/// case; without a domain of its own it is also found by its host's name.
fn sans(domain: &Domain, more: &[San], old: Vec<San>) -> Vec<San> {
    let mut wanted: Vec<San> = domain.as_str().parse().into_iter().collect();
    if domain.as_str() == DOMAIN {
        let host = nix::unistd::gethostname().unwrap_or_default();
        wanted.extend(host.to_string_lossy().parse::<San>());
    }
    wanted.extend(LOCAL.iter().filter_map(|name| name.parse().ok()));
    wanted.extend(more.iter().cloned());
    wanted.extend(old);

    let mut sans = Vec::with_capacity(wanted.len());
    for san in wanted {
        if !sans.contains(&san) {
            sans.push(san);
        }
    }
    sans
}

fn tell(files: &Files, issued: &Issued, names: &str, told: &mut String) -> anyhow::Result<()> {
    let until = issued.entry.until.strftime("%Y-%m-%d");
    let path = files.server();
    writeln!(told, "made {}, for {names}, until {until}", path.display())?;
    if issued.cut_short {
        writeln!(told, "note: it ends with its CA, sooner than asked for")?;
    }
    Ok(())
}

/// What to write into the configuration, and how to go on.
fn tell_paths(files: &Files, told: &mut String) -> anyhow::Result<()> {
    let folder = std::env::current_dir().unwrap_or_default();
    writeln!(
        told,
        "\nin loghogd.conf, under [server]:\n  pemfile = {}\n  cacert = {}\n  crl = {}\n\
         then reload loghogd. A certificate for a client: loghog-client-cert NAME{}",
        folder.join(files.server()).display(),
        folder.join(files.cert()).display(),
        folder.join(files.crl()).display(),
        match files.prefix() {
            PREFIX => String::new(),
            prefix => format!(" . {}", shell_word(prefix)),
        },
    )?;
    Ok(())
}
