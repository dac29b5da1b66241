//! What batches promise, tried on records and bytes of every kind.

use proptest::prelude::*;

use super::*;
use crate::v2::CodecError;
use crate::v2::codec::{put_integer, put_signed, put_string};
use crate::v2::limits::*;

/// A record that owns its strings.
#[derive(Clone, Debug)]
struct Owned {
    time_ns: i64,
    level: u8,
    logger: String,
    thread: String,
    process_id: u32,
    body: String,
    exception_at: Option<usize>,
    fields: Vec<(String, OwnedValue)>,
}

#[derive(Clone, Debug)]
enum OwnedValue {
    Plain(Value<'static>),
    Text(String),
    Json(String),
}

impl Owned {
    fn fields(&self) -> Vec<Field<'_>> {
        self.fields.iter().map(|(key, of)| Field { key, value: of.value() }).collect()
    }

    fn record<'a>(&'a self, fields: &'a [Field<'a>]) -> Record<'a> {
        Record {
            time_ns: self.time_ns,
            level: self.level,
            logger: &self.logger,
            thread: &self.thread,
            process_id: self.process_id,
            body: &self.body,
            exception_at: self.exception_at,
            fields,
        }
    }
}

impl OwnedValue {
    fn value(&self) -> Value<'_> {
        match self {
            OwnedValue::Plain(value) => *value,
            OwnedValue::Text(text) => Value::Text(text),
            OwnedValue::Json(text) => Value::Json(text),
        }
    }
}

fn any_record() -> impl Strategy<Value = Owned> {
    let few = prop_oneof!["[a-c]{0,2}", ".{0,12}", "x{120,140}"];
    let value = prop_oneof![
        Just(OwnedValue::Plain(Value::Null)),
        any::<bool>().prop_map(|yes| OwnedValue::Plain(Value::Bool(yes))),
        any::<i64>().prop_map(|int| OwnedValue::Plain(Value::Int(int))),
        any::<f64>().prop_map(|float| OwnedValue::Plain(Value::Float(float))),
        ".{0,20}".prop_map(OwnedValue::Text),
        prop_oneof![Just("[1, {}]"), Just("{\"a\": null}"), Just("123456789012345678901")]
            .prop_map(|text| OwnedValue::Json(text.to_owned())),
    ];
    let fields = prop::collection::vec((few.clone(), value), 0..6);
    let body = (".{0,60}", any::<Option<prop::sample::Index>>());
    (any::<i64>(), any::<u8>(), few.clone(), few, any::<u32>(), body, fields).prop_map(
        |(time_ns, level, logger, thread, process_id, (body, at), fields)| {
            let at = at.map(|at| at.index(body.len() + 1));
            let exception_at = at.filter(|&at| body.is_char_boundary(at));
            Owned { time_ns, level, logger, thread, process_id, body, exception_at, fields }
        },
    )
}

/// Equal, where NaN equals itself.
fn same(one: &Record<'_>, other: &Record<'_>) -> bool {
    let value = |one: Value<'_>, other: Value<'_>| match (one, other) {
        (Value::Float(one), Value::Float(other)) => one.to_bits() == other.to_bits(),
        (one, other) => one == other,
    };
    let fields = one.fields.len() == other.fields.len()
        && one
            .fields
            .iter()
            .zip(other.fields)
            .all(|(one, other)| one.key == other.key && value(one.value, other.value));
    fields && Record { fields: &[], ..*one } == Record { fields: &[], ..*other }
}

fn read_all(payload: &[u8]) -> Result<u64, BatchError> {
    let mut reader = BatchReader::new(payload, BATCH_RECORDS_MAX)?;
    let mut records = 0;
    while let Some((_, record)) = reader.next_record()? {
        assert!(record.exception_at.is_none_or(|at| record.body.is_char_boundary(at)));
        assert!(record.fields.len() <= FIELDS_MAX);
        records += 1;
    }
    Ok(records)
}

proptest! {
    #[test]
    fn records_come_back_as_they_went_in_with_their_numbers(
        records in prop::collection::vec(any_record(), 1..12),
        first in 1..=NUMBER_MAX - 100,
    ) {
        let mut writer = BatchWriter::new(1 << 20, 100);
        // What another batch has left behind must not matter.
        writer.push(&Record { logger: "before", ..Record::default() }).unwrap();
        writer.start(first);
        for record in &records {
            writer.push(&record.record(&record.fields())).unwrap();
        }
        let bytes = writer.payload_bytes();
        let payload = writer.payload();
        prop_assert_eq!(payload.len(), bytes);
        let mut reader = BatchReader::new(payload, 100).unwrap();
        for (number, expected) in (first..).zip(&records) {
            prop_assert_eq!(reader.next_number(), number);
            let (read, record) = reader.next_record().unwrap().unwrap();
            prop_assert_eq!(read, number);
            let fields = expected.fields();
            prop_assert!(same(&record, &expected.record(&fields)), "{:?} {:?}", record, expected);
        }
        prop_assert!(reader.next_record().unwrap().is_none());
        prop_assert_eq!(reader.next_number(), first + records.len() as u64);
    }

    #[test]
    fn a_full_batch_is_within_its_limit_and_still_whole(
        records in prop::collection::vec(any_record(), 1..30),
        bytes_max in 40_u32..700,
        records_max in 1_u32..10,
    ) {
        let mut writer = BatchWriter::new(bytes_max, records_max);
        writer.start(7);
        let mut taken = 0;
        for record in &records {
            let before = writer.payload().to_vec();
            match writer.push(&record.record(&record.fields())) {
                Ok(()) => taken += 1,
                Err(PushError::Full) => {
                    prop_assert!(!writer.is_empty());
                    prop_assert_eq!(writer.payload(), before, "a refused record leaves no trace");
                }
                Err(PushError::NeverFits { .. }) => prop_assert_eq!(writer.payload(), before),
                Err(other) => prop_assert!(false, "{}", other),
            }
            prop_assert!(writer.is_empty() || writer.payload_bytes() <= bytes_max as usize);
        }
        prop_assert_eq!(u64::from(writer.records()), taken);
        if taken > 0 {
            prop_assert_eq!(read_all(writer.payload()), Ok(taken));
        }
    }

    #[test]
    fn arbitrary_bytes_end_in_a_value(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_all(&payload);
    }

    #[test]
    fn a_changed_byte_ends_in_a_value(
        records in prop::collection::vec(any_record(), 1..5),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut writer = BatchWriter::new(1 << 20, 100);
        for record in &records {
            writer.push(&record.record(&record.fields())).unwrap();
        }
        let mut payload = writer.payload().to_vec();
        let place = place.index(payload.len());
        payload[place] = byte;
        let _ = read_all(&payload);
    }

    #[test]
    fn a_batch_that_is_cut_off_is_refused(
        records in prop::collection::vec(any_record(), 1..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut writer = BatchWriter::new(1 << 20, 100);
        for record in &records {
            writer.push(&record.record(&record.fields())).unwrap();
        }
        let payload = writer.payload();
        let cut = cut.index(payload.len());
        prop_assert!(read_all(&payload[..cut]).is_err());
    }
}

/// The head of a batch whose records a test writes itself.
fn head(first: u64, records: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_integer(&mut out, first);
    put_integer(&mut out, records);
    put_signed(&mut out, 0);
    out
}

/// A record up to its body.
fn start_of_record(out: &mut Vec<u8>, logger: &[u8]) {
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(logger);
    out.extend_from_slice(&[0, 0, 0]);
}

#[test]
fn announced_records_take_no_memory_and_too_many_are_refused() {
    let records = u64::from(BATCH_RECORDS_MAX) + 1;
    let records_max = BATCH_RECORDS_MAX;
    let refused = BatchError::TooManyRecords { records, records_max };
    assert_eq!(read_all(&head(1, records)), Err(refused));
    assert_eq!(read_all(&head(1, 0)), Err(BatchError::Empty));
    assert_eq!(read_all(&head(1, records - 1)), Err(CodecError::Truncated.into()));
}

#[test]
fn numbers_end_where_signed_integers_do() {
    for (first, records) in [(0, 1), (NUMBER_MAX, 2), (NUMBER_MAX + 1, 1), (u64::MAX, 16_000)] {
        let refused = Err(BatchError::Numbers { first, records });
        assert_eq!(read_all(&head(first, records)), refused);
    }
    let mut writer = BatchWriter::new(1000, 10);
    writer.start(NUMBER_MAX);
    writer.push(&Record::default()).unwrap();
    let number = NUMBER_MAX + 1;
    assert_eq!(writer.push(&Record::default()), Err(PushError::Number { number }));
    assert_eq!(read_all(writer.payload()), Ok(1));
}

#[test]
fn an_index_needs_its_string_and_a_string_its_utf8() {
    let mut payload = head(1, 1);
    start_of_record(&mut payload, &[1]);
    assert_eq!(read_all(&payload), Err(BatchError::UnknownString { index: 1, strings: 0 }));
    let mut payload = head(1, 1);
    start_of_record(&mut payload, &[0, 1, 0xff]);
    assert_eq!(read_all(&payload), Err(CodecError::NotUtf8.into()));
}

#[test]
fn only_so_many_strings_have_an_index_and_long_ones_never() {
    let mut writer = BatchWriter::new(1 << 20, BATCH_RECORDS_MAX);
    let long = "l".repeat(INTERNED_BYTES_MAX + 1);
    for _ in 0..2 {
        for name in 0..INTERNED_MAX + 100 {
            let logger = name.to_string();
            writer.push(&Record { logger: &logger, ..Record::default() }).unwrap();
        }
        writer.push(&Record { logger: &long, ..Record::default() }).unwrap();
    }
    let payload = writer.payload();
    let written_out = payload.windows(long.len()).filter(|bytes| *bytes == long.as_bytes()).count();
    assert_eq!(written_out, 2);
    let mut reader = BatchReader::new(payload, BATCH_RECORDS_MAX).unwrap();
    for expected in (0..INTERNED_MAX + 100).map(|name| name.to_string()).chain([long]).cycle() {
        match reader.next_record().unwrap() {
            Some((_, record)) => assert_eq!(record.logger, expected),
            None => break,
        }
    }
}

#[test]
fn a_name_cannot_be_repeated_until_a_batch_is_a_hundred_times_as_long() {
    let name = "n".repeat(INTERNED_BYTES_MAX);
    let fields = vec![Field { key: &name, value: Value::Null }; FIELDS_MAX];
    let record = Record { fields: &fields, ..Record::default() };
    let mut writer = BatchWriter::new(1 << 20, BATCH_RECORDS_MAX);
    let refused = loop {
        if let Err(error) = writer.push(&record) {
            break error;
        }
    };
    assert_eq!(refused, PushError::Full);
    assert_eq!(read_all(writer.payload()), Ok(u64::from(writer.records())));
    assert!(writer.records() as usize * FIELDS_MAX * name.len() <= REPEATED_BYTES_MAX + (1 << 20));

    let mut payload = head(1, 16_000);
    let record = |name: &[u8]| {
        let mut out = Vec::new();
        start_of_record(&mut out, &[0, 0]);
        out.extend_from_slice(&[0, 0, 9]);
        (0..9).for_each(|_| out.extend_from_slice(&[name, &[types::NULL]].concat()));
        out
    };
    let mut new = vec![0];
    put_string(&mut new, &name);
    payload.extend_from_slice(&record(&new));
    (1..16_000).for_each(|_| payload.extend_from_slice(&record(&[3])));
    assert!(payload.len() < 1 << 20);
    assert_eq!(read_all(&payload), Err(BatchError::TooMuchRepeated));
}

#[test]
fn what_the_reader_would_refuse_the_writer_does_not_take() {
    let mut writer = BatchWriter::new(1 << 20, 10);
    let mut refused = |record: &Record<'_>| {
        let refused = writer.push(record).unwrap_err();
        assert!(writer.is_empty());
        refused
    };
    let body = "aé";
    for at in [2, 4] {
        let record = Record { body, exception_at: Some(at), ..Record::default() };
        assert_eq!(refused(&record), PushError::ExceptionAt { at });
    }
    let fields = [Field::default(); FIELDS_MAX + 1];
    let record = Record { fields: &fields, ..Record::default() };
    assert_eq!(refused(&record), PushError::TooManyFields { fields: FIELDS_MAX + 1 });
    let long = format!("[{}]", " ".repeat(JSON_BYTES_MAX));
    for (json, error) in [
        (long.as_str(), PushError::JsonTooLong { bytes: long.len() }),
        ("", PushError::NotJson),
        ("{", PushError::NotJson),
        ("[1]\n", PushError::NotJson),
        ("[1] [2]", PushError::NotJson),
        ("NaN", PushError::NotJson),
    ] {
        let fields = [Field { key: "k", value: Value::Json(json) }];
        assert_eq!(refused(&Record { fields: &fields, ..Record::default() }), error, "{json:.9}");
    }
    let body = "b".repeat(1 << 20);
    let never = PushError::NeverFits { bytes_max: 1 << 20 };
    assert_eq!(refused(&Record { body: &body, ..Record::default() }), never);
}

#[test]
fn what_no_writer_makes_is_refused_by_name() {
    let record = |rest: &[u8]| {
        let mut payload = head(1, 1);
        start_of_record(&mut payload, &[0, 0]);
        payload.extend_from_slice(rest);
        read_all(&payload)
    };
    // body | exception at | fields | key | value
    assert_eq!(record(&[0, 0, 0]), Ok(1));
    assert_eq!(record(&[0, 0, 0, 9]), Err(CodecError::Trailing { bytes: 1 }.into()));
    assert_eq!(record(&[0, 2, 0]), Err(BatchError::ExceptionAt { at: 1 }));
    assert_eq!(record(&[0, 0, 0x81, 2]), Err(BatchError::TooManyFields { fields: 257 }));
    assert_eq!(record(&[0, 0, 1, 1, 7]), Err(BatchError::UnknownValue { number: 7 }));
    assert_eq!(record(&[0, 0, 1, 1, 6, 1, b'{']), Err(BatchError::NotJson));
    assert_eq!(record(&[0, 0x80, 0, 0]), Err(CodecError::NotShortest.into()));
    let mut process = head(1, 1);
    process.extend_from_slice(&[0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x10, 0, 0, 0]);
    assert_eq!(read_all(&process), Err(BatchError::ProcessId { process_id: 0x1_0fff_ffff }));
}
