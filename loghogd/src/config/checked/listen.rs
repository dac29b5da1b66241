//! Reads lists of addresses to listen on.
//! `127.0.0.1, localhost:15566` or `[::1], [::]:5588` -> addresses with ports.
//! Invariant: an IPv4 option never opens an IPv6 socket, nor the other way round.
//! Leaves out: looking names up, opening sockets.

use crate::config::limits::LISTEN_MAX;
use crate::config::problem::shown;
use crate::config::value::{self, Refused};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Longest name of a host, in bytes (RFC 1035).
const NAME_BYTES_MAX: usize = 253;

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listen {
    /// An address without brackets, or a name to look up.
    pub host: String,
    /// The port; 0 lets the kernel choose one.
    pub port: u16,
    /// Which protocol the host stands for.
    pub family: Family,
    /// For TLS, not for TCP and UDP.
    pub tls: bool,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Listen {
    /// Would the two need the same TCP socket?
    pub(super) fn conflicts_with(&self, other: &Listen) -> bool {
        let same_host = match (self.host.parse::<Ipv6Addr>(), other.host.parse::<Ipv6Addr>()) {
            (Ok(one), Ok(other)) => one == other,
            _ => self.host.eq_ignore_ascii_case(&other.host),
        };
        same_host && self.port == other.port && self.port != 0 && self.family == other.family
    }
}

/// Reads the addresses of one option, separated by commas. Items without a
/// port take the default; empty items are passed over, as in the original.
pub(super) fn addresses(
    list: &str,
    family: Family,
    tls: bool,
    default_port: u16,
) -> Result<Vec<Listen>, Refused> {
    let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
    let listen = items
        .take(LISTEN_MAX + 1)
        .map(|item| {
            let (host, port) = match family {
                Family::V4 => v4(item)?,
                Family::V6 => v6(item)?,
            };
            let port = port.map_or(Ok(default_port), self::port)?;
            Ok(Listen { host: host.to_owned(), port, family, tls })
        })
        .collect::<Result<Vec<_>, Refused>>()?;
    if listen.len() > LISTEN_MAX {
        return Err(Refused::new(
            format!("there are more than {LISTEN_MAX} addresses"),
            "0.0.0.0 or [::] stands for all addresses of this machine",
        ));
    }
    Ok(listen)
}

/// A port; 0 stands for any free one.
pub(super) fn port(text: &str) -> Result<u16, Refused> {
    let port = value::count(text, 0..=u64::from(u16::MAX))?;
    // Within the range of u16, as just checked.
    Ok(u16::try_from(port).unwrap_or_default())
}

/// `host` or `host:port`.
fn v4(item: &str) -> Result<(&str, Option<&str>), Refused> {
    let (host, port) = match item.split_once(':') {
        Some((host, port)) => (host.trim_end(), Some(port)),
        None => (item, None),
    };
    let several = port.is_some_and(|port| port.contains(':'));
    if item.starts_with('[') || several && item.parse::<Ipv6Addr>().is_ok() {
        return Err(Refused::new(
            format!("{} is an IPv6 address", shown(item)),
            "write it into the listen_ipv6 option of the same kind, in brackets",
        ));
    }
    if several || host.parse::<Ipv4Addr>().is_err() && !is_name(host) {
        return Err(Refused::new(
            format!("{} is neither an IPv4 address nor a name", shown(item)),
            "write for example 127.0.0.1, localhost:15566 or 0.0.0.0",
        ));
    }
    Ok((host, port))
}

/// `[address]`, `[address]:port`, or a name with or without a port.
fn v6(item: &str) -> Result<(&str, Option<&str>), Refused> {
    let example = "write for example [::1], [::]:5588 or localhost:15566";
    let refused =
        || Refused::new(format!("{} is no IPv6 address in brackets", shown(item)), example);
    let Some(inside) = item.strip_prefix('[') else {
        let (host, port) = match item.split_once(':') {
            Some((host, port)) => (host.trim_end(), Some(port)),
            None => (item, None),
        };
        let named = is_name(host) && host.parse::<Ipv4Addr>().is_err();
        return if named { Ok((host, port)) } else { Err(refused()) };
    };
    let (host, rest) = inside.split_once(']').ok_or_else(refused)?;
    let (address, scope) = match host.split_once('%') {
        Some((address, scope)) => (address, Some(scope)),
        None => (host, None),
    };
    if address.parse::<Ipv6Addr>().is_err() || scope.is_some_and(|scope| !is_name(scope)) {
        return Err(refused());
    }
    match rest.trim() {
        "" => Ok((host, None)),
        rest => Ok((host, Some(rest.strip_prefix(':').ok_or_else(refused)?))),
    }
}

/// Letters, digits, dots, dashes and underscores, and not only digits and
/// dots: that would be a mistyped address.
fn is_name(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=NAME_BYTES_MAX).contains(&host.len())
        && host.bytes().all(plain)
        && !host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(list: &str, family: Family) -> Vec<String> {
        let listen = addresses(list, family, false, 5566).unwrap();
        listen.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_are_read_as_the_original_wrote_them() {
        let v4 = all("127.0.0.1, localhost:15566,192.168.1.10:16655 , ", Family::V4);
        assert_eq!(v4, ["127.0.0.1:5566", "localhost:15566", "192.168.1.10:16655"]);
        let v6 = all("[::1], [::0]:5588,localhost:7, [fe80::1%eth0]", Family::V6);
        assert_eq!(v6, ["[::1]:5566", "[::0]:5588", "localhost:7", "[fe80::1%eth0]:5566"]);
        assert_eq!(all("", Family::V4), [""; 0]);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for item in [
            "[::1]",
            "::1",
            "1.2.3",
            "256.1.1.1",
            "a b",
            ":5566",
            "host:",
            "host:x",
            "host:65536",
            "host:1:2",
            "*",
            "ho\u{e9}st",
        ] {
            assert!(addresses(item, Family::V4, false, 1).is_err(), "{item}");
        }
        for item in [
            "::1",
            "127.0.0.1",
            "[::1",
            "[127.0.0.1]",
            "[]",
            "[::1]5566",
            "[::1]:x",
            "[::1%]",
            "[x]",
        ] {
            assert!(addresses(item, Family::V6, false, 1).is_err(), "{item}");
        }
        assert!(addresses(&"a,".repeat(LISTEN_MAX + 1), Family::V4, false, 1).is_err());
    }
}
