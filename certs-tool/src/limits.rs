//! Every number that bounds a certificate or a file of this tool.
//! Constants only.
//! Invariant: relations between them hold at compile time.
//! Leaves out: the daemon's own limits, which are the daemon's.

/// Longest common name, in bytes: `ub-common-name` of RFC 5280, appendix A.
/// OpenSSL refuses to write a longer one; so does this tool.
pub const COMMON_NAME_BYTES_MAX: usize = 64;

/// What the CA's common name puts before the domain, as the original did.
pub const CA_COMMON_NAME_PREFIX: &str = "ca.";

/// Longest domain, in bytes: the CA's common name has to hold it too.
pub const DOMAIN_BYTES_MAX: usize = COMMON_NAME_BYTES_MAX - CA_COMMON_NAME_PREFIX.len();

/// Longest host name in a certificate, and its longest label, in bytes (RFC 1035).
pub const DNS_NAME_BYTES_MAX: usize = 253;
/// See [`DNS_NAME_BYTES_MAX`].
pub const DNS_LABEL_BYTES_MAX: usize = 63;

/// Names in one certificate. More would be a list of hosts, not a certificate,
/// and every handshake carries them.
pub const SAN_COUNT_MAX: usize = 100;

/// Life of a new CA, in days: twenty years. When a CA ends, every client has
/// to be given new files at once, so it should outlive the installation.
pub const CA_DAYS: u32 = 20 * 365 + 5;

/// Life of a server's or client's certificate without `--days`, in days: the
/// longest that macOS and iOS accept in a server's (Apple HT210176).
pub const LEAF_DAYS_DEFAULT: u32 = 825;

/// Longest life that `--days` takes, in days: a century. More is a typo.
pub const LEAF_DAYS_MAX: u32 = 36_500;

/// How far certificates and revocation lists are dated back, in seconds, so
/// that a host whose clock is a little behind accepts them at once.
pub const BACKDATE_S: i64 = 3600;

/// Shortest time that a revocation list is good for, in seconds; it is used
/// only where the CA itself is about to end. See [`crate::revocation`].
pub const CRL_SECONDS_MIN: i64 = 86_400;

/// Largest key or certificate file that is read, in bytes. A 4096-bit RSA key
/// with its certificate takes six thousand.
pub const PEM_BYTES_MAX: u64 = 64 * 1024;

/// Most old files of one name that are kept beside each other. Beyond it a file is not
/// replaced: somebody should look.
pub const OLD_FILES_MAX: u32 = 100;

/// Largest revocation list and index that are read, in bytes: room for a
/// hundred thousand certificates.
pub const LIST_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Longest wait for another run that works on the same CA, in milliseconds.
pub const LOCK_WAIT_MS_MAX: u64 = 10_000;

/// RSA keys that today's TLS libraries sign and verify with, in bits.
pub const RSA_BITS_MIN: usize = 2048;
/// ring signs with no longer RSA key than this, in bits.
pub const RSA_BITS_MAX: usize = 4096;

const _: () = assert!(DOMAIN_BYTES_MAX < DNS_NAME_BYTES_MAX);
const _: () = assert!(LEAF_DAYS_DEFAULT <= LEAF_DAYS_MAX);
