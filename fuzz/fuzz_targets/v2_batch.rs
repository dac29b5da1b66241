//! Reads arbitrary bytes as the payload of a batch, compressed or not.
//! A byte for the compression, and a payload -> records -> another payload ->
//! the same records.
//! Invariant: memory and work are bounded by limits, not by what is announced;
//! whatever is read can be written.
//! Leaves out: frames (`v2_frame`).

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::frame::FRAME_BYTES_MAX;
use wire::v2::batch::{BatchReader, BatchWriter, Record, Value};
use wire::v2::compress::{Compression, Expander};
use wire::v2::limits::{BATCH_RECORDS_MAX, FIELDS_MAX, REPEATED_BYTES_MAX};

/// Longest payload after inflating.
const BYTES_MAX: usize = 128 << 10;

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, sent)) = bytes.split_first() else { return };
    let compression = Compression::from_number(first % 3).expect("there are three");
    let mut out = Vec::new();
    if let Ok(payload) = Expander::new().expand(compression, sent, BYTES_MAX, &mut out) {
        assert!(payload.len() <= BYTES_MAX);
        if let Some(written) = written_again(payload) {
            assert_same(payload, &written);
        }
    }
    assert!(out.capacity() <= BYTES_MAX + 1, "took {} bytes", out.capacity());
});

/// The batch as we would write it; `None` when it is none.
fn written_again(payload: &[u8]) -> Option<Vec<u8>> {
    let mut reader = BatchReader::new(payload, BATCH_RECORDS_MAX).ok()?;
    let mut writer = BatchWriter::new(FRAME_BYTES_MAX, BATCH_RECORDS_MAX);
    writer.start(reader.next_number());
    let mut text_bytes = 0;
    while let Some((number, record)) = reader.next_record().ok()? {
        assert_eq!(number, writer.next_number());
        assert!(record.fields.len() <= FIELDS_MAX);
        let keys = record.fields.iter().map(|field| field.key.len());
        text_bytes += record.logger.len() + record.thread.len() + keys.sum::<usize>();
        assert!(text_bytes <= REPEATED_BYTES_MAX + payload.len());
        writer.push(&record).expect("what was read can be written");
    }
    Some(writer.payload().to_vec())
}

fn assert_same(one: &[u8], other: &[u8]) {
    let reader = |payload| BatchReader::new(payload, BATCH_RECORDS_MAX).expect("a batch");
    let (mut one, mut other) = (reader(one), reader(other));
    loop {
        match (one.next_record().expect("whole"), other.next_record().expect("whole")) {
            (None, None) => return,
            (Some((number, record)), Some((its_number, its_record))) => {
                assert_eq!(number, its_number);
                assert!(same(&record, &its_record));
            }
            _ => panic!("one batch has more records"),
        }
    }
}

/// Equal, where NaN equals itself.
fn same(one: &Record<'_>, other: &Record<'_>) -> bool {
    let value = |one: Value<'_>, other: Value<'_>| match (one, other) {
        (Value::Float(one), Value::Float(other)) => one.to_bits() == other.to_bits(),
        (one, other) => one == other,
    };
    let mut fields = one.fields.iter().zip(other.fields);
    one.fields.len() == other.fields.len()
        && fields.all(|(one, other)| one.key == other.key && value(one.value, other.value))
        && Record { fields: &[], ..*one } == Record { fields: &[], ..*other }
}
