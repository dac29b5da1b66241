//! Checks the section `[status]`.
//! `listen = 127.0.0.1:5580` -> the address of the status page.
//! Invariant: as everywhere in the configuration.
//! Leaves out: whether the address can be had.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::problem::shown;
use super::value::Refused;

/// Where the status page is, unless the file says otherwise.
pub const DEFAULT: Address =
    Address::Tcp(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5580));

/// An address for the status page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Of this machine, with a port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Reads `listen`; nothing for none. A path starts at `folder` when it is relative.
///
/// # Errors
/// What is wrong with it.
pub fn listen(text: &str, folder: &Path) -> Result<Option<Address>, Refused> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let path = text.strip_prefix("unix:").or_else(|| text.starts_with('/').then_some(text));
    if let Some(path) = path {
        if path.trim().is_empty() {
            return Err(Refused::new("unix: needs a path", "write unix:/run/loghogd/status.sock"));
        }
        return Ok(Some(Address::Unix(folder.join(path.trim()))));
    }
    let localhost = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    match localhost.as_deref().unwrap_or(text).parse() {
        Ok(address) => Ok(Some(Address::Tcp(address))),
        Err(_) => Err(Refused::new(
            format!("{} is no address with a port", shown(text)),
            "write one such as 127.0.0.1:5580, [::1]:5580 or unix:/run/loghogd/status.sock; \
             nothing for none",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_of_this_machine_or_a_path_or_none() {
        let read = |text| listen(text, Path::new("/etc/loghogd"));
        let tcp = |text: &str| Ok(Some(Address::Tcp(text.parse().unwrap())));
        let unix = |path: &str| Ok(Some(Address::Unix(path.into())));
        assert_eq!(read("127.0.0.1:5580"), tcp("127.0.0.1:5580"));
        assert_eq!(read(" localhost:0"), tcp("127.0.0.1:0"));
        assert_eq!(read("[::1]:5580"), tcp("[::1]:5580"));
        assert_eq!(read("/run/s.sock"), unix("/run/s.sock"));
        assert_eq!(read("unix: s.sock"), unix("/etc/loghogd/s.sock"));
        assert_eq!(read(""), Ok(None));
        for bad in ["5580", "127.0.0.1", "unix:", "web:80", "::1:5580x", "127.0.0.1:70000"] {
            let refused = read(bad).unwrap_err();
            assert!(refused.remedy.contains("unix:/run/loghogd/status.sock"), "{bad}");
        }
        assert_eq!(read(&DEFAULT.to_string()), Ok(Some(DEFAULT)));
    }
}
