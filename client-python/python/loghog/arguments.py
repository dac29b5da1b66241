"""What a program says to the handler -> what the native client takes.

What could never work raises here, with the argument's name and what it takes.
"""

from __future__ import annotations

import os
from typing import Any, Final, Literal, Mapping, Optional, Sequence, TypedDict, Union

_PORT_MAX: Final = 65_535

Path = Union[str, "os.PathLike[str]"]
Protocol = Literal["auto", 1, 2]
Compression = Union[bool, Literal["zlib", "zstd"]]


class _SslFiles(TypedDict):
    pemfile: Path
    cacert: Path


class SslInfo(_SslFiles, total=False):
    """What `ssl_info` holds: two files, and how the server's name is checked."""

    check_hostname: bool
    server_hostname: str


def checked_name(app_name: str) -> str:
    if not isinstance(app_name, str):
        raise TypeError(f"app_name must be a str, not {type(app_name).__name__}")
    return app_name


def checked_host(host: str) -> str:
    if not isinstance(host, str):
        raise TypeError(f"host must be a str, not {type(host).__name__}")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if bare.count(":") == 1:
        raise ValueError(f"host is {host!r}: give the port as an argument of its own")
    return f"[{bare}]" if ":" in bare else bare


def checked_hosts(host: str, hosts: Optional[Sequence[str]]) -> list[str]:
    if not hosts:
        return [checked_host(host)]
    if isinstance(hosts, (str, bytes)) or not all(isinstance(each, str) for each in hosts):
        raise TypeError(f"hosts is {hosts!r}: it must be a list of str")
    if host not in ("localhost", *hosts):
        raise ValueError(f"host is {host!r} and not in hosts: give hosts alone")
    return list(hosts)


def checked_protocol(
    protocol: Optional[Protocol],
    stream: bool,
    hosts: Optional[Sequence[str]],
    richer: Mapping[str, object],
) -> str:
    """'1', '2' or 'auto'."""
    if protocol not in (None, 1, 2, "auto"):
        raise ValueError(f"protocol is {protocol!r}: it takes 1, 2 or 'auto'")
    if protocol is None:
        wants_more = any(value is not None for value in richer.values())
        protocol = "auto" if wants_more or (hosts and stream) else 1
    for name, value in richer.items():
        if value and protocol == 1:
            raise ValueError(f"{name} needs protocol 2: say protocol='auto' or 2")
        if value and not stream:
            raise ValueError(f"{name} needs stream=True: UDP has no protocol 2")
    return str(protocol)


def checked_compression(compression: Compression) -> str:
    if isinstance(compression, str):
        if compression not in ("zlib", "zstd"):
            raise ValueError(f"compression is {compression!r}: it takes True, 'zlib' or 'zstd'")
        return compression
    return "zlib" if compression else "none"


def checked_port(port: int) -> int:
    number = int(port)
    if not 0 < number <= _PORT_MAX:
        raise ValueError(f"port is {port!r}: it must be from 1 to {_PORT_MAX}")
    return number


def checked_size(name: str, given: int) -> int:
    size = int(given)
    if size < 1:
        raise ValueError(f"{name} is {given!r}: it must be at least 1")
    # No machine holds more; the number only has to fit.
    return min(size, 1 << 40)


def transport(stream: bool, ssl_info: Optional[Mapping[str, Any]]) -> str:
    if not ssl_info:
        return "tcp" if stream else "udp"
    if not stream:
        raise ValueError("ssl_info needs stream=True: UDP cannot be encrypted")
    return "tls"


def checked_ssl(ssl_info: Optional[Mapping[str, Any]]) -> dict[str, Any]:
    if not ssl_info:
        return {}
    allowed = SslInfo.__required_keys__ | SslInfo.__optional_keys__
    unknown = set(ssl_info) - allowed
    if unknown:
        raise ValueError(f"ssl_info has {sorted(unknown)}: it takes {sorted(allowed)}")
    missing = [key for key in _SslFiles.__required_keys__ if not ssl_info.get(key)]
    if missing:
        raise ValueError(f"ssl_info has no {sorted(missing)}: TLS needs both files")
    # One by one: dictConfig resolves cfg:// and ext:// when a key is asked for.
    checked = {key: ssl_info[key] for key in ssl_info}
    checked["check_hostname"] = bool(ssl_info.get("check_hostname", True))
    return checked
