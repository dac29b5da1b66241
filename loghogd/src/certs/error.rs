//! Why the certificates cannot be used. All of it is the surroundings' fault
//! but the last.
//! Invariant: each message names the file and what to do.
//! Leaves out: peers; see `refusal`.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Which of the files in `[server]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The server's key and certificate.
    Pemfile,
    /// The authority's certificate.
    Cacert,
    /// The authority's revocation list.
    Crl,
}

/// Why the certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// It is not there.
    #[error("{path}: no such file; {}", .role.remedy())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What it should be.
        role: Role,
    },
    /// We may not read it.
    #[error(
        "{path}: the user {user} may not read it; make it theirs: chown {user} {path}; if it is a link, let it stay in its folder ([main] confine)"
    )]
    Denied {
        /// The file.
        path: PathBuf,
        /// Who we are.
        user: String,
    },
    /// It is a folder, a pipe or a device.
    #[error("{path} is not a regular file; {role} in [server] takes a PEM file")]
    Irregular {
        /// The file.
        path: PathBuf,
        /// What it should be.
        role: Role,
    },
    /// It cannot be what it should be.
    #[error("{path} is longer than {bytes_max} bytes, too long for {role} in [server]")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// What it should be.
        role: Role,
        /// The limit that it is over.
        bytes_max: u64,
    },
    /// Anything else the system says.
    #[error("{path}: {source}")]
    System {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// A PEM block is missing, or damaged.
    #[error("{path}: {what}; {}", .role.remedy())]
    Lacking {
        /// The file.
        path: PathBuf,
        /// What it should be.
        role: Role,
        /// What is not in it.
        what: &'static str,
    },
    /// The key is under a pass phrase that nobody could give us.
    #[error("{path}: the private key is encrypted; decrypt it: openssl pkey -in {path}")]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// The server's certificate is one of the original's.
    #[error(
        "{path}: the server's certificate is X.509 v1, as the original's scripts made it, and no TLS library of today takes it; make new ones of all that the authority's folder holds: loghog-server-cert --reissue"
    )]
    OwnVersion {
        /// The file.
        path: PathBuf,
    },
    /// The server's key is too short.
    #[error(
        "{path}: the server's RSA key has only {bits} bits, and no TLS library of today takes it; renew it in that folder: loghog-server-cert --renew"
    )]
    OwnKeyShort {
        /// The file.
        path: PathBuf,
        /// Size of its modulus.
        bits: usize,
    },
    /// The key is of a kind that we cannot use.
    #[error(
        "{path}: cannot use the private key: {reason}; renew it in that folder: loghog-server-cert --renew"
    )]
    OwnKey {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        reason: String,
    },
    /// The key belongs to another certificate.
    #[error(
        "{path}: the private key does not belong to the first certificate in the file; the server's own comes first; renew both in that folder: loghog-server-cert --renew"
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
    },
    /// A client's or the server's certificate where an authority's should be.
    #[error(
        "{path}: the certificate of {subject} is not an authority's; cacert in [server] takes the file whose name ends in -ca.cert"
    )]
    NotAnAuthority {
        /// The file.
        path: PathBuf,
        /// Whose certificate it is.
        subject: String,
    },
    /// No authority in the file has a key that anybody would verify with.
    #[error(
        "{path}: the authority's RSA key has only {bits} bits, and no TLS library of today takes it; make a new authority with loghog-server-cert --force, and every client a new certificate with loghog-client-cert"
    )]
    AuthorityKeyShort {
        /// The file.
        path: PathBuf,
        /// Size of its modulus.
        bits: usize,
    },
    /// A revocation list that would turn every client away.
    #[error(
        "{path}: this revocation list, of {issuer}, was not signed by the authority in cacert; take the one beside its key, whose name ends in -ca.crl, or sign it again there: loghog-server-cert --renew"
    )]
    ListOfAnother {
        /// The file.
        path: PathBuf,
        /// Who has issued it.
        issuer: String,
    },
    /// A revocation list that rustls cannot read.
    #[error(
        "{path}: cannot use this revocation list: {reason}; sign it again in the authority's folder: loghog-server-cert --renew"
    )]
    List {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        reason: String,
    },
    /// rustls refuses what should be fine. Our fault.
    #[error("cannot set up TLS: {0}")]
    Rustls(rustls::Error),
}

impl Role {
    fn remedy(self) -> &'static str {
        match self {
            Role::Pemfile | Role::Cacert => {
                "make the certificates with loghog-server-cert, or set pemfile and cacert in [server]"
            }
            Role::Crl => {
                "make it in the authority's folder with loghog-server-cert --renew, or take crl out of [server]"
            }
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Pemfile => "pemfile",
            Role::Cacert => "cacert",
            Role::Crl => "crl",
        })
    }
}
