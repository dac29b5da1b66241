//! Who sits on the way, has no secret, or sends nonsense in the second
//! protocol gets nothing into a file, is counted, and harms nobody beside him.

use std::io::Write as _;
use std::net::TcpStream;

use loghog_tests::frames::deflated;
use loghog_tests::session::{
    Ended, Frames, Session, Who, batch, connect, greet, plain, raw, record,
};
use loghog_tests::{DEADLINE, Daemon, Scenario, wait_until};
use wire::v2::compress::{Compression, Compressor};
use wire::v2::frame::{Head, Type};
use wire::v2::report::{Code, Farewell};

/// The promise, in bytes.
const RSS_BYTES_MAX: u64 = 64 << 20;

const SECRETS: &str = "[a]\nrotate = daily\nbackup_count = 9\nsecret = known-to-a\n\
                       [b]\nrotate = daily\nbackup_count = 9\nsecret = known-to-b\n\
                       [open]\nrotate = daily\nbackup_count = 9\n";

/// A client beside all that goes on: it is served, and it is never cut off.
struct Beside {
    session: Session<TcpStream>,
    messages: u64,
}

impl Beside {
    fn greet(daemon: &Daemon, who: &Who) -> Beside {
        Beside { session: greet(daemon.tcp(), who).unwrap(), messages: 0 }
    }

    #[track_caller]
    fn go_on(&mut self) {
        self.messages += 1;
        self.session.send(self.messages, "beside", &["honest"]).unwrap();
        self.session.wait_for_ack(self.messages);
    }
}

/// Everything in a file is what [`Beside`] has said.
#[track_caller]
fn assert_nothing_else(daemon: &Daemon, file: &str, beside: &Beside) {
    let expected = vec![" - h - honest"; usize::try_from(beside.messages).unwrap()];
    assert_eq!(daemon.records(file), expected);
}

/// A session that has said one thing, which was taken, as the beginning of a
/// conversation that somebody on the way listens to.
fn overheard(daemon: &Daemon, id: u8) -> (Who, Session<TcpStream>) {
    let who = Who::new(id, "a").secret("known-to-a");
    (who.clone(), greet(daemon.tcp(), &who).unwrap())
}

#[test]
fn frames_that_somebody_alters_repeats_reorders_or_cuts_out_end_the_connection_unheard() {
    let daemon = Scenario::new().facilities(SECRETS).start();
    let mut beside = Beside::greet(&daemon, &Who::new(99, "a").secret("known-to-a"));
    let say = |session: &mut Session<TcpStream>, number: u64| {
        session.frame(Head::plain(Type::Batch), &batch(number, &[record("", "FORGED")]))
    };
    /// What arrives of three frames.
    type Tamper = fn([Vec<u8>; 3]) -> Vec<u8>;
    // The first of them is a REPORT, which passes and leaves no line.
    let tampers: [(&str, Tamper); 9] = [
        ("a bit of the text", |[one, mut two, _]| {
            let at = two.len() - 40;
            two[at] ^= 1;
            [one, two].concat()
        }),
        ("a bit of the MAC", |[one, mut two, _]| {
            *two.last_mut().unwrap() ^= 0x80;
            [one, two].concat()
        }),
        ("the type", |[one, mut two, _]| {
            two[5] = Type::Report as u8;
            [one, two].concat()
        }),
        ("the compression", |[one, mut two, _]| {
            two[7] = Compression::Zlib as u8;
            [one, two].concat()
        }),
        ("one byte less", |[one, mut two, _]| {
            two[3] -= 1;
            two.pop();
            [one, two].concat()
        }),
        ("no MAC at all", |[one, mut two, _]| {
            two[3] -= 32;
            two.truncate(two.len() - 32);
            [one, two].concat()
        }),
        ("repeated", |[one, _, _]| [one.clone(), one].concat()),
        ("reordered", |[one, two, three]| [one, three, two].concat()),
        ("cut out", |[one, _, three]| [one, three].concat()),
    ];
    for (count, (what, tamper)) in (1..).zip(tampers) {
        let (who, mut session) = overheard(&daemon, count);
        let report = [1, 1, 1];
        let one = session.frame(Head::plain(Type::Report), &report);
        let frames = [one, say(&mut session, 1), say(&mut session, 2)];
        session.put(&tamper(frames)).unwrap();
        assert_eq!(session.wait_for_end(), None, "{what}: closed without a word");
        daemon.wait_for_count("session_forged", u64::from(count));
        beside.go_on();
        // It has not moved the client's numbers either.
        let session = greet(daemon.tcp(), &who).unwrap();
        assert_eq!((session.welcome.durable, session.welcome.taken), (0, 0), "{what}");
    }
    assert_nothing_else(&daemon, "a/root.log", &beside);
    assert_eq!(daemon.stop().stats()["session_forged"], 9);
}

#[test]
fn a_whole_conversation_that_is_played_again_gets_nowhere() {
    let daemon = Scenario::new().facilities(SECRETS).start();
    let mut tape = Tape { stream: connect(daemon.tcp()), written: Vec::new() };
    let who = Who::new(1, "a").secret("known-to-a");
    let mut session = Session::greet(&mut tape, &who).unwrap();
    session.send(1, "", &["once"]).unwrap();
    session.wait_for_ack(1);
    drop(session);
    let Tape { written, stream } = tape;
    drop(stream);
    let mut again = connect(daemon.tcp());
    again.write_all(&written).unwrap();
    let mut frames = Frames::default();
    let (challenge, _) = frames.next(&mut again).unwrap();
    assert_eq!(Head::from_flags(challenge), Ok(Head::plain(Type::Challenge)));
    assert_eq!(farewell(&mut frames, &mut again), Some(Code::WrongProof));
    let stopped = daemon.stop();
    assert_eq!(stopped.site.records("a/root.log"), [" - h - once"]);
    assert_eq!(stopped.stats()["signature_bad"], 1);
}

#[test]
fn both_sides_have_to_know_the_secret() {
    let daemon = Scenario::new().facilities(SECRETS).start();
    let mut beside = Beside::greet(&daemon, &Who::new(1, "a").secret("known-to-a"));
    beside.go_on();
    // Wrong, another application's, nearly right, empty.
    for (count, secret) in (1..).zip(["wrong", "known-to-b", "known-to-a ", "known-to-A", ""]) {
        let refused = greet(daemon.tcp(), &Who::new(2, "a").secret(secret)).unwrap_err();
        assert!(matches!(refused, Ended::Farewell(Code::WrongProof, _)), "{secret}: {refused:?}");
        assert_eq!(daemon.stats()["signature_bad"], count);
    }
    let refused = greet(daemon.tcp(), &Who::new(2, "a")).unwrap_err();
    assert_eq!(refused, Ended::Proof { needed: true });
    let refused = greet(daemon.tcp(), &Who::new(2, "open").secret("known-to-a")).unwrap_err();
    assert_eq!(refused, Ended::Proof { needed: false });

    // Who says something else instead of the proof.
    let hello = Who::new(2, "a").hello();
    let instead = [
        plain(Type::Batch, &batch(1, &[record("", "FORGED")])),
        plain(Type::Hello, &hello),
        plain(Type::Proof, b"short"),
        raw(0, b"{}"),
    ];
    for bytes in instead {
        let mut stream = connect(daemon.tcp());
        stream.write_all(&[plain(Type::Hello, &hello), bytes].concat()).unwrap();
        let mut frames = Frames::default();
        frames.next(&mut stream).unwrap();
        let code = farewell(&mut frames, &mut stream);
        assert!(matches!(code, Some(Code::Malformed | Code::WrongProof)), "{code:?}");
        beside.go_on();
    }
    assert_nothing_else(&daemon, "a/root.log", &beside);
    let said = daemon.said();
    for secret in ["known-to-a", "known-to-b"] {
        assert!(!said.contains(secret), "the own log tells a secret");
    }
    let stats = daemon.stop().stats();
    assert_eq!((stats["signature_bad"], stats["session_malformed"]), (6, 3));
}

#[test]
fn an_id_is_worth_nothing_without_the_secret_and_nothing_in_another_application() {
    let daemon = Scenario::new().facilities(SECRETS).start();
    let mut owner = Beside::greet(&daemon, &Who::new(1, "a").secret("known-to-a"));
    owner.go_on();
    owner.go_on();
    // It would evict the owner, and would make the server skip his messages.
    let far = u64::MAX >> 2;
    for secret in ["wrong", "known-to-b"] {
        let thief = Who::new(1, "a").secret(secret).holding(0, far);
        let refused = greet(daemon.tcp(), &thief).unwrap_err();
        assert!(matches!(refused, Ended::Farewell(Code::WrongProof, _)), "{refused:?}");
        owner.go_on();
    }
    let nothing = greet(daemon.tcp(), &Who::new(1, "a").holding(0, far)).unwrap_err();
    assert_eq!(nothing, Ended::Proof { needed: true });
    owner.go_on();
    for neighbour in [Who::new(1, "b").secret("known-to-b"), Who::new(1, "open")] {
        let mut session = greet(daemon.tcp(), &neighbour).unwrap();
        assert_eq!((session.welcome.durable, session.welcome.taken), (0, 0));
        // The application of a session is the one that was proven.
        session.send(1, "a", &["mine"]).unwrap();
        session.wait_for_ack(1);
        owner.go_on();
    }
    assert_nothing_else(&daemon, "a/root.log", &owner);
    assert_eq!(daemon.records("b/root.log"), [" - h - mine"]);
    assert_eq!(daemon.records("open/root.log"), [" - h - mine"]);
}

#[test]
fn batches_that_inflate_to_more_than_allowed_end_the_connection_and_take_no_memory() {
    let daemon = Scenario::new().facilities(SECRETS).start();
    let mut beside = Beside::greet(&daemon, &Who::new(99, "open"));
    let zeros = vec![0; 64 << 20];
    let mut bombs: Vec<(Compression, Vec<u8>)> =
        vec![(Compression::Zlib, deflated(&zeros)), (Compression::Zstd, zstd_liar())];
    let mut zstd = Vec::new();
    Compressor::new().compress(Compression::Zstd, &zeros, &mut zstd).unwrap();
    bombs.push((Compression::Zstd, zstd));
    for (compression, bomb) in bombs {
        for id in 1..=20 {
            let mut session = greet(daemon.tcp(), &Who::new(id, "open")).unwrap();
            session.say_with(Head { kind: Type::Batch, compression }, &bomb).unwrap();
            assert_eq!(session.wait_for_end(), Some(Code::Malformed), "{compression:?}");
        }
        beside.go_on();
    }
    let peak = daemon.rss_bytes_peak();
    assert!(peak < RSS_BYTES_MAX, "the daemon took {} KiB", peak >> 10);
    assert_nothing_else(&daemon, "open/root.log", &beside);
    let stats = daemon.stop().stats();
    assert_eq!(stats["zlib_invalid"] + stats["zlib_too_long"], 60);
}

#[test]
fn whatever_an_open_session_must_not_say_ends_it_and_is_counted() {
    let batch_flags = |rest: u32| 0x0205_0000 | rest;
    let sound = batch(1, &[record("", "FORGED")]);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut payload = sound.clone();
        change(&mut payload);
        payload
    };
    let cases: Vec<(&str, u32, Vec<u8>)> = vec![
        ("an unknown type", 0x020a_0000, vec![]),
        ("type 0", 0x0200_0000, vec![]),
        ("another protocol", 0x0305_0000, sound.clone()),
        ("a message of v1", 0, b"{}".to_vec()),
        ("spare flags", batch_flags(0x0100), sound.clone()),
        ("an unknown compression", batch_flags(3), sound.clone()),
        ("no zlib stream", batch_flags(1), sound.clone()),
        ("no zstd frame", batch_flags(2), sound.clone()),
        ("a compressed REPORT", 0x0207_0001, deflated(&[1, 1, 1])),
        ("another HELLO", 0x0201_0000, Who::new(1, "open").hello()),
        ("a CHALLENGE", 0x0202_0000, vec![0; 40]),
        ("a PROOF", 0x0203_0000, vec![0; 32]),
        ("a WELCOME", 0x0204_0000, vec![0, 0]),
        ("an ACK", 0x0206_0000, vec![1]),
        ("a REFUSED", 0x0209_0000, vec![1, 1, 1, 0]),
        ("an empty batch", batch_flags(0), vec![]),
        ("no records", batch_flags(0), vec![1, 0, 0]),
        ("number 0", batch_flags(0), with(&|payload| payload[0] = 0)),
        ("too many records", batch_flags(0), vec![1, 0x81, 0x80, 1, 0]),
        ("records that are not there", batch_flags(0), with(&|payload| payload[1] = 2)),
        ("a long form of 1", batch_flags(0), [&[0x81, 0][..], &sound[1..]].concat()),
        ("half a record", batch_flags(0), with(&|payload| payload.truncate(sound.len() / 2))),
        ("bytes behind", batch_flags(0), with(&|payload| payload.push(0))),
        ("no UTF-8", batch_flags(0), {
            let at = sound.windows(6).position(|bytes| bytes == b"FORGED").unwrap();
            with(&|payload| payload[at] = 0xff)
        }),
        ("an empty REPORT", 0x0207_0000, vec![0]),
        ("a REPORT of no message", 0x0207_0000, vec![1, 1, 0]),
        ("half a FAREWELL", 0x0208_0000, vec![1]),
    ];
    let daemon = Scenario::new().facilities(SECRETS).start();
    let mut beside = Beside::greet(&daemon, &Who::new(99, "open"));
    for (count, (what, flags, payload)) in (1..).zip(cases) {
        let mut session = greet(daemon.tcp(), &Who::new(1, "open")).unwrap();
        session.put(&raw(flags, &payload)).unwrap();
        assert_eq!(session.wait_for_end(), Some(Code::Malformed), "{what}");
        let stats = daemon.stats();
        let counted = stats["session_malformed"] + stats["zlib_invalid"] + stats["frame_too_long"];
        assert_eq!(counted, count, "{what}");
        beside.go_on();
    }
    // A frame that is announced longer than allowed ends it at the header.
    let mut session = greet(daemon.tcp(), &Who::new(1, "open")).unwrap();
    let bytes = session.challenge.frame_bytes_max + 1;
    session.put(&[&bytes.to_be_bytes()[..], &[2, 5, 0, 0]].concat()).unwrap();
    assert_eq!(session.wait_for_end(), Some(Code::Malformed));
    assert_eq!(daemon.stats()["frame_too_long"], 1);
    beside.go_on();
    let forged: Vec<String> = daemon.records("open/root.log");
    let forged = forged.iter().filter(|record| record.contains("FORGED")).count();
    // Records in front of what is malformed may have been taken.
    assert!(forged <= 2, "{forged} records of malformed batches are there");
}

#[test]
fn hellos_that_make_no_sense_end_the_connection_and_are_counted() {
    let sound = Who::new(1, "open").hello();
    let end = sound.len();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut payload = sound.clone();
        change(&mut payload);
        payload
    };
    // Behind magic, id and nonce: 4 "open" | 1 "h" | 0 "" | held | next | flags.
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("only the magic", plain(Type::Hello, &sound[..8])),
        ("cut short", plain(Type::Hello, &sound[..end - 1])),
        ("bytes behind", plain(Type::Hello, &with(&|hello| hello.push(0)))),
        ("session flags", plain(Type::Hello, &with(&|hello| hello[end - 1] = 1))),
        ("next number 0", plain(Type::Hello, &with(&|hello| hello[end - 2] = 0))),
        ("holds what it has not", plain(Type::Hello, &with(&|hello| hello[end - 3] = 9))),
        ("no UTF-8", plain(Type::Hello, &with(&|hello| hello[57] = 0xff))),
        ("a BATCH first", plain(Type::Batch, &sound)),
        ("compressed", raw(0x0201_0001, &sound)),
        ("an endless one", plain(Type::Hello, &with(&|hello| hello.resize(4097, 0)))),
    ];
    let daemon = Scenario::new().facilities(SECRETS).start();
    let mut beside = Beside::greet(&daemon, &Who::new(99, "open"));
    for (count, (what, bytes)) in (1..).zip(cases) {
        let mut stream = connect(daemon.tcp());
        stream.write_all(&bytes).unwrap();
        assert_eq!(farewell(&mut Frames::default(), &mut stream), Some(Code::Malformed), "{what}");
        let stats = daemon.stats();
        assert_eq!(stats["session_malformed"] + stats["frame_too_long"], count, "{what}");
        beside.go_on();
    }
    assert_nothing_else(&daemon, "open/root.log", &beside);
}

#[test]
fn a_session_that_comes_byte_by_byte_is_understood_and_one_that_is_cut_off_is_forgotten() {
    let daemon = Scenario::new().facilities(SECRETS).start();
    let payload = batch(1, &[record("", "slowly")]);
    let mut session = greet(daemon.tcp(), &Who::new(1, "a").secret("known-to-a")).unwrap();
    let frame = session.frame(Head::plain(Type::Batch), &payload);
    for byte in frame {
        session.put(&[byte]).unwrap();
    }
    session.wait_for_ack(1);
    let hello = plain(Type::Hello, &Who::new(2, "a").hello());
    for length in 0..hello.len() {
        let mut stream = connect(daemon.tcp());
        stream.write_all(&hello[..length]).unwrap();
    }
    let mut session = greet(daemon.tcp(), &Who::new(3, "a").secret("known-to-a")).unwrap();
    let frame = session.frame(Head::plain(Type::Batch), &payload);
    session.put(&frame[..frame.len() - 1]).unwrap();
    drop(session);
    let session = greet(daemon.tcp(), &Who::new(3, "a").secret("known-to-a")).unwrap();
    assert_eq!((session.welcome.durable, session.welcome.taken), (0, 0));
    assert_eq!(daemon.records("a/root.log"), [" - h - slowly"]);
    drop(session);
    wait_until(DEADLINE, "all descriptors are given back", || {
        let sockets = loghog_tests::process::descriptors(daemon.pid());
        (sockets < 50).then_some(())
    });
}

/// A connection that remembers what was written to it.
struct Tape {
    stream: TcpStream,
    written: Vec<u8>,
}

impl std::io::Read for Tape {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl std::io::Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.stream.write(bytes)?;
        self.written.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

/// The server's farewell, if that is what it says before it closes.
#[track_caller]
fn farewell(frames: &mut Frames, stream: &mut TcpStream) -> Option<Code> {
    let (flags, payload) = match frames.next(stream) {
        Ok(frame) => frame,
        Err(Ended::Gone) => return None,
        Err(other) => panic!("the server does not end it: {other:?}"),
    };
    assert_eq!(Head::from_flags(flags), Ok(Head::plain(Type::Farewell)));
    Some(Farewell::decode(&payload).unwrap().code)
}

/// A zstd frame (RFC 8878) that says that it holds 1000 bytes, and holds
/// thousands of blocks of 128 KiB.
fn zstd_liar() -> Vec<u8> {
    const BLOCKS: usize = 4_000;
    // Magic; single segment, size of content in 4 bytes; that size.
    let mut frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0xa0][..], &1000_u32.to_le_bytes()].concat();
    for block in 1..=BLOCKS {
        let last = u32::from(block == BLOCKS);
        let header: u32 = last | 1 << 1 | (128 << 10) << 3;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(b' ');
    }
    frame
}
