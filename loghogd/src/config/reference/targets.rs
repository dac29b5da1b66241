//! The options of targets, `[ship:NAME]`.
//! Nothing -> a table for all targets, and one for each kind.
//! Invariant: whatever a reader of targets asks for stands here.
//! Leaves out: which options need each other; `check-config` says that.

use super::Unset::{As, Required, Told};
use super::{Section, reloaded};

/// The options of every target.
pub const TARGET: Section = Section {
    name: "ship:NAME",
    about: "A target to which files are shipped, under a name of your own: small letters, digits \
            and dashes, at most 32 characters. There are at most 16. A facility says `ship = NAME`. \
            Secrets may stand in a file of their own: `OPTION_file = PATH` takes its first line.",
    options: &[
        reloaded("type", "`kafka`, `s3`, `influxdb`", Required, "s3", "What kind of target it is."),
        reloaded(
            "when",
            "`sealed`, `live`",
            As("sealed"),
            "live",
            "`sealed`: a file is shipped when it has turned and is compressed. `live`: files are \
             followed while they are written, within a second. Not for S3; not with \
             `compress_on_write`.",
        ),
        reloaded(
            "rate_limit",
            "size",
            As("0"),
            "20 MiB",
            "Most bytes of log files a second. 0: no limit.",
        ),
    ],
};

/// The further options of `type = kafka`.
pub const KAFKA: Section = Section {
    name: "ship:NAME",
    about: "Apache Kafka: each message is a record.",
    options: &[
        reloaded(
            "brokers",
            "HOST:PORT, several separated by commas",
            Required,
            "kafka-1:9092, kafka-2",
            "Some brokers; the port is 9092 if left out. The others of the cluster are learned from \
             them.",
        ),
        reloaded(
            "topic",
            "template",
            As("logs.{app}"),
            "logs.{app}.{module}",
            "The topic of a record; places are `{app}`, `{module}`, `{host}`. A byte of theirs that \
             Kafka takes in no name becomes `_xHH`.",
        ),
        reloaded(
            "key",
            "template",
            As("{host}"),
            "{app}.{host}",
            "The key of a record, which chooses its partition; places are `{app}`, `{module}`, \
             `{host}`, `{logger}`, `{level}`. An empty key is none.",
        ),
        reloaded(
            "value",
            "`json`, `raw`",
            As("json"),
            "raw",
            "An object with all that is known, or the line as it stands in the file.",
        ),
        reloaded(
            "compression",
            "`none`, `lz4`, `zstd`, `gzip`, `snappy`",
            As("lz4"),
            "zstd",
            "How batches of records are compressed.",
        ),
        reloaded(
            "transactional",
            "`yes`, `no`",
            As("yes"),
            "no",
            "`no` for brokers without transactions: at least once.",
        ),
        reloaded(
            "acks",
            "`all`, `1`",
            As("all"),
            "1",
            "Which brokers have to have a record: all in sync, or the leader alone (with \
             `transactional = no` only).",
        ),
        reloaded(
            "progress_topic",
            "name",
            As("loghog-progress"),
            "my-progress",
            "Where it is kept how far files have come. Made if it is not there.",
        ),
        reloaded(
            "create_topics",
            "`yes`, `no`",
            As("no"),
            "yes",
            "Makes topics that are not there. Brokers that do so by themselves are let do so.",
        ),
        reloaded(
            "partitions",
            "1 to 10000",
            Told("as the brokers have it"),
            "12",
            "Of topics that are made.",
        ),
        reloaded(
            "replication_factor",
            "1 to 100",
            Told("as the brokers have it"),
            "3",
            "Of topics that are made. The progress topic has as many as there are brokers, up to 3, \
             if nothing is said.",
        ),
        reloaded("tls", "`yes`, `no`", As("no"), "yes", "Connections are encrypted."),
        reloaded(
            "cacert",
            "file",
            Told("the system's authorities"),
            "certs/kafka-ca.pem",
            "The authorities that may vouch for brokers, in PEM.",
        ),
        reloaded(
            "pemfile",
            "file",
            Told("none"),
            "certs/kafka-client.pem",
            "A key and a certificate of ours, in PEM, where brokers want one.",
        ),
        reloaded(
            "sasl_mechanism",
            "`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`",
            Told("none"),
            "SCRAM-SHA-512",
            "How we prove who we are. Without `tls = yes`, `PLAIN` sends the password as it is.",
        ),
        reloaded("sasl_user", "name", Told("none"), "loghog", "Who we are."),
        reloaded("sasl_password", "text", Told("none"), "change-me", "The password."),
        reloaded(
            "sasl_password_file",
            "file",
            Told("none"),
            "kafka-password",
            "A file with the password in its first line, instead.",
        ),
        reloaded(
            "kafka.NAME",
            "as librdkafka has it",
            Told("librdkafka's"),
            "20",
            "Any other option of librdkafka: `kafka.linger.ms = 20`. Those on which exactly once \
             rests are refused.",
        ),
    ],
};

/// The further options of `type = s3`.
pub const S3: Section = Section {
    name: "ship:NAME",
    about: "Amazon S3 and what speaks like it: each segment is an object.",
    options: &[
        reloaded("bucket", "name", Required, "my-logs", "The bucket; it has to be there."),
        reloaded(
            "region",
            "name",
            Told("`AWS_REGION`, else `us-east-1`"),
            "eu-west-3",
            "Where it is.",
        ),
        reloaded(
            "endpoint",
            "https://HOST:PORT",
            Told("Amazon's for the region"),
            "https://s3.example.org:9000",
            "Another server.",
        ),
        reloaded(
            "path_style",
            "`yes`, `no`",
            Told("`yes` with `endpoint`, else `no`"),
            "yes",
            "The bucket stands in the path, not in the host's name.",
        ),
        reloaded(
            "access_key_id",
            "text",
            Told("see docs/ship-s3.md"),
            "AKIDEXAMPLE",
            "Who we are; with `secret_access_key`.",
        ),
        reloaded("secret_access_key", "text", Told("none"), "change-me", "The secret."),
        reloaded(
            "secret_access_key_file",
            "file",
            Told("none"),
            "s3-secret",
            "A file with the secret in its first line, instead.",
        ),
        reloaded("session_token", "text", Told("none"), "token", "For credentials of a session."),
        reloaded(
            "session_token_file",
            "file",
            Told("none"),
            "s3-token",
            "A file with it in its first line, instead.",
        ),
        reloaded(
            "credentials_file",
            "file",
            Told("none"),
            "aws-credentials",
            "A file as Amazon's tools keep it, read at each connecting.",
        ),
        reloaded("profile", "name", Told("`default`"), "logs", "Which section of that file."),
        reloaded(
            "metadata_endpoint",
            "URL",
            Told("`http://169.254.169.254`"),
            "http://127.0.0.1:1338",
            "Where an instance asks for its role.",
        ),
        reloaded(
            "cacert",
            "file",
            Told("the system's authorities"),
            "certs/s3-ca.pem",
            "Those that are trusted instead, in PEM.",
        ),
        reloaded(
            "key",
            "template",
            As("{app}/{module}/{yyyy}/{mm}/{dd}/{host}-{begin}-{sha256:8}.log.{ext}"),
            "{app}/{module}/{begin}-{sha256}.{ext}",
            "How objects are called; see docs/ship-s3.md for its places. `{sha256}` has to be in \
             it.",
        ),
        reloaded("index", "text", As("index"), "index-2", "What the keys of the index begin with."),
        reloaded(
            "body",
            "`file`, `json.xz`, `csv.xz`",
            As("file"),
            "json.xz",
            "What is in an object: the segment as it is on the disk, or its records written anew.",
        ),
        reloaded(
            "storage_class",
            "as S3 has it",
            Told("the bucket's"),
            "GLACIER_IR",
            "Of segments; the index is always kept ready to be read.",
        ),
        reloaded(
            "sse",
            "`AES256`, `aws:kms`, `aws:kms:dsse`",
            Told("the bucket's"),
            "aws:kms",
            "How the server encrypts what it keeps.",
        ),
        reloaded(
            "sse_kms_key_id",
            "text",
            Told("the account's own"),
            "alias/logs",
            "Which key, with `aws:kms`.",
        ),
        reloaded(
            "conditional_writes",
            "`yes`, `no`",
            As("yes"),
            "no",
            "`no` for a server that does not know `If-None-Match` and `If-Match`.",
        ),
        reloaded(
            "timeout",
            "1s to 1h",
            As("120s"),
            "30s",
            "How long the answer to one request may take; a request has 16 MiB at most.",
        ),
    ],
};

/// The further options of `type = influxdb`.
pub const INFLUXDB: Section = Section {
    name: "ship:NAME",
    about: "InfluxDB and what speaks like it: each message is a point.",
    options: &[
        reloaded(
            "url",
            "URL",
            Required,
            "http://localhost:8086",
            "Where it answers, without `/write` at its end, and without a user.",
        ),
        reloaded(
            "version",
            "`1`, `2`, `3`",
            As("1"),
            "3",
            "`1` writes to `/write`, `2` and `3` to `/api/v2/write`.",
        ),
        reloaded(
            "database",
            "name",
            Told("required with 1 and 3"),
            "logs",
            "The database; it has to be there.",
        ),
        reloaded("user", "name", Told("none"), "loghog", "Version 1: who may write into it."),
        reloaded("password", "text", Told("none"), "change-me", "Version 1: the password."),
        reloaded(
            "password_file",
            "file",
            Told("none"),
            "influxdb-password",
            "A file with the password in its first line, instead.",
        ),
        reloaded(
            "retention_policy",
            "name",
            Told("the database's own"),
            "a_year",
            "Version 1: another one.",
        ),
        reloaded("org", "name", Told("required with 2"), "my-org", "The organisation."),
        reloaded(
            "bucket",
            "name",
            Told("required with 2"),
            "logs",
            "The bucket; it has to be there.",
        ),
        reloaded(
            "token",
            "text",
            Told("none"),
            "change-me",
            "Versions 2 and 3: one that may write into it.",
        ),
        reloaded(
            "token_file",
            "file",
            Told("none"),
            "influxdb-token",
            "A file with the token in its first line, instead.",
        ),
        reloaded(
            "measurement",
            "template",
            As("{app}"),
            "{app}.{module}",
            "The measurement of a message; places are `{app}`, `{module}`, `{host}`. A host without \
             a name is `-`.",
        ),
        reloaded(
            "errors_measurement",
            "template",
            Told("none"),
            "errors",
            "Messages of the level ERROR and worse are written there as well.",
        ),
        reloaded(
            "match.NAME",
            "regular expression",
            Told("none"),
            "(?i)login (failed|refused)",
            "Messages whose body has it somewhere are written into the measurement NAME as well, \
             which becomes small letters. In the syntax of Rust's regex; at most 16.",
        ),
        reloaded(
            "tag.NAME",
            "text",
            Told("none"),
            "north",
            "A tag that every point gets. At most 16.",
        ),
        reloaded(
            "batch_points",
            "1 to 100000",
            As("5000"),
            "1000",
            "Most points of one request. A request has some 4 MiB at most in any case.",
        ),
        reloaded("gzip", "`yes`, `no`", As("yes"), "no", "Requests are compressed."),
        reloaded(
            "multiline",
            "`yes`, `no`",
            As("yes"),
            "no",
            "`no`: in texts `\\n` stands for a line feed. For servers that cannot have one there: \
             whatever is not InfluxDB.",
        ),
        reloaded(
            "timeout",
            "1s to 10m",
            As("30s"),
            "10s",
            "How long a request may take; then it is tried again.",
        ),
        reloaded(
            "cacert",
            "file",
            Told("the system's authorities"),
            "certs/influxdb-ca.pem",
            "The authority that has signed the server's certificate, in PEM; no other is trusted \
             then.",
        ),
    ],
};
