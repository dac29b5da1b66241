//! The options of `loghogd.conf`, but for those of targets.
//! Nothing -> a table.
//! Invariant: in the order in which `etc/loghogd/loghogd.conf` explains them.
//! Leaves out: what old files may say without effect.

use super::Unset::{As, Told};
use super::{Section, option, reloaded};

/// The sections and their options.
pub const SECTIONS: [Section; 5] = [
    Section {
        name: "main",
        about: "The process, its folders, and what it may take.",
        options: &[
            option(
                "daemon",
                "`yes`, `no`",
                As("no"),
                "yes",
                "Goes into the background, as `--daemon` does. Not under systemd.",
            ),
            option(
                "logdir",
                "folder",
                As("/var/log/loghogd"),
                "/srv/log",
                "The log files: APP/MODULE.log below it. It belongs to one loghogd at a time.",
            ),
            option(
                "workdir",
                "folder",
                As("/var/lib/loghogd"),
                "/srv/lib/loghogd",
                "What must outlive a restart.",
            ),
            option(
                "rundir",
                "folder",
                As("/var/run/loghogd"),
                "/run/log",
                "What need not: the file with the process id, and the socket by which \
                 `loghogd status`, `top`, `tap` and `ship` ask the running daemon.",
            ),
            option(
                "pidfile",
                "file",
                As("loghogd.pid"),
                "/run/loghogd.pid",
                "The file with the process id; a relative one is below `rundir`. Empty: none.",
            ),
            reloaded(
                "facilities_config",
                "file",
                As("facilities.conf"),
                "applications.conf",
                "The file that says who may log; see facilities.conf(5).",
            ),
            option(
                "user",
                "name",
                Told("whoever starts it"),
                "loghog",
                "The user to become when started as root, once the sockets are open and the keys \
                 are read. Let it own nothing but the folders above, and let it read \
                 facilities.conf and the `pemfile`: a reload reads them again.",
            ),
            option(
                "confine",
                "`yes`, `no`",
                As("yes"),
                "no",
                "Gives up what is not needed, where the kernel has Landlock: only the daemon's own \
                 folders can be written, only these, those of certificates and the system's be \
                 read, and no program be started. Links that lead out of them are then of no use.",
            ),
            option(
                "max_open_files",
                "1 to 65536",
                As("256"),
                "1000",
                "Most log files that are open at once; the idlest is closed.",
            ),
            option(
                "max_hosts",
                "1 to 1000000",
                As("1000"),
                "5000",
                "Most hosts with a file of their own in one facility (`file_per_host`). Messages \
                 of others are refused (`hosts_too_many`).",
            ),
            option(
                "max_clients",
                "1 to 1000000",
                As("100000"),
                "200000",
                "Most clients of the second protocol whose numbers are remembered. With one more \
                 the one that was not seen for the longest time is forgotten.",
            ),
            option(
                "min_free",
                "size, or a part of the file system up to 50%",
                As("0"),
                "5%",
                "The room that stays free where `logdir` is. While there is less, nothing is \
                 written, and the oldest segments of all facilities are deleted; if that is not \
                 enough, senders wait. What other programs write there counts as well. 0: off.",
            ),
        ],
    },
    Section {
        name: "log",
        about: "What the daemon says of itself.",
        options: &[
            option(
                "filename",
                "file",
                As("/var/log/loghogd/loghogd.log"),
                "/var/log/loghogd.log",
                "The own log. Empty: none but standard error.",
            ),
            reloaded(
                "level",
                "`DEBUG`, `INFO`, `WARNING`, `ERROR`, `CRITICAL`",
                As("INFO"),
                "WARNING",
                "The least important level that is written.",
            ),
            option(
                "backup_count",
                "0 to 4294967295",
                As("14"),
                "30",
                "How many turned files of it are kept. 0: all.",
            ),
            option(
                "when",
                "`midnight`, `W0` to `W6`, `D`, `H`, `M`, `S`",
                As("midnight"),
                "W6",
                "When it turns, with the first line after that: at midnight; at the end of Monday \
                 (`W0`) to Sunday; a day, hour, minute or second after it was begun.",
            ),
        ],
    },
    Section {
        name: "compressor",
        about: "What becomes of segments, as turned log files are called, in the background. Those \
                that are sealed already stay as they are.",
        options: &[
            option(
                "format",
                "`xz`, `gzip`, `bzip2`, `zstd`",
                As("xz"),
                "zstd",
                "How segments are compressed.",
            ),
            option(
                "level",
                "0 (fast) to 9 (small)",
                As("6"),
                "3",
                "How hard it tries. For `xz` nothing is above 6.",
            ),
            option(
                "compress_on_write",
                "`yes`, `no`",
                As("no"),
                "yes",
                "Compresses with gzip while writing: live files are MODULE.log.gz, nothing is left \
                 to do when they turn, `max_size` counts compressed bytes. Pays where much is \
                 written at once.",
            ),
        ],
    },
    Section {
        name: "server",
        about: "Where messages come from. An address is ADDRESS or ADDRESS:PORT, several are \
                separated by commas, at most 64 in one option; port 0 is any free one. At least one \
                option has to give one.",
        options: &[
            option(
                "listen_ipv4",
                "addresses",
                As("127.0.0.1"),
                "0.0.0.0",
                "For TCP and UDP, in the clear. Empty: none; `0.0.0.0`: all of this machine.",
            ),
            option(
                "listen_ipv6",
                "addresses",
                As("[::1]"),
                "[::]",
                "The same for IPv6: `[::1]:5588`. Empty: none; `[::]`: all of this machine.",
            ),
            option(
                "default_port",
                "0 to 65535",
                As("5566"),
                "6566",
                "The port of those that name none.",
            ),
            option(
                "listen_ipv4_ssl",
                "addresses",
                As(""),
                "127.0.0.1",
                "For TLS. Both sides show a certificate of your authority; see \
                 loghog-server-cert(8).",
            ),
            option("listen_ipv6_ssl", "addresses", As(""), "[::1]", "The same for IPv6."),
            option(
                "default_port_ssl",
                "0 to 65535",
                As("5577"),
                "6577",
                "The port of those that name none.",
            ),
            option(
                "pemfile",
                "file",
                Told("none; required for TLS"),
                "certs/loghog-server.pem",
                "The server's key and certificate. What is in the file is read again by a reload.",
            ),
            option(
                "cacert",
                "file",
                Told("none; required for TLS"),
                "certs/loghog-ca.cert",
                "The certificate of the authority that signs both sides. Read again by a reload.",
            ),
            option(
                "crl",
                "file",
                Told("none"),
                "certs/loghog-ca.crl",
                "What the authority has revoked. Read again by a reload.",
            ),
            option(
                "max_frame",
                "size, 1 KiB to 1 MiB",
                As("1 MiB"),
                "64 KiB",
                "Longest message over TCP and TLS. A longer one closes the connection.",
            ),
            option(
                "max_datagram",
                "size, 1 KiB to 64 KiB",
                As("64 KiB"),
                "8 KiB",
                "Longest message over UDP. A longer one is dropped.",
            ),
            option(
                "max_connections",
                "1 to 1000000",
                As("16384"),
                "1000",
                "Most connections at once, of all addresses together, as far as the limit of open \
                 files lets it.",
            ),
        ],
    },
    Section {
        name: "status",
        about: "Where load balancers, Prometheus and scripts ask how the daemon is doing.",
        options: &[option(
            "listen",
            "address with a port, `unix:PATH`, or nothing",
            As("127.0.0.1:5580"),
            "unix:/run/loghogd/status.sock",
            "The address of the status page, which only reads and shows no message. Who may connect \
             there may ask. Empty: no page.",
        )],
    },
];
