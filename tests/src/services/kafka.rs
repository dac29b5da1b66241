//! A broker of Apache Kafka, one node.
//! A temporary folder, free ports -> a broker that is ready, killed, frozen, started again.
//! Invariant: it ends with the test, by its own pid; also if the test is killed.
//! Leaves out: what loghogd does with it.
//!
//! | listener | for |
//! | --- | --- |
//! | `PLAINTEXT` | everybody, who may do everything |
//! | `SASL` | `loghog`, who may do everything; `stranger`, who may do nothing |
//! | `SSL` | as `PLAINTEXT`, with the certificate of an authority, if there is one |
//! | `SASLSSL` | as `SASL`, with that certificate; `loghog` by PLAIN as well |
//!
//! Both users' password is [`PASSWORD`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Headers as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tempfile::TempDir;

use crate::certs::Authority;
use crate::golden;
use crate::scenario::fast_folder;
use crate::wait::wait_until;

/// The password of `loghog` and of `stranger`.
pub const PASSWORD: &str = "right-secret";

/// How long a broker may take to start or to answer, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Starts Java and says its pid; ends it when nobody holds the other end of its input.
const KEEPER: &str =
    "exec 3<&0; java \"$@\" 3<&- </dev/null & echo $!; cat <&3; kill -9 $! 2>/dev/null; wait";

/// A broker.
#[derive(Debug)]
pub struct Kafka {
    folder: TempDir,
    ports: Ports,
    running: Option<Running>,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    plain: u16,
    sasl: u16,
    ssl: u16,
    sasl_ssl: u16,
    proxied: u16,
    controller: u16,
}

/// One process of it, and the shell that ends it with us.
#[derive(Debug)]
struct Running {
    keeper: Child,
    java: Pid,
}

/// What is started with a broker.
#[derive(Debug, Default)]
pub struct Choices {
    options: BTreeMap<String, String>,
    /// Where clients of the listener `PROXIED` are told to go.
    advertised: Option<SocketAddr>,
    has_tls: bool,
    /// For measurements: all that Java has.
    is_fast: bool,
}

/// A record as a consumer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Its partition.
    pub partition: i32,
    /// Where in that.
    pub offset: i64,
    /// Its key.
    pub key: Option<String>,
    /// Its value.
    pub value: String,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its time in milliseconds.
    pub time_ms: i64,
}

impl Choices {
    /// Nothing special.
    pub fn new() -> Choices {
        Choices::default()
    }

    /// An option of the broker.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Choices {
        self.options.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Who comes by [`Kafka::proxied`] is told to go on by this address.
    #[must_use]
    pub fn proxied_by(mut self, proxy: SocketAddr) -> Choices {
        self.advertised = Some(proxy);
        self
    }

    /// As fast as Java can, for measurements.
    #[must_use]
    pub fn fast(mut self) -> Choices {
        self.is_fast = true;
        self
    }

    /// With the certificate that this authority gave its server.
    #[must_use]
    pub fn tls(mut self, authority: &Authority) -> Choices {
        let read = |file: &str| {
            std::fs::read_to_string(authority.folder().join(file)).expect("it was made")
        };
        // Java takes what is in the options, with its lines in one.
        let (key, chain) = parts(&read("loghog-server.pem"));
        let escaped = |text: &str| text.trim().replace('\n', "\\n");
        self.has_tls = true;
        self.option("ssl.keystore.type", "PEM")
            .option("ssl.keystore.key", &escaped(&key))
            .option("ssl.keystore.certificate.chain", &escaped(&chain))
            .option("ssl.truststore.type", "PEM")
            .option("ssl.truststore.certificates", &escaped(&read("loghog-ca.cert")))
    }

    /// Starts it, and waits until it answers.
    #[track_caller]
    pub fn start(self) -> Kafka {
        let home = home();
        let folder = tempfile::Builder::new().prefix("loghog-kafka-").tempdir_in(fast_folder());
        let folder = folder.expect("a writable folder for temporary files");
        std::fs::create_dir(folder.path().join("data")).expect("writable");
        for file in ["meta.properties", "bootstrap.checkpoint"] {
            let from = home.join("formatted").join(file);
            std::fs::copy(&from, folder.path().join("data").join(file)).expect("formatted");
        }
        let ports = free_ports();
        let text = self.properties(folder.path(), ports);
        std::fs::write(folder.path().join("broker.properties"), text).expect("writable");
        let flags = if self.is_fast { "-Xmx1g" } else { "-Xmx512m -XX:TieredStopAtLevel=1" };
        std::fs::write(folder.path().join("flags"), flags).expect("writable");
        let mut kafka = Kafka { folder, ports, running: None };
        kafka.start_again();
        kafka
    }

    fn properties(&self, folder: &Path, ports: Ports) -> String {
        let Ports { plain, sasl, ssl, sasl_ssl, proxied, controller } = ports;
        let advertised = self.advertised.map_or(proxied, |proxy| proxy.port());
        let tls = match self.has_tls {
            true => format!(",SSL://127.0.0.1:{ssl},SASLSSL://127.0.0.1:{sasl_ssl}"),
            false => String::new(),
        };
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        let plainly = format!(
            "org.apache.kafka.common.security.plain.PlainLoginModule required \
             user_loghog=\"{PASSWORD}\";"
        );
        let mut text = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},\
             PROXIED://127.0.0.1:{proxied},CONTROLLER://127.0.0.1:{controller}{tls}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},\
             PROXIED://127.0.0.1:{advertised}{tls}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,\
             PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASLSSL:SASL_SSL\n\
             inter.broker.listener.name=PLAINTEXT\ncontroller.listener.names=CONTROLLER\n\
             sasl.enabled.mechanisms=SCRAM-SHA-256\n\
             listener.name.sasl.scram-sha-256.sasl.jaas.config={scram}\n\
             listener.name.saslssl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256\n\
             listener.name.saslssl.scram-sha-256.sasl.jaas.config={scram}\n\
             listener.name.saslssl.plain.sasl.jaas.config={plainly}\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS;User:loghog\n\
             log.dirs={data}\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=4\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n\
             log.cleaner.dedupe.buffer.size=16777216\n\
             auto.create.topics.enable=true\nnum.partitions=1\n",
            data = folder.join("data").display(),
        );
        for (name, value) in &self.options {
            text.push_str(&format!("{name}={value}\n"));
        }
        text
    }
}

impl Kafka {
    /// A broker with nothing special.
    #[track_caller]
    pub fn start() -> Kafka {
        Choices::new().start()
    }

    /// Where everybody may do everything.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.plain)
    }

    /// Where one has to say who one is.
    pub fn sasl(&self) -> String {
        format!("127.0.0.1:{}", self.ports.sasl)
    }

    /// Where TLS is spoken.
    pub fn ssl(&self) -> String {
        format!("127.0.0.1:{}", self.ports.ssl)
    }

    /// Where TLS is spoken, and one has to say who one is.
    pub fn sasl_ssl(&self) -> String {
        format!("127.0.0.1:{}", self.ports.sasl_ssl)
    }

    /// Where a proxy has to lead to.
    pub fn proxied(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports.proxied))
    }

    /// Starts it where it was, with what it had.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.running.is_none(), "it runs");
        let folder = self.folder.path();
        let output = File::options().create(true).append(true).open(folder.join("output"));
        let output = output.expect("a writable folder");
        let flags = std::fs::read_to_string(folder.join("flags")).expect("written");
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .args(flags.split_whitespace())
            .args([
                "-XX:+UseSerialGC",
                "-Xshare:auto",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            ])
            .arg("-cp")
            .arg(home().join("lib/*"))
            .arg("kafka.Kafka")
            .arg(folder.join("broker.properties"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(output)
            .spawn()
            .expect("there is a shell");
        let mut pid = String::new();
        let said = keeper.stdout.take().expect("piped");
        BufReader::new(said).read_line(&mut pid).expect("the shell says the pid");
        let java = Pid::from_raw(pid.trim().parse().expect("a pid"));
        self.running = Some(Running { keeper, java });
        self.wait_until_ready();
    }

    /// Ends it without warning (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.end();
        }
    }

    /// Ends it as its operators do (SIGTERM), and waits until it has.
    pub fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.signal(Signal::SIGTERM);
        wait_until(PATIENCE, "the broker has stopped", || {
            (!crate::process::is_alive(running.pid())).then_some(())
        });
        running.end();
    }

    /// It stands still: everything is open, and nothing answers (SIGSTOP).
    pub fn freeze(&self) {
        self.running.as_ref().expect("it runs").signal(Signal::SIGSTOP);
    }

    /// It goes on (SIGCONT).
    pub fn thaw(&self) {
        self.running.as_ref().expect("it runs").signal(Signal::SIGCONT);
    }

    /// What it said.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }

    /// Makes a topic, with these settings.
    #[track_caller]
    pub fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("a client");
        let topic = settings.iter().fold(
            NewTopic::new(name, partitions, TopicReplication::Fixed(1)),
            |topic, (name, value)| topic.set(name, value),
        );
        let times = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let made = runtime.block_on(admin.create_topics([&topic], &times)).expect("an answer");
        made.into_iter().next().expect("one topic").expect("it is made");
    }

    /// All that a reader of what is committed finds in a topic, partition by partition.
    /// Waits for transactions that are open.
    #[track_caller]
    pub fn read(&self, topic: &str) -> Vec<Read> {
        let committed = self.reader("read_committed");
        let metadata = committed.fetch_metadata(Some(topic), PATIENCE).expect("an answer");
        let found = &metadata.topics()[0];
        let mut records = Vec::new();
        for partition in found.partitions().iter().map(|partition| partition.id()) {
            let all = self.reader("read_uncommitted");
            let (_, end) = all.fetch_watermarks(topic, partition, PATIENCE).expect("an answer");
            wait_until(PATIENCE, "no transaction is open", || {
                let (_, stable) =
                    committed.fetch_watermarks(topic, partition, PATIENCE).expect("an answer");
                (stable >= end).then_some(())
            });
            let mut partitions = TopicPartitionList::new();
            partitions
                .add_partition_offset(topic, partition, Offset::Beginning)
                .expect("a partition");
            committed.assign(&partitions).expect("assigned");
            loop {
                match committed.poll(PATIENCE).expect("an answer") {
                    Ok(record) => records.push(Read::from(&record)),
                    Err(rdkafka::error::KafkaError::PartitionEOF(_)) => break,
                    Err(error) => panic!("{topic}: {error}"),
                }
            }
        }
        records
    }

    /// The values of [`Kafka::read`].
    #[track_caller]
    pub fn values(&self, topic: &str) -> Vec<String> {
        self.read(topic).into_iter().map(|record| record.value).collect()
    }

    /// A reader of what is committed (`read_committed`), or of everything.
    pub fn reader(&self, isolation: &str) -> BaseConsumer {
        self.client()
            .set("group.id", "tests")
            .set("isolation.level", isolation)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "20")
            .create()
            .expect("a consumer")
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address());
        config
    }

    #[track_caller]
    fn wait_until_ready(&self) {
        let ports = [self.ports.plain, self.ports.controller];
        wait_until(PATIENCE, "the broker listens", || {
            assert!(self.is_running(), "the broker has ended: {}", self.said());
            let answers = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
            ports.into_iter().all(answers).then_some(())
        });
        let client: BaseConsumer = self.client().create().expect("a client");
        wait_until(PATIENCE, "the broker answers", || {
            let metadata = client.fetch_metadata(None, Duration::from_secs(1)).ok()?;
            (metadata.brokers().len() == 1).then_some(())
        });
    }

    fn is_running(&self) -> bool {
        self.running.as_ref().is_some_and(|running| crate::process::is_alive(running.pid()))
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            let last = lines.get(lines.len().saturating_sub(15)..).unwrap_or_default();
            eprintln!("the broker said at last:\n{}", last.join("\n"));
        }
    }
}

impl Running {
    fn pid(&self) -> u32 {
        self.java.as_raw().unsigned_abs()
    }

    fn signal(&self, signal: Signal) {
        kill(self.java, signal).expect("our own process");
    }

    /// The shell ends it, and is there until it has.
    fn end(mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
        wait_until(PATIENCE, "the broker is gone", || {
            (!crate::process::is_alive(self.pid())).then_some(())
        });
    }
}

impl From<&rdkafka::message::BorrowedMessage<'_>> for Read {
    fn from(record: &rdkafka::message::BorrowedMessage<'_>) -> Read {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Read {
            partition: record.partition(),
            offset: record.offset(),
            key: record.key().map(text),
            value: text(record.payload().unwrap_or_default()),
            headers: record.headers().map_or(Vec::new(), |headers| {
                let pairs = headers.iter();
                pairs
                    .map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default())))
                    .collect()
            }),
            time_ms: record.timestamp().to_millis().unwrap_or_default(),
        }
    }
}

/// What `tools/kafka` has brought.
fn home() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| golden::repository().join("target"), PathBuf::from);
    let home = target.join("services/kafka");
    assert!(home.join("made-of").is_file(), "{} is missing: run tools/kafka first", home.display());
    home
}

/// Ports that were free a moment ago; nobody else gets them soon.
fn free_ports() -> Ports {
    let listeners: Vec<TcpListener> =
        (0..6).map(|_| TcpListener::bind("127.0.0.1:0").expect("loopback")).collect();
    let mut ports = listeners.iter().map(|listener| listener.local_addr().expect("bound").port());
    let mut next = || ports.next().expect("six");
    Ports {
        plain: next(),
        sasl: next(),
        ssl: next(),
        sasl_ssl: next(),
        proxied: next(),
        controller: next(),
    }
}

/// Key and certificates of a PEM file.
fn parts(pem: &str) -> (String, String) {
    let mut parts = (String::new(), String::new());
    let mut is_key = false;
    for line in pem.lines() {
        if line.starts_with("-----BEGIN") {
            is_key = line.contains("KEY");
        }
        let part = if is_key { &mut parts.0 } else { &mut parts.1 };
        part.push_str(line);
        part.push('\n');
    }
    parts
}
