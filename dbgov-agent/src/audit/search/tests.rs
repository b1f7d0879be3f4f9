use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::super::compress::Compress;
use super::super::index;
use super::super::keeper::{SegmentJob, Stop};
use super::super::key::PrivateKey;
use super::super::line::LineEncoder;
use super::super::record::{Identity, Kind, Record, Rendered, SegmentBlock, Session, VerdictBlock};
use super::super::samples;
use super::*;
use crate::glob::Glob;

const RECORDS_PER_SEGMENT: u64 = 1_600;
const SEGMENTS: u64 = 6;
const START_NS: u64 = samples::TIME_UNIX_NS;
/// Between two records.
const STEP_NS: u64 = 1_000_000_000;

struct Journal {
    dir: TempDir,
    key: PrivateKey,
    lines: Vec<Value>,
}

impl Journal {
    /// Segments in every form: compressed or not, indexed or not; the newest is being written.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("audit")).unwrap();
        let key = PrivateKey::load_or_create(&dir.path().join("key")).unwrap();
        let mut journal = Journal {
            dir,
            key,
            lines: Vec::new(),
        };
        let mut random = fastrand::Rng::with_seed(5);
        let mut encoder = LineEncoder::new("db-1");
        for number in 0..SEGMENTS {
            let mut name = journal.write_segment(&mut encoder, &mut random);
            if number == SEGMENTS - 1 {
                let path = journal.path().join(&name);
                let whole = fs::read(&path).unwrap();
                fs::write(&path, [&whole, &b"{\"torn"[..]].concat()).unwrap();
                break;
            }
            if number % 2 == 0 {
                Compress
                    .run(&journal.path(), &name, &Stop::default())
                    .unwrap();
                name.push_str(".zst");
            }
            if number % 3 != 2 {
                journal.index(&name);
            }
        }
        journal
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("audit")
    }

    fn index(&self, name: &str) {
        index::build(&self.path(), name, |message| self.key.sign(message)).unwrap();
        index::check(&self.path(), name).unwrap();
    }

    fn write_segment(&mut self, encoder: &mut LineEncoder, random: &mut fastrand::Rng) -> String {
        let mut content = Vec::new();
        let mut line = Vec::new();
        let first_seq = encoder.last_seq() + 1;
        for number in 0..RECORDS_PER_SEGMENT {
            let time = START_NS + (first_seq + number) * STEP_NS;
            let record = match number {
                0 => header(&self.key, time),
                _ => record(random, time),
            };
            let hash = encoder.encode(&record, &mut line).unwrap();
            encoder.accept(hash);
            content.extend_from_slice(&line);
            self.lines.push(serde_json::from_slice(&line).unwrap());
        }
        let name = segment::name(START_NS, first_seq);
        fs::write(self.path().join(&name), content).unwrap();
        name
    }

    /// Numbers of the records that are found, in the order they come.
    fn found(&self, filters: Filters, order: Order) -> (Vec<u64>, Stats) {
        let mut seqs = Vec::new();
        let stats = search(&self.path(), &mut Query::new(filters), order, |_, view| {
            seqs.push(view.seq);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(stats.matches, seqs.len() as u64);
        (seqs, stats)
    }

    fn segments(&self) -> Vec<String> {
        segment::list(&self.path()).unwrap()
    }
}

fn header(key: &PrivateKey, time: u64) -> Record {
    let mut record = Record::new(Kind::Segment, time);
    record.segment = Some(Box::new(SegmentBlock {
        agent_version: "0.1.0",
        checkpoint_records: 1000,
        format: 1,
        key: key.public().id().to_owned(),
        public_key: key.public().to_hex(),
    }));
    record
}

fn record(random: &mut fastrand::Rng, time: u64) -> Record {
    let table = ["carts", "shop.orders", "Ünïcode", "audit.log"][random.usize(..4)];
    let number = random.u32(..100_000);
    let text = match random.u8(..10) {
        0 => format!("DELETE FROM {table} WHERE note = 'Größe \\ \"{number}\"'"),
        1 => format!("select\n* from {table} where id = {number}"),
        _ => format!(
            "SELECT note FROM {table} WHERE id = $1 /* {number} and a little more text than that, to fill blocks */"
        ),
    };
    let mut record = samples::statement(&text);
    record.time_unix_ns = time;
    let session = random.u32(..200);
    record.session = Some(
        Rendered::new(&Session {
            database: Some(["shop", "stock"][random.usize(..2)].to_owned()),
            id: format!("s-{session}"),
            user: Some(["app", "root \"quoted\"", "näme"][random.usize(..3)].to_owned()),
            ..samples::session()
        })
        .unwrap(),
    );
    record.identity = Some(
        Rendered::new(&Identity {
            name: format!("agent:{}", random.u32(..100)),
            pid: Some(session + 1000),
            run: (session < 5).then(|| format!("run-{session}")),
            ..samples::identity()
        })
        .unwrap(),
    );
    let statement = record.statement.as_mut().unwrap();
    statement.params = vec![Some(format!("Param{number}")), None];
    statement.tables = [table.into()].into();
    statement.verbs = [if text.starts_with("DELETE") {
        "delete"
    } else {
        "select"
    }]
    .into();
    record.verdict = Some(Box::new(VerdictBlock {
        action: if random.u8(..50) == 0 {
            "reset"
        } else {
            "allow"
        },
        mode: "enforce",
        rule: ["(default)", "no-delete"][random.usize(..2)].into(),
        ..VerdictBlock::default()
    }));
    record
}

/// The same question put to the records as JSON, by other code.
fn naive(filters: &Filters, record: &Value) -> bool {
    let text = |pointer: &str| {
        record
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    let list = |pointer: &str| -> Vec<String> {
        let items = record.pointer(pointer).and_then(Value::as_array);
        items
            .into_iter()
            .flatten()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    };
    let is =
        |wanted: &[String], pointer: &str| wanted.is_empty() || wanted.contains(&text(pointer));
    let time: jiff::Timestamp = text("/time").parse().unwrap();
    let time = time.as_nanosecond() as u64;
    let tables = list("/statement/tables");
    let mut texts = list("/statement/params");
    texts.push(text("/statement/text"));
    filters.since.is_none_or(|since| time >= since)
        && filters.until.is_none_or(|until| time < until)
        && is(&filters.users, "/session/user")
        && is(&filters.databases, "/session/database")
        && is(&filters.sessions, "/session/id")
        && is(&filters.runs, "/identity/run")
        && is(&filters.verdicts, "/verdict/action")
        && is(&filters.rules, "/verdict/rule")
        && is(&filters.kinds, "/kind")
        && (filters.pids.is_empty()
            || filters
                .pids
                .iter()
                .any(|pid| record["identity"]["pid"] == *pid))
        && (filters.identities.is_empty()
            || filters
                .identities
                .iter()
                .any(|glob| glob.matches(&text("/identity/name"))))
        && (filters.verbs.is_empty()
            || list("/statement/verbs")
                .iter()
                .any(|verb| filters.verbs.contains(verb)))
        && (filters.tables.is_empty()
            || tables.iter().any(|table| {
                filters
                    .tables
                    .iter()
                    .any(|wanted| table == wanted || table.ends_with(&format!(".{wanted}")))
            }))
        && (filters.texts.is_empty()
            || texts.iter().any(|text| {
                filters
                    .texts
                    .iter()
                    .any(|wanted| text.to_lowercase().contains(&wanted.to_lowercase()))
            }))
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn globs(globs: &[&str]) -> Vec<Glob> {
    globs.iter().map(|glob| Glob::new(glob).unwrap()).collect()
}

/// Each filter alone, with several values, and together.
fn questions() -> Vec<Filters> {
    let all = Filters::default;
    let at = |record: u64| Some(START_NS + record * STEP_NS);
    vec![
        all(),
        Filters {
            since: at(4_000),
            until: at(4_100),
            ..all()
        },
        Filters {
            since: at(9_590),
            ..all()
        },
        Filters {
            until: at(3),
            ..all()
        },
        Filters {
            since: at(1_000_000),
            ..all()
        },
        Filters {
            identities: globs(&["agent:7"]),
            ..all()
        },
        Filters {
            identities: globs(&["agent:1*", "agent:?"]),
            ..all()
        },
        Filters {
            identities: globs(&["nobody*"]),
            ..all()
        },
        Filters {
            users: texts(&["root \"quoted\""]),
            ..all()
        },
        Filters {
            users: texts(&["näme", "app"]),
            ..all()
        },
        Filters {
            databases: texts(&["stock"]),
            ..all()
        },
        Filters {
            tables: texts(&["orders"]),
            ..all()
        },
        Filters {
            tables: texts(&["shop.orders", "log"]),
            ..all()
        },
        Filters {
            tables: texts(&["shop.carts"]),
            ..all()
        },
        Filters {
            verbs: texts(&["delete"]),
            ..all()
        },
        Filters {
            verdicts: texts(&["reset"]),
            ..all()
        },
        Filters {
            rules: texts(&["no-delete"]),
            verbs: texts(&["delete"]),
            ..all()
        },
        Filters {
            kinds: texts(&["segment"]),
            ..all()
        },
        Filters {
            kinds: texts(&["gap", "approval"]),
            ..all()
        },
        Filters {
            sessions: texts(&["s-17"]),
            ..all()
        },
        Filters {
            sessions: texts(&["s-1", "s-2", "no such"]),
            ..all()
        },
        Filters {
            runs: texts(&["run-3"]),
            ..all()
        },
        Filters {
            pids: vec![1003, 1],
            ..all()
        },
        Filters {
            texts: texts(&["GRÖSSE", "größe"]),
            ..all()
        },
        Filters {
            texts: texts(&["param777"]),
            ..all()
        },
        Filters {
            texts: texts(&["\"77"]),
            ..all()
        },
        Filters {
            texts: texts(&["ü"]),
            ..all()
        },
        Filters {
            texts: texts(&["\n* FROM"]),
            ..all()
        },
        Filters {
            texts: texts(&["nowhere to be found"]),
            ..all()
        },
        Filters {
            since: at(2_000),
            until: at(8_000),
            identities: globs(&["agent:*"]),
            databases: texts(&["shop"]),
            tables: texts(&["carts"]),
            verbs: texts(&["select"]),
            texts: texts(&["12"]),
            ..all()
        },
    ]
}

#[test]
fn finds_what_a_plain_scan_finds_in_either_order() {
    let journal = Journal::new();
    for filters in questions() {
        let wanted: Vec<u64> = journal
            .lines
            .iter()
            .filter(|record| naive(&filters, record))
            .map(|record| record["seq"].as_u64().unwrap())
            .collect();
        let (mut found, stats) = journal.found(filters.clone(), Order::OldestFirst);
        assert!(found == wanted, "{filters:?}");
        assert_eq!(stats.problems, Vec::<String>::new());
        assert_eq!(stats.last_seq, SEGMENTS * RECORDS_PER_SEGMENT);
        assert_eq!((stats.segments, stats.indexed), (SEGMENTS, 4));
        found.reverse();
        let newest_first = journal.found(filters.clone(), Order::NewestFirst).0;
        assert!(newest_first == found, "{filters:?}");
    }
}

#[test]
fn reads_what_it_must() {
    let journal = Journal::new();
    for name in journal.segments() {
        journal.index(&name);
    }
    let blocks_read = |filters| journal.found(filters, Order::OldestFirst).1;
    let all = blocks_read(Filters::default());
    assert_eq!(all.blocks_read, all.blocks);
    assert!(all.blocks >= 12, "{}", all.blocks);
    let none = blocks_read(Filters {
        sessions: texts(&["no such session"]),
        ..Filters::default()
    });
    assert_eq!((none.blocks_read, none.records), (0, 0));
    let text = blocks_read(Filters {
        texts: texts(&["nowhere to be found"]),
        ..Filters::default()
    });
    assert_eq!(text.blocks_read, 0);
    let one = journal.lines[4_321]["statement"]["params"][0]
        .as_str()
        .unwrap()
        .to_owned();
    let one = blocks_read(Filters {
        texts: vec![one],
        ..Filters::default()
    });
    assert!(one.matches >= 1 && one.blocks_read <= 3, "{one:?}");
    let headers = blocks_read(Filters {
        kinds: texts(&["segment"]),
        ..Filters::default()
    });
    assert_eq!(headers.blocks_read, SEGMENTS);
}

#[test]
fn breaks_off_where_nothing_more_is_wanted() {
    let journal = Journal::new();
    for (order, first) in [
        (Order::OldestFirst, 1),
        (Order::NewestFirst, SEGMENTS * RECORDS_PER_SEGMENT),
    ] {
        let mut seqs = Vec::new();
        let mut query = Query::new(Filters::default());
        let stats = search(&journal.path(), &mut query, order, |_, view| {
            seqs.push(view.seq);
            if seqs.len() == 3 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap();
        assert_eq!(seqs[0], first);
        assert_eq!((seqs.len(), stats.blocks_read), (3, 1));
    }
}

/// Whatever is done to an index, no record is hidden by it.
#[test]
fn a_tampered_index_hides_nothing() {
    let journal = Journal::new();
    let wanted = Filters {
        sessions: texts(&["s-17"]),
        ..Filters::default()
    };
    let truth = journal.found(wanted.clone(), Order::OldestFirst).0;
    let indexes: Vec<String> = fs::read_dir(journal.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".idx"))
        .collect();
    assert_eq!(indexes.len(), 4);
    let path = journal.path().join(&indexes[0]);
    let whole = fs::read(&path).unwrap();
    let other = fs::read(journal.path().join(&indexes[1])).unwrap();
    let stranger = PrivateKey::load_or_create(&journal.dir.path().join("other")).unwrap();
    let header_end = memchr::memchr(b'\n', &whole).unwrap();
    let resigned = |content: &[u8]| {
        let message = format!(
            "dbgov index 1\n{}",
            hex::encode(<sha2::Sha256 as sha2::Digest>::digest(content))
        );
        [content, stranger.sign(message.as_bytes()).as_bytes(), b"\n"].concat()
    };
    let mut zeroed = whole.clone();
    zeroed[header_end + 1..whole.len() - 129].fill(0);
    let mut tampered = vec![
        zeroed.clone(),
        resigned(&zeroed[..zeroed.len() - 129]),
        other,
        Vec::new(),
        b"\n".to_vec(),
        whole[..whole.len() / 2].to_vec(),
        whole[..whole.len() - 1].to_vec(),
        String::from_utf8_lossy(&whole)
            .replacen("\"first_seq\":", "\"first_seq\":1", 1)
            .into_bytes(),
    ];
    for place in (0..whole.len()).step_by(whole.len() / 40) {
        let mut flipped = whole.clone();
        flipped[place] ^= 1;
        tampered.push(flipped);
    }
    for content in tampered {
        fs::write(&path, &content).unwrap();
        let (found, stats) = journal.found(wanted.clone(), Order::OldestFirst);
        assert!(found == truth);
        assert_eq!(stats.indexed, 3);
    }
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert_eq!(journal.found(wanted, Order::OldestFirst).0, truth);
}

/// One that was right, of a segment that is not as it was any more.
#[test]
fn a_segment_that_changed_is_read_or_told_of() {
    let journal = Journal::new();
    let wanted = Filters::default();
    let plain = journal.segments().into_iter().nth(1).unwrap();
    let path = journal.path().join(&plain);
    let whole = fs::read(&path).unwrap();
    let truth = journal.found(wanted.clone(), Order::OldestFirst).0;
    fs::write(&path, [&whole[..], b"x\n"].concat()).unwrap();
    let (found, stats) = journal.found(wanted, Order::OldestFirst);
    assert!(found == truth);
    assert_eq!((stats.indexed, stats.problems.len()), (3, 1));
    // Of the same length.
    let mut joined = whole.clone();
    let newline = memchr::memchr(b'\n', &whole).unwrap();
    joined[newline] = b' ';
    fs::write(&path, joined).unwrap();
    let (_, stats) = journal.found(Filters::default(), Order::NewestFirst);
    assert!(!stats.problems.is_empty());
}

#[test]
fn damaged_compression_is_told_and_the_rest_is_found() {
    let journal = Journal::new();
    let first = journal.path().join(&journal.segments()[0]);
    let whole = fs::read(&first).unwrap();
    fs::write(&first, &whole[..whole.len() / 2]).unwrap();
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let (found, stats) = journal.found(Filters::default(), order);
        assert_eq!(stats.problems.len(), 1, "{:?}", stats.problems);
        let behind = found
            .iter()
            .filter(|seq| **seq > RECORDS_PER_SEGMENT)
            .count() as u64;
        assert_eq!(behind, (SEGMENTS - 1) * RECORDS_PER_SEGMENT);
    }
}

#[test]
fn no_directory_is_an_error() {
    let mut query = Query::new(Filters::default());
    let missing = Path::new("/nowhere/audit");
    let error = search(missing, &mut query, Order::OldestFirst, |_, _| {
        ControlFlow::Continue(())
    });
    assert!(error.unwrap_err().to_string().contains("/nowhere/audit"));
}
