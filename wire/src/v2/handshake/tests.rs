//! What the handshake promises.

use proptest::prelude::*;

use super::*;

fn hello() -> Hello<'static> {
    Hello {
        client_id: ClientId([1; 16]),
        nonce: [2; 32],
        app: "shop",
        host: "web01",
        module: "",
        first_held: 5,
        next_number: 9,
    }
}

fn challenge() -> Challenge {
    Challenge {
        nonce: [3; 32],
        needs_proof: true,
        frame_bytes_max: 1 << 20,
        records_max: BATCH_RECORDS_MAX,
        compressions: Compressions::ALL,
    }
}

fn transcript(hello: &Hello<'_>, challenge: &Challenge) -> Transcript {
    Transcript::new(&hello.encode().unwrap(), &challenge.encode())
}

#[test]
fn both_sides_prove_the_secret() {
    let (secret, transcript) = (Secret::new(b"secret"), transcript(&hello(), &challenge()));
    assert!(secret.verify_proof(&transcript, &secret.prove(&transcript)));
    let welcome = Welcome { durable: 4, taken: 7 };
    let payload = welcome.encode(Some((&secret, &transcript)));
    assert_eq!(Welcome::decode(&payload, Some((&secret, &transcript))), Ok(welcome));
}

#[test]
fn another_secret_another_session_and_the_other_side_prove_nothing() {
    let (secret, transcript_here) = (Secret::new(b"secret"), transcript(&hello(), &challenge()));
    let other = Secret::new(b"other");
    let proof = secret.prove(&transcript_here);
    assert!(!other.verify_proof(&transcript_here, &proof));
    for changed in [
        transcript(&Hello { nonce: [9; 32], ..hello() }, &challenge()),
        transcript(&Hello { app: "shopp", ..hello() }, &challenge()),
        transcript(&Hello { module: "m", ..hello() }, &challenge()),
        transcript(&Hello { first_held: 6, ..hello() }, &challenge()),
        transcript(&hello(), &Challenge { nonce: [9; 32], ..challenge() }),
        transcript(&hello(), &Challenge { compressions: Compressions::NONE, ..challenge() }),
    ] {
        assert!(!secret.verify_proof(&changed, &proof));
    }
    let welcome = Welcome { durable: 4, taken: 7 }.encode(Some((&secret, &transcript_here)));
    let server_proof = welcome.last_chunk::<TAG_BYTES>().unwrap();
    assert!(!secret.verify_proof(&transcript_here, server_proof), "mirrored");
    for wrong in [&proof[..31], &[], &[proof, proof].concat()] {
        assert!(!secret.verify_proof(&transcript_here, wrong));
    }
}

#[test]
fn nobody_on_the_way_can_say_that_messages_are_safe() {
    let (secret, transcript) = (Secret::new(b"secret"), transcript(&hello(), &challenge()));
    let proven = Some((&secret, &transcript));
    let payload = Welcome { durable: 4, taken: 7 }.encode(proven);
    for bit in 0..payload.len() * 8 {
        let mut changed = payload.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Welcome::decode(&changed, proven), Err(HandshakeError::Proof), "bit {bit}");
    }
    let unproven = Welcome { durable: 4, taken: 7 }.encode(None);
    assert_eq!(Welcome::decode(&unproven, proven), Err(HandshakeError::Proof));
    // Who has no secret does not take a proof for numbers either.
    assert!(matches!(Welcome::decode(&payload, None), Err(HandshakeError::Codec(_))));
}

#[test]
fn a_hello_that_cannot_be_meant_is_refused_by_name() {
    let refused = |hello: Hello<'_>| hello.encode().unwrap_err();
    assert_eq!(refused(Hello { app: "", ..hello() }), HandshakeError::NoApp);
    let long = "l".repeat(NAME_BYTES_MAX + 1);
    let error = HandshakeError::NameTooLong { name: "the host", bytes: long.len() };
    assert_eq!(refused(Hello { host: &long, ..hello() }), error);
    for (first, second) in [(5, 5), (0, 0), (6, 5), (1, NUMBER_MAX + 2)] {
        let error = HandshakeError::Numbers { first, second };
        assert_eq!(refused(Hello { first_held: first, next_number: second, ..hello() }), error);
    }
    let payload = hello().encode().unwrap();
    let last = payload.len() - 1;
    let mut flags = payload.clone();
    flags[last] = 1;
    assert_eq!(Hello::decode(&flags), Err(HandshakeError::UnknownSessionFlags { flags: 1 }));
    let longer = [&payload[..], &[0]].concat();
    assert_eq!(Hello::decode(&longer), Err(CodecError::Trailing { bytes: 1 }.into()));
    assert_eq!(Hello::decode(&payload[1..]), Err(HandshakeError::NoMagic));
    assert_eq!(Hello::decode(b"LogHog2"), Err(HandshakeError::NoMagic));
    assert_eq!(Hello::decode(&payload[..last]), Err(CodecError::Truncated.into()));
}

#[test]
fn what_the_client_no_longer_holds_is_settled() {
    let settled = |first_held, next_number| Hello { first_held, next_number, ..hello() }.settled();
    assert_eq!((settled(0, 1), settled(0, 9), settled(1, 9), settled(5, 9)), (0, 8, 0, 4));
}

#[test]
fn limits_that_no_session_can_work_with_are_refused() {
    let read = |challenge: Challenge| Challenge::decode(&challenge.encode());
    let limit = |name, value| Err(HandshakeError::Limit { name, value });
    assert_eq!(
        read(Challenge { frame_bytes_max: 4095, ..challenge() }),
        limit("frame_bytes_max", 4095)
    );
    assert_eq!(read(Challenge { records_max: 0, ..challenge() }), limit("records_max", 0));
    let records_max = BATCH_RECORDS_MAX + 1;
    assert_eq!(read(Challenge { records_max, ..challenge() }), limit("records_max", 16_385));
    let mut payload = challenge().encode();
    payload[NONCE_BYTES] = 2;
    assert_eq!(Challenge::decode(&payload), Err(HandshakeError::NotBoolean));
}

#[test]
fn a_server_that_knows_more_than_the_client_has_numbered_is_noticed() {
    let welcome = Welcome { durable: 4, taken: 7 };
    assert!(welcome.knows_more(7) && !welcome.knows_more(8));
}

#[test]
fn a_welcome_whose_numbers_cannot_be_is_refused() {
    for (durable, taken) in [(2, 1), (0, NUMBER_MAX + 1)] {
        let payload = Welcome { durable, taken }.encode(None);
        let error = HandshakeError::Numbers { first: durable, second: taken };
        assert_eq!(Welcome::decode(&payload, None), Err(error));
    }
}

proptest! {
    #[test]
    fn what_was_said_comes_back(
        id in any::<[u8; 16]>(), nonce in any::<[u8; 32]>(),
        (app, host, module) in (".{1,60}", ".{0,60}", ".{0,60}"),
        numbers in (0..NUMBER_MAX, 0..NUMBER_MAX),
        (needs_proof, frame_bytes_max, records_max) in
            (any::<bool>(), FRAME_BYTES_MAX_LEAST.., 1..=BATCH_RECORDS_MAX),
        compressions in any::<u64>(),
    ) {
        let (first_held, next_number) = (numbers.0.min(numbers.1), numbers.0.max(numbers.1) + 1);
        let client_id = ClientId(id);
        let (app, host, module) = (app.as_str(), host.as_str(), module.as_str());
        let hello = Hello { client_id, nonce, app, host, module, first_held, next_number };
        let payload = hello.encode().unwrap();
        prop_assert_eq!(Hello::decode(&payload), Ok(hello));
        let compressions = Compressions::from_bits(compressions);
        let challenge = Challenge { nonce, needs_proof, frame_bytes_max, records_max, compressions };
        prop_assert_eq!(Challenge::decode(&challenge.encode()), Ok(challenge));
        let welcome = Welcome { durable: first_held, taken: next_number };
        prop_assert_eq!(Welcome::decode(&welcome.encode(None), None), Ok(welcome));
    }

    #[test]
    fn arbitrary_bytes_end_in_a_value(bytes in prop::collection::vec(any::<u8>(), 0..150)) {
        let hello = [&MAGIC[..], &bytes].concat();
        if let Ok(read) = Hello::decode(&hello) {
            prop_assert_eq!(read.encode().unwrap(), hello);
        }
        if let Ok(read) = Welcome::decode(&bytes, None) {
            prop_assert_eq!(read.encode(None), &bytes[..]);
        }
        let _ = Challenge::decode(&bytes);
    }
}
