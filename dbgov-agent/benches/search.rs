//! What a search costs over a large journal: `cargo bench -p dbgov-agent --bench search -- [RECORDS]` (default a million;
//! ten million take about 1 GB of disk, under the directory of temporary files, and are removed). With up to two million
//! the answers are compared with those of a plain scan.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use dbgov_agent::audit::index;
use dbgov_agent::audit::key::PrivateKey;
use dbgov_agent::audit::line::LineEncoder;
use dbgov_agent::audit::record::{
    Identity, Kind, Record, Rendered, ResultBlock, SegmentBlock, Session, StatementBlock,
};
use dbgov_agent::audit::search::{Filters, Order, Query, search};
use dbgov_agent::audit::segment;
use dbgov_agent::glob::Glob;
use dbgov_agent::protocol::Text;

const RECORDS_DEFAULT: u64 = 1_000_000;
/// 64 MiB, as segments are by default, of records of 750 bytes.
const RECORDS_PER_SEGMENT: u64 = 85_000;
const FRAME_BYTES: usize = 1 << 20;
const COMPARED_RECORDS_MAX: u64 = 2_000_000;
const START_NS: u64 = 1_795_000_000_000_000_000;
/// Statements of one session, one after the other.
const SESSION_RECORDS: u64 = 200;

fn main() {
    // Cargo gives `--bench` too.
    let number = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok());
    let records: u64 = number.unwrap_or(RECORDS_DEFAULT);
    let dir = tempfile::tempdir().expect("a directory");
    let key = PrivateKey::load_or_create(&dir.path().join("key")).expect("a key");
    let audit = dir.path().join("audit");
    std::fs::create_dir(&audit).expect("a directory");
    let start = Instant::now();
    let (plain, index_s) = write(&audit, &key, records);
    let files = bytes(&audit, ".zst");
    let indexes = bytes(&audit, ".idx");
    println!(
        "{records} records: {} MB, compressed {} MB, indexes {} MB ({:.1} s of {:.1} s)",
        plain / 1_000_000,
        files / 1_000_000,
        indexes / 1_000_000,
        index_s,
        start.elapsed().as_secs_f64()
    );
    // From here on: what searching takes, not what made the journal.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before = memory_kib("VmRSS:");
    for (name, filters) in questions(records) {
        ask(&audit, records, name, &filters);
    }
    println!(
        "memory: {} KiB at most, {before} KiB before the first search",
        memory_kib("VmHWM:")
    );
}

/// A line of /proc/self/status (proc_pid_status(5)).
fn memory_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

fn questions(records: u64) -> Vec<(&'static str, Filters)> {
    let middle = records / 2;
    let all = Filters::default;
    let texts = |text: String| vec![text];
    vec![
        (
            "a session",
            Filters {
                sessions: texts(session(middle)),
                ..all()
            },
        ),
        (
            "an identity that is rare",
            Filters {
                identities: vec![Glob::new("agent:rare").unwrap()],
                ..all()
            },
        ),
        (
            "identities by pattern",
            Filters {
                identities: vec![Glob::new("agent:ra*").unwrap()],
                ..all()
            },
        ),
        (
            "a number in a text",
            Filters {
                texts: texts(format!("order {}", order(middle))),
                ..all()
            },
        ),
        (
            "a text that is nowhere",
            Filters {
                texts: texts("salaries".to_owned()),
                ..all()
            },
        ),
        (
            "a minute",
            Filters {
                since: Some(START_NS + middle * 1_000_000),
                until: Some(START_NS + (middle + 60_000) * 1_000_000),
                ..all()
            },
        ),
        (
            "a verb that is nowhere, and a table",
            Filters {
                tables: texts("carts".to_owned()),
                verbs: texts("drop".to_owned()),
                ..all()
            },
        ),
        (
            "a rare verb within a tenth of the time",
            Filters {
                verbs: texts("delete".to_owned()),
                since: Some(time(middle)),
                until: Some(time(middle + records / 10)),
                ..all()
            },
        ),
    ]
}

fn ask(dir: &Path, records: u64, name: &str, filters: &Filters) {
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let start = Instant::now();
        let mut found = Vec::new();
        let stats = search(dir, &mut Query::new(filters.clone()), order, |_, view| {
            found.push(view.seq);
            ControlFlow::Continue(())
        })
        .expect("a search");
        let seconds = start.elapsed().as_secs_f64();
        assert!(stats.problems.is_empty(), "{:?}", stats.problems);
        println!(
            "{name}, {order:?}: {} found, {} of {} blocks read, {seconds:.2} s",
            stats.matches, stats.blocks_read, stats.blocks
        );
        if records <= COMPARED_RECORDS_MAX {
            if order == Order::NewestFirst {
                found.reverse();
            }
            assert!(
                found == plain_scan(dir, filters),
                "{name}: not what a plain scan finds"
            );
        }
    }
}

/// Every record read and asked, no index.
fn plain_scan(dir: &Path, filters: &Filters) -> Vec<u64> {
    let mut reader = dbgov_agent::audit::reader::Reader::open_after(dir, 0).expect("a reader");
    let mut query = Query::new(filters.clone());
    let mut found = Vec::new();
    while let Some(line) = reader.next_line().expect("a line") {
        let view = dbgov_agent::audit::view::View::parse(line).expect("a record");
        if query.matches(&view) {
            found.push(view.seq);
        }
    }
    found
}

/// Bytes of the records, and the seconds their indexes took.
fn write(dir: &Path, key: &PrivateKey, records: u64) -> (u64, f64) {
    let mut encoder = LineEncoder::new("db-1");
    let (mut line, mut plain, mut index_s) = (Vec::new(), 0, 0.0);
    while encoder.last_seq() < records {
        let first = encoder.last_seq() + 1;
        let name = format!("{}.zst", segment::name(time(first), first));
        let mut file = BufWriter::new(File::create(dir.join(&name)).expect("a file"));
        let mut frame = Vec::new();
        for seq in first..(first + RECORDS_PER_SEGMENT).min(records + 1) {
            let record = if seq == first {
                header(key, seq)
            } else {
                record(seq)
            };
            let hash = encoder.encode(&record, &mut line).expect("a line");
            encoder.accept(hash);
            plain += line.len() as u64;
            frame.extend_from_slice(&line);
            if frame.len() >= FRAME_BYTES {
                file.write_all(&zstd::encode_all(&frame[..], 3).expect("zstd"))
                    .expect("a file");
                frame.clear();
            }
        }
        file.write_all(&zstd::encode_all(&frame[..], 3).expect("zstd"))
            .expect("a file");
        file.into_inner().expect("a file");
        let start = Instant::now();
        index::build(dir, &name, |message| key.sign(message)).expect("an index");
        index_s += start.elapsed().as_secs_f64();
    }
    (plain, index_s)
}

fn time(seq: u64) -> u64 {
    START_NS + seq * 1_000_000
}

fn session(seq: u64) -> String {
    format!("18eab92a7fb5e963-{:x}", seq / SESSION_RECORDS)
}

/// Spread over all there are, as keys of a table are.
fn order(seq: u64) -> u64 {
    seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 34
}

fn header(key: &PrivateKey, seq: u64) -> Record {
    let mut record = Record::new(Kind::Segment, time(seq));
    record.segment = Some(Box::new(SegmentBlock {
        agent_version: "0.1.0",
        checkpoint_records: 1000,
        format: 1,
        key: key.public().id().to_owned(),
        public_key: key.public().to_hex(),
    }));
    record
}

fn record(seq: u64) -> Record {
    let number = order(seq);
    let rare = (seq / SESSION_RECORDS) % 10_000 == 4_321;
    let table = ["orders", "carts", "customers", "stock"][(number % 4) as usize];
    let verb = match seq % 20_000 {
        777 => "delete",
        _ => "select",
    };
    let text =
        format!("SELECT id, note, total FROM {table} WHERE id = $1 AND note <> 'order {number}'");
    let mut record = Record::new(Kind::Statement, time(seq));
    record.identity = Rendered::new(&Identity {
        comm: Some("python3".to_owned()),
        exe: Some("/usr/bin/python3".to_owned()),
        name: if rare {
            "agent:rare".to_owned()
        } else {
            format!("agent:{}", seq / SESSION_RECORDS % 50)
        },
        pid: Some((seq / SESSION_RECORDS % 30_000) as u32),
        source: "tag",
        ..Identity::default()
    })
    .ok();
    record.session = Rendered::new(&Session {
        client_addr: Some("10.9.0.2:41884".to_owned()),
        database: Some("shop".to_owned()),
        id: session(seq),
        joined: "start",
        protocol: "postgresql",
        server_addr: Some("10.9.0.1:5432".to_owned()),
        user: Some("app".to_owned()),
        ..Session::default()
    })
    .ok();
    record.statement = Some(StatementBlock {
        bytes: text.len() as u64,
        count: 1,
        fingerprint: Some("9f86d081884c7d65".into()),
        params: vec![Some(number.to_string())],
        parse: "ok",
        tables: [table.into()].into(),
        text: Some(std::sync::Arc::new(Text {
            bytes: text.len() as u64,
            text: text.into(),
            truncated: false,
            tail_hit: false,
            lossy: false,
            sha256: None,
            encoding: None,
        })),
        verbs: [verb].into(),
        via: "execute",
        ..StatementBlock::default()
    });
    record.result = Some(ResultBlock {
        duration_us: Some(seq % 5000),
        rows: Some(1),
        status: "ok",
        ..ResultBlock::default()
    });
    record
}

fn bytes(dir: &Path, suffix: &str) -> u64 {
    let entries = std::fs::read_dir(dir).expect("a directory");
    let sizes = entries.flatten().filter_map(|entry| {
        let is_one = entry.file_name().to_str()?.ends_with(suffix);
        is_one
            .then(|| entry.metadata().ok())
            .flatten()
            .map(|metadata| metadata.len())
    });
    sizes.sum()
}
