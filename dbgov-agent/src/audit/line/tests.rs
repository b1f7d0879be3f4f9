use serde_json::Value;

use super::super::record::{JSON_INTEGER_MAX, Kind};
use super::super::{jcs, samples};
use super::*;

fn encode(encoder: &mut LineEncoder, record: &Record) -> String {
    let mut line = Vec::new();
    let hash = encoder.encode(record, &mut line).unwrap();
    encoder.accept(hash);
    String::from_utf8(line).unwrap()
}

#[test]
fn lines_are_canonical_and_chained() {
    let mut encoder = LineEncoder::new("host-1 \"é\u{1}\"");
    let mut prev = "0".repeat(64);
    for (index, record) in samples::everything().iter().enumerate() {
        let body_bytes = encoder
            .renderer
            .render(record, &mut Vec::new())
            .unwrap()
            .len();
        let line_bytes = encoder.line_bytes(body_bytes);
        let line = encode(&mut encoder, record);
        assert_eq!(line.len(), line_bytes);
        let line = line.strip_suffix('\n').expect("newline");
        assert!(!line.contains('\n'));
        let value: Value = serde_json::from_str(line).unwrap();
        assert_eq!(jcs::canonical(&value), line, "RFC 8785");
        assert_eq!(value["chain"]["hash"], jcs::chain_hash(&value));
        assert_eq!(value["chain"]["prev"], prev);
        assert_eq!(value["seq"], index as u64 + 1);
        assert_eq!(value["v"], 1);
        assert_eq!(value["node"], "host-1 \"é\u{1}\"");
        prev = value["chain"]["hash"].as_str().unwrap().to_owned();

        let link = check_line(line.as_bytes()).unwrap();
        assert_eq!(link.seq, index as u64 + 1);
        assert_eq!(link.hash.as_str(), prev);
        assert_eq!(link.kind, record.kind.name());
    }
}

#[test]
fn a_line_holds_the_record_and_nothing_else() {
    for record in samples::everything() {
        let line = encode(&mut LineEncoder::new("n"), &record);
        let mut value: Value = serde_json::from_str(&line).unwrap();
        let members = value.as_object_mut().unwrap();
        for added in ["chain", "node", "seq", "time", "v"] {
            assert!(members.remove(added).is_some(), "{added}");
        }
        assert_eq!(value, serde_json::to_value(&record).unwrap());
    }
}

#[test]
fn the_text_survives() {
    let line = encode(
        &mut LineEncoder::new("n"),
        &samples::statement(&samples::nasty_text()),
    );
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["statement"]["text"], samples::nasty_text());
    assert_eq!(value["statement"]["params"], serde_json::json!(["1", null]));
    assert_eq!(value["time"], "2026-11-22T23:59:59.123456789Z");
}

#[test]
fn numbers_stay_exact_as_doubles() {
    let line = encode(&mut LineEncoder::new("n"), &samples::everything()[0]);
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["result"]["rows"], JSON_INTEGER_MAX);
}

#[test]
fn a_line_not_accepted_leaves_no_hole() {
    let mut encoder = LineEncoder::new("n");
    let mut line = Vec::new();
    encoder
        .encode(&samples::statement("dropped"), &mut line)
        .unwrap();
    let kept = encode(&mut encoder, &samples::statement("kept"));
    let link = check_line(kept.trim_end().as_bytes()).unwrap();
    assert_eq!((link.seq, link.prev), (1, FIRST_PREV));
}

#[test]
fn every_changed_byte_is_found() {
    let line = encode(&mut LineEncoder::new("n"), &samples::statement("SELECT 1"));
    let line = line.trim_end().as_bytes();
    for at in 0..line.len() {
        let mut changed = line.to_vec();
        changed[at] ^= 1;
        assert!(check_line(&changed).is_err(), "byte {at}");
        assert!(check_line(&line[..at]).is_err(), "prefix of {at} bytes");
    }
}

#[test]
fn another_version_is_named() {
    let mut value: Value = serde_json::from_str(&encode(
        &mut LineEncoder::new("n"),
        &Record::new(Kind::AgentStop, 0),
    ))
    .unwrap();
    value["v"] = 2.into();
    value["chain"]["hash"] = jcs::chain_hash(&value).into();
    assert_eq!(
        check_line(jcs::canonical(&value).as_bytes()),
        Err(LineError::Version(2))
    );
}

/// `lcargo test --release -p dbgov-agent audit::line -- --ignored --nocapture`
#[test]
#[ignore = "a measurement; wants a release build"]
fn measure_encoding() {
    const RECORDS: u32 = 500_000;
    let mut encoder = LineEncoder::new("host-1");
    let mut record =
        samples::statement("SELECT abalance FROM pgbench_accounts WHERE aid = $1 /* typical */");
    let mut line = Vec::new();
    let mut bytes = 0;
    let start = std::time::Instant::now();
    for _ in 0..RECORDS {
        record.time_unix_ns += 25_000;
        let hash = encoder.encode(&record, &mut line).unwrap();
        encoder.accept(hash);
        bytes += line.len();
    }
    let ns = start.elapsed().as_nanos() / u128::from(RECORDS);
    println!(
        "encode: {ns} ns/record, {} bytes/record",
        bytes / RECORDS as usize
    );
}
