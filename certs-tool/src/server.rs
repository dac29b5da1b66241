//! `loghog-server-cert`: makes a CA and the server's certificate, or renews the latter.
//! Arguments -> files in the current folder.
//! Invariant: a CA that is there is never replaced without `--force`.
//! Leaves out: clients; see [`crate::client`].

use std::fmt::Write;
use std::path::Path;

use anyhow::bail;
use clap::Parser;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::books::{self, Books};
use crate::ca::{Ca, Files, PREFIX};
use crate::files::{self, Audience, Existing};
use crate::index::{Index, Kind};
use crate::issue::{Issued, Wanted, sans_of};
use crate::limits::{LEAF_DAYS_DEFAULT, LEAF_DAYS_MAX, PEM_BYTES_MAX, SAN_COUNT_MAX};
use crate::lock;
use crate::name::{Domain, San};
use crate::revocation::Revocations;

const EXAMPLES: &str = "\
Examples:
  cd /etc/loghogd/certs && sudo loghog-server-cert
      makes loghog-ca.key, loghog-ca.cert, loghog-ca.crl and loghog-server.pem
  loghog-server-cert logs.example.com --san logs --san 192.0.2.7
      the same for another name, with files that begin with logs.example.com-
  loghog-server-cert --renew
      a new server certificate under the CA that is there: clients keep theirs.
      This is also how to replace the X.509 v1 certificate that the scripts of
      the old LogHog made

Exit codes: 0 done, 1 failed, 64 wrong usage";

/// Makes a CA and a server certificate in the current folder.
#[derive(Debug, Parser)]
#[command(name = "loghog-server-cert", version, after_help = EXAMPLES)]
pub struct Args {
    /// The server's name, as clients call it. It also begins the names of the files
    #[arg(value_name = "DOMAIN", default_value = PREFIX)]
    domain: Domain,
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
    let files = Files::new(Path::new(""), args.domain.as_str());
    let _held = lock::hold(files.folder())?;
    let mut told = String::new();

    let (ca, old_sans) = match args.renew {
        true => (Ca::open(&files, now)?, sans_of_file(&files.server())),
        false => (make_ca(args, &files, now, &mut told)?, Vec::new()),
    };
    if args.renew {
        Books::open(&files, &ca.certificate)?.save(&files, &ca, now)?;
    }
    let sans = sans(args, old_sans);
    if sans.len() > SAN_COUNT_MAX {
        bail!("{} names are too many for one certificate: at most {SAN_COUNT_MAX}", sans.len());
    }
    let names = sans.iter().map(San::to_string).collect::<Vec<_>>().join(", ");
    let name = args.domain.as_str().parse()?;
    let issued = ca.issue(Wanted { name, kind: Kind::Server, sans, days: args.days }, now)?;
    books::record(&files, issued.entry.clone())?;
    // What was there was either ours to renew or looked for in `make_ca`.
    files::publish(&files.server(), issued.pem.as_bytes(), Audience::Owner, Existing::Replace)?;
    tell(&files, &issued, &names, &mut told)?;
    Ok(told)
}

fn make_ca(args: &Args, files: &Files, now: Timestamp, told: &mut String) -> anyhow::Result<Ca> {
    if !args.force {
        refuse_to_overwrite(files)?;
    }
    let (ca, new) = Ca::create(&args.domain, now)?;
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

/// The names in the certificate that is to be replaced; none if there is none.
fn sans_of_file(path: &Path) -> Vec<San> {
    let Ok(Some(pem)) = files::read_if_there(path, PEM_BYTES_MAX) else {
        return Vec::new();
    };
    let Ok(der) = CertificateDer::from_pem_slice(&pem) else {
        return Vec::new();
    };
    X509Certificate::from_der(&der).map_or_else(|_| Vec::new(), |(_, old)| sans_of(&old))
}

/// The server's names, each once. Without a domain of its own it is at least
/// found from its own host and by its host's name.
fn sans(args: &Args, old: Vec<San>) -> Vec<San> {
    let mut wanted: Vec<San> = args.domain.as_str().parse().into_iter().collect();
    if args.domain.as_str() == PREFIX {
        let host = nix::unistd::gethostname().unwrap_or_default();
        let host = host.to_string_lossy();
        for name in [&host, "localhost", "127.0.0.1", "::1"] {
            wanted.extend(name.parse::<San>());
        }
    }
    wanted.extend(args.sans.iter().cloned());
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
            prefix => format!(" . {prefix}"),
        },
    )?;
    Ok(())
}
