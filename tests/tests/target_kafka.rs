//! The target Kafka with a real broker: what arrives, what a beginning finds, and what is
//! said of everything that can be in the way.

use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use loghog_tests::DEADLINE;
use loghog_tests::batches::{self, Source};
use loghog_tests::certs::Authority;
use loghog_tests::proxy::{Proxy, Trouble as OnTheWay};
use loghog_tests::services::kafka::{Choices, Kafka, PASSWORD, Read};
use loghogd::config::ship::{Kind, kafka};
use loghogd::config::{Overrides, read_config};
use loghogd::pipeline::ship::kafka::KafkaTarget;
use loghogd::pipeline::ship::{Batch, Mark, Records, Refused, Scope, Surroundings, Trouble};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::Value;
use tokio::runtime::Runtime;

/// A broker for all tests that leave it as it is; it ends with the last of them.
fn shared() -> Arc<Kafka> {
    static SHARED: Mutex<Weak<Kafka>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    shared.upgrade().unwrap_or_else(|| {
        let broker = Arc::new(Choices::new().option("auto.create.topics.enable", "false").start());
        *shared = Arc::downgrade(&broker);
        broker
    })
}

fn options(text: &str) -> kafka::Kafka {
    let text = format!("[ship:k]\ntype = kafka\n{text}\n");
    let path = Path::new("/etc/loghogd/loghogd.conf");
    let (config, _) = read_config(text.as_bytes(), path, &Overrides::default()).expect(&text);
    match config.ship.into_iter().next().expect("a target").kind {
        Kind::Kafka(kafka) => kafka,
        other => panic!("{other:?}"),
    }
}

/// A target of the daemon with this id.
struct Site {
    target: KafkaTarget,
    surroundings: Surroundings,
    _runtime: Runtime,
}

impl Site {
    fn new(instance: &str, text: &str) -> Site {
        let runtime = Runtime::new().unwrap();
        let surroundings = Surroundings::new(runtime.handle().clone(), instance, TimeZone::UTC);
        let target = KafkaTarget::new("k", &options(text), surroundings.clone()).unwrap();
        Site { target, surroundings, _runtime: runtime }
    }

    /// Begins, and says how far the stream of a source has come.
    fn begin(&mut self, source: &Source) -> Result<Option<Mark>, Trouble> {
        self.target.connect()?;
        Ok(self.target.marks()?.and_then(|marks| marks.get(&**source.stream()).copied()))
    }

    /// Delivers a batch; returns what Kafka will never take.
    fn deliver(&mut self, batch: &Batch) -> Result<Vec<Refused>, Trouble> {
        batches::deliver(&mut self.target, batch)
    }

    /// Ships all of a source, and tries again what may heal, as the daemon does: librdkafka
    /// takes all brokers for down while it is on its way to the one that is not.
    fn ship(&mut self, source: &Source) {
        let until = Instant::now() + DEADLINE;
        loop {
            let shipped = self.begin(source).and_then(|mark| {
                let mark = mark.unwrap_or_default();
                if source.is_through(mark) {
                    return Ok(Vec::new());
                }
                let part = source.part(mark, self.target.limits().records);
                self.deliver(&Batch { parts: vec![part] })
            });
            match shipped {
                Err(Trouble::Later { .. }) if Instant::now() < until => {}
                shipped => return assert_eq!(shipped, Ok(vec![])),
            }
        }
    }

    /// What is said when it begins or sends.
    fn trouble(&mut self, source: &Source) -> Trouble {
        match self.begin(source).and_then(|_| self.deliver(&source.all())) {
            Ok(refused) => panic!("it went well: {refused:?}"),
            Err(trouble) => trouble,
        }
    }
}

#[track_caller]
fn assert_stop(trouble: &Trouble, parts: &[&str]) {
    assert!(matches!(trouble, Trouble::Stop { .. }), "{trouble:?}");
    assert_says(trouble, parts);
}

#[track_caller]
fn assert_later(trouble: &Trouble, parts: &[&str]) {
    assert!(matches!(trouble, Trouble::Later { .. }), "{trouble:?}");
    assert_says(trouble, parts);
}

#[track_caller]
fn assert_says(trouble: &Trouble, parts: &[&str]) {
    let said = trouble.to_string();
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
    assert!(!said.contains(PASSWORD), "{said}");
}

fn bodies(records: &[Read]) -> Vec<String> {
    let body = |record: &Read| {
        let value: Value = serde_json::from_str(&record.value).expect("JSON");
        value["body"].as_str().expect("a body").to_owned()
    };
    records.iter().map(body).collect()
}

fn numbered(source: &mut Source, count: usize) -> Vec<String> {
    let bodies: Vec<String> = (0..count).map(|number| format!("message {number}")).collect();
    bodies.iter().for_each(|body| source.log("web01", body));
    bodies
}

#[test]
fn records_arrive_with_all_that_is_known_of_them() {
    let broker = shared();
    broker.create_topic("logs.arrive_x20app", 1, &[]);
    let mut source = Source::new("arrive app");
    source.log("web01", "ERROR - boom");
    source.line(r#"{"received":"2026-11-20T12:00:01.5+00:00","sent":null,"host":"db-2","app":"arrive app","logger":"x.y","level":20,"level_name":"INFO","message":"quiet","fields":{"user":7}}"#);
    source.log("-", "nobody's");
    let mut site = Site::new("0000000000001001", &format!("brokers = {}", broker.address()));
    assert_eq!(site.begin(&source), Ok(None));
    assert_eq!(site.deliver(&source.all()), Ok(vec![]));

    let records = broker.read("logs.arrive_x20app");
    let keys: Vec<_> = records.iter().map(|record| record.key.as_deref()).collect();
    assert_eq!(keys, [Some("web01"), Some("db-2"), None]);
    assert_eq!(
        records[0].value,
        r#"{"time":"2026-11-20T12:00:00.000001Z","host":"web01","app":"arrive app","module":"root","level":40,"level_name":"ERROR","body":"ERROR - boom"}"#
    );
    assert_eq!(
        records[1].value,
        r#"{"time":"2026-11-20T12:00:01.500000Z","host":"db-2","app":"arrive app","module":"root","logger":"x.y","level":20,"level_name":"INFO","body":"quiet","fields":{"user":7}}"#
    );
    let facility = ("facility".to_owned(), "arrive app:root".to_owned());
    assert_eq!(records[0].headers, [facility, ("segment".to_owned(), "root.log".to_owned())]);
    assert_eq!(records[1].time_ms, 1_795_176_001_500);

    // The next one, of the same daemon, finds how far it has come; another daemon nothing.
    let end = source.all().parts[0].end;
    let mut next = Site::new("0000000000001001", &format!("brokers = {}", broker.address()));
    assert_eq!(next.begin(&source), Ok(Some(end)));
    let mut other = Site::new("0000000000002001", &format!("brokers = {}", broker.address()));
    assert_eq!(other.begin(&source), Ok(None));
}

#[test]
fn topic_key_and_value_are_what_the_configuration_says() {
    let broker = shared();
    for host in ["a", "b"] {
        broker.create_topic(&format!("raw.{host}"), 1, &[]);
    }
    let mut source = Source::new("templates");
    source.log("a", "one\n\ttwo");
    source.log("b", "three");
    let mut site = Site::new(
        "0000000000001002",
        &format!(
            "brokers = {}\ntopic = raw.{{host}}\nkey = {{app}}/{{level}}\nvalue = raw\n\
             progress_topic = other-progress\ncompression = zstd",
            broker.address()
        ),
    );
    site.begin(&source).unwrap();
    assert_eq!(site.deliver(&source.all()), Ok(vec![]));
    let records = broker.read("raw.a");
    assert_eq!(records[0].value, "2026-11-20 12:00:00.000001 - a - one\n\ttwo");
    assert_eq!(records[0].key.as_deref(), Some("templates/"));
    assert_eq!(broker.values("raw.b"), ["2026-11-20 12:00:02.000001 - b - three"]);
    assert!(
        broker.read("other-progress").iter().any(|record| {
            record.key.as_deref() == Some("0000000000001002/k/templates/root.log")
        })
    );
}

#[test]
fn a_cluster_is_known_by_its_own_name() {
    let broker = shared();
    let source = Source::new("named");
    let mut names = ["yes", "no"].map(|transactional| {
        let text = format!("brokers = {}\ntransactional = {transactional}", broker.address());
        let mut site = Site::new("0000000000001014", &text);
        assert_eq!(site.target.cluster(), None, "nobody was asked");
        site.begin(&source).unwrap();
        site.target.cluster().expect("it says its name")
    });
    names.sort();
    assert!(!names[0].is_empty() && names[0] == names[1], "{names:?}");
}

#[test]
fn without_transactions_all_arrives_and_nobody_remembers() {
    let broker = shared();
    for (topic, acks) in [("logs.plain", "all"), ("logs.leader", "1")] {
        broker.create_topic(topic, 1, &[]);
        let mut source = Source::new(topic.strip_prefix("logs.").unwrap());
        let bodies_sent = numbered(&mut source, 500);
        let text = format!("brokers = {}\ntransactional = no\nacks = {acks}", broker.address());
        let mut site = Site::new("0000000000001003", &text);
        assert_eq!(site.target.connect(), Ok(()));
        assert_eq!(site.target.marks(), Ok(None));
        assert_eq!(site.deliver(&source.all()), Ok(vec![]));
        assert_eq!(bodies(&broker.read(topic)), bodies_sent);
    }
}

#[test]
fn a_topic_that_is_not_there_stops_its_stream_only() {
    let broker = shared();
    let mut source = Source::new("nowhere");
    source.log("a", "x");
    let mut site = Site::new("0000000000001004", &format!("brokers = {}", broker.address()));
    let trouble = site.trouble(&source);
    let address = broker.address();
    assert_eq!(
        trouble.to_string(),
        format!(
            "Kafka at {address} has no topic logs.nowhere; create it (kafka-topics --create), or \
             write create_topics = yes in [ship:k], then reload loghogd (SIGHUP)"
        )
    );
    let Trouble::Stop { scope: Scope::Stream(stream), .. } = trouble else { panic!("{trouble:?}") };
    assert_eq!(&stream, source.stream());
}

#[test]
fn topics_are_created_where_that_was_asked_for() {
    let broker = shared();
    let mut source = Source::new("created");
    let sent = numbered(&mut source, 10);
    let text = format!("brokers = {}\ncreate_topics = yes\npartitions = 3", broker.address());
    let mut site = Site::new("0000000000001005", &text);
    site.begin(&source).unwrap();
    assert_eq!(site.deliver(&source.all()), Ok(vec![]));
    // One host has one partition, and so its order.
    assert_eq!(bodies(&broker.read("logs.created")), sent);

    let text =
        format!("brokers = {}\ncreate_topics = yes\nreplication_factor = 7", broker.address());
    let mut source = Source::new("too-many-copies");
    source.log("a", "x");
    let trouble = Site::new("0000000000001005", &text).trouble(&source);
    assert_stop(
        &trouble,
        &["does not create the topic logs.too-many-copies", "replication_factor"],
    );
}

#[test]
fn a_broker_that_makes_topics_by_itself_is_let_do_so() {
    let broker = Choices::new().option("num.partitions", "2").start();
    let mut source = Source::new("by-itself");
    let sent = numbered(&mut source, 10);
    let mut site = Site::new("0000000000001006", &format!("brokers = {}", broker.address()));
    site.begin(&source).unwrap();
    assert_eq!(site.deliver(&source.all()), Ok(vec![]));
    assert_eq!(bodies(&broker.read("logs.by-itself")), sent);
}

#[test]
fn what_kafka_will_never_take_is_refused_and_the_rest_arrives() {
    let broker = shared();
    // The first is too long for librdkafka, the second for the topic.
    broker.create_topic("logs.large", 1, &[("max.message.bytes", "60000")]);
    let text = format!("brokers = {}\ncompression = none", broker.address());
    let mut site = Site::new("0000000000001007", &text);
    let mut source = Source::new("large");
    source.log("a", &"x".repeat(1 << 20));
    for number in 0..2_000 {
        source.log("a", &format!("message {number}"));
        if number % 500 == 250 {
            source.log("a", &"y".repeat(100_000));
        }
    }
    let mut mark = site.begin(&source).unwrap().unwrap_or_default();
    let mut reasons = Vec::new();
    let mut tries = 0;
    while !source.is_through(mark) {
        let part = source.part(mark, site.target.limits().records);
        let end = part.end;
        match site.deliver(&Batch { parts: vec![part] }) {
            Ok(refused) => {
                reasons.extend(refused.into_iter().map(|refused| refused.reason));
                mark = end;
            }
            Err(trouble) => {
                assert!(matches!(trouble, Trouble::Later { .. }), "{trouble}");
                mark = site.begin(&source).unwrap().unwrap_or_default();
                tries += 1;
                assert!(tries < 5, "{trouble}");
            }
        }
    }
    assert_eq!(reasons.len(), 5, "{reasons:?}");
    assert!(reasons[0].contains("more than message.max.bytes allows"), "{reasons:?}");
    assert!(reasons[1].starts_with("Kafka refuses it: "), "{reasons:?}");
    let sent: Vec<String> = (0..2_000).map(|number| format!("message {number}")).collect();
    assert_eq!(bodies(&broker.read("logs.large")), sent);
}

#[test]
fn whoever_ends_before_a_refused_record_is_kept_meets_it_again() {
    let broker = shared();
    broker.create_topic("logs.letters", 1, &[("max.message.bytes", "60000")]);
    // The first is too long for librdkafka, the second for the topic.
    for (instance, bytes) in [("0000000000001010", 1 << 20), ("0000000000001011", 100_000)] {
        let text = format!("brokers = {}\ncompression = none", broker.address());
        let mut source = Source::new("letters");
        for body in ["first", &"x".repeat(bytes), "last"] {
            source.log("a", body);
        }
        let mut site = Site::new(instance, &text);
        site.begin(&source).unwrap();
        let mut asked = Vec::new();
        let ended = loop {
            let mut bury = |refused: &[Refused]| {
                asked.extend_from_slice(refused);
                Err(Trouble::Ended)
            };
            match site.target.deliver(&source.all(), &mut bury) {
                // Batches become smaller, until it is alone.
                Err(Trouble::Later { .. }) => assert_eq!(site.begin(&source), Ok(None)),
                outcome => break outcome,
            }
        };
        assert_eq!(ended, Err(Trouble::Ended));
        assert_eq!(asked.iter().map(|refused| refused.message).collect::<Vec<_>>(), [1]);
        drop(site);
        let mut next = Site::new(instance, &text);
        assert_eq!(next.begin(&source), Ok(None), "it has not been passed over");
        while let Err(trouble) = next.deliver(&source.all()) {
            assert_later(&trouble, &[]);
            assert_eq!(next.begin(&source), Ok(None));
        }
    }
    assert_eq!(bodies(&broker.read("logs.letters")), ["first", "last", "first", "last"]);
}

#[test]
fn he_whose_place_was_taken_stops_and_says_who_has_taken_it() {
    let broker = shared();
    broker.create_topic("logs.two", 1, &[]);
    let mut source = Source::new("two");
    let sent = numbered(&mut source, 6);
    let text = format!("brokers = {}", broker.address());
    let (mut first, mut second) =
        (Site::new("0000000000003008", &text), Site::new("0000000000003008", &text));
    let part = |mark, count| Batch { parts: vec![source.part(mark, count)] };
    assert_eq!(first.begin(&source), Ok(None));
    first.deliver(&part(Mark::default(), 2)).unwrap();
    let mark = second.begin(&source).unwrap().unwrap();
    assert_eq!(mark.records, 2);

    let trouble = first.deliver(&part(mark, 2)).unwrap_err();
    assert!(matches!(trouble, Trouble::Later { .. }), "{trouble}");
    let trouble = first.begin(&source).unwrap_err();
    assert_stop(
        &trouble,
        &[
            "another loghogd has taken over the transactional id loghog-0000000000003008-k (process ",
        ],
    );
    second.deliver(&part(mark, 2)).unwrap();

    // He who is told to try again takes the place back, and goes on from there.
    let mark = first.begin(&source).unwrap().unwrap();
    first.deliver(&part(mark, 2)).unwrap();
    assert_eq!(bodies(&broker.read("logs.two")), sent);
}

#[test]
fn progress_behind_the_open_transaction_of_somebody_else_is_waited_for() {
    let broker = shared();
    broker.create_topic("logs.behind", 1, &[]);
    let mut source = Source::new("behind");
    source.log("a", "x");
    let text = format!("brokers = {}\nprogress_topic = busy-progress", broker.address());
    let mut site = Site::new("0000000000004009", &text);
    site.begin(&source).unwrap();

    let other: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("transactional.id", "somebody-else")
        .set("linger.ms", "0")
        .create()
        .unwrap();
    other.init_transactions(Duration::from_secs(30)).unwrap();
    other.begin_transaction().unwrap();
    other.send(BaseRecord::to("busy-progress").partition(0).key("x").payload("{}")).unwrap();
    other.flush(Duration::from_secs(30)).unwrap();

    site.deliver(&source.all()).unwrap();
    let end = source.all().parts[0].end;
    std::thread::scope(|scope| {
        let mut next = Site::new("0000000000004009", &text);
        let source = &source;
        let found = scope.spawn(move || next.begin(source));
        // It has to find the end behind it, so it cannot be through.
        std::thread::sleep(Duration::from_millis(1_500));
        assert!(!found.is_finished());
        other.commit_transaction(Duration::from_secs(30)).unwrap();
        assert_eq!(found.join().unwrap(), Ok(Some(end)));
    });
}

#[test]
fn nobody_listening_is_tried_again() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut source = Source::new("x");
    source.log("a", "x");
    let began = Instant::now();
    let trouble = Site::new("000000000000100a", &format!("brokers = {port}")).trouble(&source);
    assert_later(&trouble, &[&format!("Kafka at {port}: "), "Connection refused"]);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let trouble = Site::new("000000000000100a", "brokers = no-such-host.invalid").trouble(&source);
    assert_later(&trouble, &["Kafka at no-such-host.invalid: ", "resolve"]);
}

#[test]
fn a_wrong_password_and_missing_rights_stop_with_what_to_do() {
    let broker = shared();
    let mut source = Source::new("x");
    source.log("a", "x");
    let text = |user: &str, password: &str, more: &str| {
        format!(
            "brokers = {}\nsasl_mechanism = SCRAM-SHA-256\nsasl_user = {user}\n\
             sasl_password = {password}\n{more}",
            broker.sasl()
        )
    };
    let trouble =
        Site::new("000000000000100b", &text("loghog", "wrong-secret", "")).trouble(&source);
    assert_stop(
        &trouble,
        &["does not take the user \"loghog\" with this password", "sasl_password in [ship:k]"],
    );
    assert!(!trouble.to_string().contains("wrong-secret"), "{trouble}");

    let trouble = Site::new("000000000000100b", &text("stranger", PASSWORD, "")).trouble(&source);
    assert_stop(&trouble, &["does not let the user \"stranger\"", "(kafka-acls)"]);

    let unprotected = format!("brokers = {}", broker.sasl());
    let trouble = Site::new("000000000000100b", &unprotected).trouble(&source);
    assert_later(&trouble, &[&broker.sasl()]);

    let mut right = Site::new("000000000000500b", &text("loghog", PASSWORD, "create_topics = yes"));
    right.begin(&source).unwrap();
    assert_eq!(right.deliver(&source.all()), Ok(vec![]));
}

#[test]
fn a_certificate_of_another_authority_stops_and_the_right_one_is_taken() {
    let (authority, other) = (Authority::new(), Authority::new());
    let broker = Choices::new().tls(&authority).option("ssl.client.auth", "required").start();
    let mut source = Source::new("secret");
    source.log("a", "x");
    let identity = authority.client("loghogd");
    let text = |authority: &Authority, more: &str| {
        format!(
            "brokers = {}\ntls = yes\ncacert = {}\n{more}",
            broker.ssl(),
            authority.certificate().display()
        )
    };
    let pemfile = format!("pemfile = {}", identity.pem().display());
    let trouble = Site::new("000000000000100c", &text(&other, &pemfile)).trouble(&source);
    assert_stop(&trouble, &["was not issued by whom we trust", "by cacert in [ship:k]"]);
    let trouble = Site::new("000000000000100c", &text(&authority, "")).trouble(&source);
    assert_says(&trouble, &[&broker.ssl()]);
    let mut right = Site::new("000000000000100c", &text(&authority, &pemfile));
    let trouble = right.begin(&source);
    // It is known by its certificate now, and that one may do nothing.
    assert_stop(&trouble.unwrap_err(), &["(kafka-acls)"]);
}

#[test]
fn passwords_go_through_tls_and_wrong_ones_stop_with_what_to_do() {
    let authority = Authority::new();
    let broker = Choices::new().tls(&authority).start();
    let mut source = Source::new("through-tls");
    let sent = numbered(&mut source, 3);
    for (mechanism, instance) in
        [("PLAIN", "0000000000001012"), ("SCRAM-SHA-256", "0000000000001013")]
    {
        let text = |password: &str| {
            format!(
                "brokers = {}\ntls = yes\ncacert = {}\nsasl_mechanism = {mechanism}\n\
                 sasl_user = loghog\nsasl_password = {password}",
                broker.sasl_ssl(),
                authority.certificate().display()
            )
        };
        let trouble = Site::new(instance, &text("wrong-secret")).trouble(&source);
        assert_stop(
            &trouble,
            &[
                &format!("Kafka at {} does not take the user \"loghog\"", broker.sasl_ssl()),
                "; check sasl_mechanism, sasl_user and sasl_password in [ship:k]",
            ],
        );
        assert!(!trouble.to_string().contains("wrong-secret"), "{trouble}");
        let mut right = Site::new(instance, &text(PASSWORD));
        right.begin(&source).unwrap();
        assert_eq!(right.deliver(&source.all()), Ok(vec![]));
    }
    assert_eq!(bodies(&broker.read("logs.through-tls")), [&sent[..], &sent[..]].concat());
}

#[test]
fn of_several_brokers_the_first_may_be_down() {
    let broker = shared();
    broker.create_topic("logs.second", 1, &[]);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut source = Source::new("second");
    let sent = numbered(&mut source, 10);
    let text = format!("brokers = {nobody}, {}", broker.address());
    let mut site = Site::new("0000000000001015", &text);
    site.ship(&source);
    assert_eq!(bodies(&broker.read("logs.second")), sent);
}

#[test]
fn a_frozen_broker_does_not_hold_up_the_end() {
    let broker = Kafka::start();
    let mut source = Source::new("frozen");
    let sent = numbered(&mut source, 20);
    let text = format!("brokers = {}", broker.address());
    let mut site = Site::new("000000000000100d", &text);
    site.begin(&source).unwrap();
    site.deliver(&Batch { parts: vec![source.part(Mark::default(), 10)] }).unwrap();
    broker.freeze();
    let surroundings = site.surroundings.clone();
    std::thread::scope(|scope| {
        let source = &source;
        let delivering = scope.spawn(move || {
            let trouble = site.deliver(&source.all());
            (trouble, Instant::now(), drop(site), Instant::now())
        });
        std::thread::sleep(Duration::from_millis(500));
        assert!(!delivering.is_finished());
        let told = Instant::now();
        surroundings.end();
        let (trouble, returned, (), dropped) = delivering.join().unwrap();
        assert_eq!(trouble, Err(Trouble::Ended));
        assert!(returned - told < Duration::from_millis(2_000), "{:?}", returned - told);
        assert!(dropped - told < Duration::from_millis(3_500), "{:?}", dropped - told);
    });
    broker.thaw();
    let mut next = Site::new("000000000000100d", &text);
    let mark = next.begin(&source).unwrap().unwrap();
    next.deliver(&Batch { parts: vec![source.part(mark, 20)] }).unwrap();
    assert_eq!(bodies(&broker.read("logs.frozen")), sent);
}

#[test]
fn answers_that_are_cut_late_or_missing_cost_time_only() {
    let proxy = Proxy::start_calm();
    let broker = Choices::new().proxied_by(proxy.address()).start();
    proxy.lead_to(broker.proxied());
    let mut source = Source::new("bad-way");
    let sent = numbered(&mut source, 300);
    let mut site = Site::new("000000000000100e", &format!("brokers = {}", proxy.address()));
    let mut mark = site.begin(&source).unwrap().unwrap_or_default();
    let mut round = 0_u64;
    while !source.is_through(mark) {
        // From the first byte of an answer to the last of a transaction.
        let trouble = match round % 5 {
            0..=2 => OnTheWay::Cut,
            3 => OnTheWay::Delay(Duration::from_millis(300)),
            _ => OnTheWay::Hole(Duration::from_secs(2)),
        };
        proxy.order(trouble, !round.is_multiple_of(3), round * 37 % 400);
        round += 1;
        let part = source.part(mark, 20);
        let end = part.end;
        match site.deliver(&Batch { parts: vec![part] }) {
            Ok(refused) => {
                assert!(refused.is_empty());
                mark = end;
            }
            Err(Trouble::Later { .. }) => {
                while let Err(trouble) = site.begin(&source).map(|found| {
                    mark = found.unwrap_or_default();
                }) {
                    assert!(matches!(trouble, Trouble::Later { .. }), "{trouble}");
                }
            }
            Err(trouble) => panic!("{trouble}"),
        }
        assert!(round < 200, "it does not get on: {mark:?}");
    }
    assert!(proxy.troubles().total() > 3, "{:?}", proxy.troubles());
    assert_eq!(bodies(&broker.read("logs.bad-way")), sent);
}

#[test]
fn a_broker_that_is_killed_and_started_again_has_each_record_once() {
    let mut broker = Kafka::start();
    let mut source = Source::new("killed");
    let sent = numbered(&mut source, 3_000);
    let mut site = Site::new("000000000000100f", &format!("brokers = {}", broker.address()));
    let mut mark = site.begin(&source).unwrap().unwrap_or_default();
    for round in 0..3_u64 {
        let until = source.part(mark, 1_000).end;
        std::thread::scope(|scope| {
            let (site, source) = (&mut site, &source);
            let sending = scope.spawn(move || {
                let mut mark = mark;
                while mark != until && !source.is_through(mark) {
                    let part = source.part(mark, 7);
                    let end = part.end;
                    match site.deliver(&Batch { parts: vec![part] }) {
                        Ok(_) => mark = end,
                        Err(trouble) => {
                            assert_later(&trouble, &[]);
                            while let Err(trouble) = site.begin(source).map(|found| {
                                mark = found.unwrap_or_default();
                            }) {
                                assert_later(&trouble, &[]);
                            }
                        }
                    }
                }
                mark
            });
            std::thread::sleep(Duration::from_millis(300 + 170 * round));
            broker.kill();
            broker.start_again();
            mark = sending.join().unwrap();
        });
    }
    while !source.is_through(mark) {
        let part = source.part(mark, 500);
        let end = part.end;
        site.deliver(&Batch { parts: vec![part] }).unwrap();
        mark = end;
    }
    assert_eq!(bodies(&broker.read("logs.killed")), sent);
}
