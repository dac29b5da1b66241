//! The options of `facilities.conf`.
//! Nothing -> a table.
//! Invariant: in the order in which `etc/loghogd/facilities.conf` explains them.
//! Leaves out: how modules take them from their root facility (`facility::read`).

use super::Unset::{As, Required};
use super::{Section, reloaded};

/// The options of every facility.
pub const FACILITY: Section = Section {
    name: "APP] or [APP:MODULE",
    about: "A facility.",
    options: &[
        reloaded(
            "rotate",
            "`hourly`, `daily`, `midnight`, `weekly`, `monthly`, `yearly`, `annually`, `size`, or \
             five fields as in crontab(5)",
            Required,
            "30 4 * * 1-5",
            "When the file turns. `weekly` is on Monday, `size` by `max_size` alone. \
             `loghogd schedule` says when that will be.",
        ),
        reloaded(
            "backup_count",
            "1 to 4294967295",
            Required,
            "30",
            "How many segments of each file are kept at the most. The live file does not count.",
        ),
        reloaded(
            "secret",
            "text",
            As(""),
            "change-me",
            "What senders have to know: messages over v1 are signed with it, in v2 both sides prove \
             it. Empty: anybody may send. Let nobody else read the file.",
        ),
        reloaded(
            "require",
            "`v2`, `tls`, or both, separated by a comma",
            As(""),
            "v2, tls",
            "How messages must come, or they are refused: over the protocol of today's clients, in \
             which nothing is lost and nobody else can send anything a second time, over TLS, or \
             both. Empty: in any way.",
        ),
        reloaded(
            "format",
            "`text`, `json`",
            As("text"),
            "json",
            "How a message looks in the file: lines for people, or one JSON object a line with all \
             that the sender said.",
        ),
        reloaded(
            "max_size",
            "size",
            As("0"),
            "100 MiB",
            "The file also turns before it exceeds this. Required with `rotate = size`. 0: never.",
        ),
        reloaded(
            "max_age",
            "age",
            As("0"),
            "90d",
            "Segments are deleted when their last line is so old; each goes as a whole. 0: never.",
        ),
        reloaded(
            "max_total_size",
            "size",
            As("0"),
            "5 GiB",
            "All files of the facility, of all its hosts, turned or not, take no more than this: \
             its oldest segments go. Live files never go, so give it a `max_size`, too. 0: no limit.",
        ),
        reloaded(
            "flush_every",
            "1 to 4294967295",
            As("1"),
            "1000",
            "The file is synced to disk after this many messages, or one second. With 1 each batch \
             is synced before the next one is written.",
        ),
        reloaded(
            "file_per_host",
            "`yes`, `no`",
            As("no"),
            "yes",
            "A file for each host that sends: APP/HOST-MODULE.log.",
        ),
        reloaded(
            "ship",
            "names, separated by commas",
            As(""),
            "archive, stream",
            "Where the files are shipped to: sections `[ship:NAME]` of loghogd.conf(5). Empty: \
             nowhere.",
        ),
        reloaded(
            "keep_until_shipped",
            "`yes`, `no`",
            As("yes"),
            "no",
            "No segment is deleted before all targets of `ship` have it, whatever the options above \
             say. Only `min_free` of loghogd.conf is stronger, in the end.",
        ),
    ],
};
