//! Reads arbitrary bytes as a file of a client's spool, and each of its entries
//! as a record.
//! A byte for where it is cut, and a file -> entries -> the same bytes.
//! Invariant: what is read was wholly there, numbers go up, and a file that is
//! cut gives the beginning of what it gave.
//! Leaves out: several files, and folders (the client's own tests).

#![no_main]

use libfuzzer_sys::fuzz_target;
use loghog::fuzzing::{decode, encode, put, read_file};
use wire::v2::batch::{Record, Value};

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    let mended = with_checksums(bytes);
    for file in [bytes, &mended] {
        let (entries, whole) = read_file(file, 1, 256);
        let mut again = Vec::new();
        for (number, record) in &entries {
            put(&mut again, *number, record);
            read_record(record);
        }
        assert_eq!(Some(&again[..]), file.get(..whole as usize));
        assert!(entries.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let beginning = file.len() * usize::from(cut) / 256;
        let (fewer, _) = read_file(&file[..beginning], 1, usize::MAX);
        assert_eq!(fewer, entries[..fewer.len()]);
    }
});

/// The same with right checksums, so that more than the first one is seen.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), bytes);
    while let Some((header, behind)) = rest.split_first_chunk::<16>() {
        let length = u32::from_le_bytes(header[..4].try_into().expect("four bytes")) as usize;
        let number = u64::from_le_bytes(header[8..].try_into().expect("eight bytes"));
        let Some((record, behind)) = behind.split_at_checked(length) else { break };
        put(&mut out, number, record);
        rest = behind;
    }
    out.extend_from_slice(rest);
    out
}

/// What can be read can be written, and says the same.
fn read_record(bytes: &[u8]) {
    let mut fields = Vec::new();
    let Some((record, is_bare)) = decode(bytes, &mut fields) else { return };
    let record = Record { fields: &fields, ..record };
    let mut again = Vec::new();
    if encode(&record, is_bare, &mut again) {
        let mut its_fields = Vec::new();
        let (its, its_bare) = decode(&again, &mut its_fields).expect("it was written just now");
        assert_eq!((its.body, its.logger, its.thread), (record.body, record.logger, record.thread));
        assert_eq!((its_bare, its.time_ns, its.level), (is_bare, record.time_ns, record.level));
        for (its, field) in its_fields.iter().zip(&fields) {
            assert!(its.key == field.key && is_same(its.value, field.value));
        }
    }
}

/// Equal, where NaN equals itself, and JSON that is too long is text.
fn is_same(its: Value<'_>, value: Value<'_>) -> bool {
    match (its, value) {
        (Value::Float(its), Value::Float(value)) => its.to_bits() == value.to_bits(),
        (Value::Text(its), Value::Json(value)) => its == value,
        (its, value) => its == value,
    }
}
