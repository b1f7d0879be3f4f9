mod forge;
mod made;

use std::fs;
use std::sync::Arc;

use super::super::key::PrivateKey;
use super::*;
use forge::{Forge, Line};
use made::Made;

/// Kind and first record of what is found first.
fn first(dir: &Path, options: &Options) -> Option<(&'static str, Option<u64>)> {
    let report = verify(dir, options).unwrap();
    assert_eq!(report.intact, report.breaks.is_empty());
    assert_eq!(report.intact, report.breaks_total == 0);
    report.breaks.first().map(|first| (first.kind, first.seq))
}

#[test]
fn an_untouched_journal_is_intact() {
    let made = Made::new("host-1");
    let report = verify(made.dir(), &made.options()).unwrap();
    assert!(report.intact && report.origin_proven, "{report}");
    assert_eq!(
        (report.first_seq, report.last_seq),
        (Some(1), Some(made.last_seq()))
    );
    assert_eq!(report.records, made.last_seq());
    assert_eq!(
        report.last_checkpoint_seq,
        Some(made.last_seq()),
        "stopped in good order"
    );
    assert_eq!(
        (report.unsigned_tail, report.unsigned_before_crashes_total),
        (None, 0)
    );
    assert!(report.segments > 4 && report.checkpoints > 8);
    // Compressed, partly or wholly, it is the same.
    let hash = report.last_hash.clone();
    for name in made.names() {
        made.compress(&name);
        let report = verify(made.dir(), &made.options()).unwrap();
        assert!(report.intact, "{report}");
        assert_eq!(report.last_hash, hash);
    }
    // Without a key it is consistent, and the report says that this is all.
    let report = verify(made.dir(), &Options::default()).unwrap();
    assert!(report.intact && !report.origin_proven);
    assert!(report.to_string().contains("not who wrote it"), "{report}");
}

/// Each way to change one record, with and without fixing its own hash.
#[test]
fn every_field_of_every_kind_of_record() {
    let made = Made::new("host-1");
    let pristine = Forge::read(made.dir());
    let last = pristine.lines.len();
    let mut tried = 0;
    for at in 0..last {
        let text = pristine.lines[at].text.clone();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        // A quarter of them, but all that are not statements.
        if value["kind"] == "statement" && at % 4 != 0 {
            continue;
        }
        for pointer in forge::leaves(&value) {
            let mut forge = pristine.clone();
            forge.change(at, &pointer);
            forge.write(made.dir());
            let found = first(made.dir(), &made.options());
            let seq = at as u64 + 1;
            assert!(
                matches!(found, Some(("changed" | "unreadable", Some(found))) if found == seq),
                "{pointer} of record {seq}: {found:?}"
            );
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried}");
}

#[test]
fn every_bit_of_some_lines() {
    let made = Made::new("host-1");
    let pristine = Forge::read(made.dir());
    for at in [0, 1, 5, pristine.lines.len() - 1] {
        for byte in 0..pristine.lines[at].text.len() {
            let mut forge = pristine.clone();
            // Flipping one that makes no UTF-8 is the easy case.
            let mut bytes = forge.lines[at].text.clone().into_bytes();
            bytes[byte] ^= 1 << (byte % 7);
            if bytes.contains(&b'\n') {
                continue;
            }
            let Ok(text) = String::from_utf8(bytes) else {
                continue;
            };
            forge.lines[at].text = text;
            forge.write_one(made.dir(), at);
            let found = first(made.dir(), &made.options());
            assert!(
                matches!(found, Some((_, Some(seq))) if seq == at as u64 + 1),
                "byte {byte} of record {}: {found:?}",
                at + 1
            );
        }
        pristine.write(made.dir());
    }
}

/// What somebody does who cannot hash, and where it is found. Records are numbered from 1 and lines from 0.
#[test]
fn lines_removed_inserted_and_moved() {
    let made = Made::new("host-1");
    let pristine = Forge::read(made.dir());
    let last = pristine.lines.len() - 1;
    let second_segment = pristine.segment_start(1);
    let checkpoint = pristine.find("checkpoint");
    type Act = fn(&mut Forge, usize);
    let remove: Act = |forge, at| drop(forge.lines.remove(at));
    let swap: Act = |forge, at| forge.swap(at, at + 1);
    let double: Act = |forge, at| forge.lines.insert(at + 1, forge.lines[at].clone());
    let insert: Act = |forge, at| {
        let other = forge.lines[2].text.clone();
        let line = Line {
            text: other,
            ..forge.lines[at].clone()
        };
        forge.lines.insert(at, line);
    };
    let empty: Act = |forge, at| forge.lines[at].text.clear();
    let cases: [(&str, Act, usize, &str, usize); 16] = [
        ("the first record removed", remove, 0, "missing", 1),
        (
            "a header removed",
            remove,
            second_segment,
            "missing",
            second_segment + 1,
        ),
        ("a record removed", remove, 6, "missing", 7),
        (
            "a checkpoint removed",
            remove,
            checkpoint,
            "missing",
            checkpoint + 1,
        ),
        (
            "the last of a segment removed",
            remove,
            second_segment - 1,
            "missing",
            second_segment,
        ),
        ("two swapped", swap, 6, "missing", 7),
        (
            "two swapped over segments",
            swap,
            second_segment - 1,
            "missing",
            second_segment,
        ),
        ("the first two swapped", swap, 0, "missing", 1),
        ("the last two swapped", swap, last - 1, "missing", last),
        ("one twice", double, 6, "order", 8),
        ("the last twice", double, last, "order", last + 2),
        (
            "a checkpoint twice",
            double,
            checkpoint,
            "order",
            checkpoint + 2,
        ),
        ("an old one inserted", insert, 7, "order", 8),
        ("one inserted before the first", insert, 0, "missing", 1),
        ("a line emptied", empty, 6, "unreadable", 7),
        (
            "a header emptied",
            empty,
            second_segment,
            "unreadable",
            second_segment + 1,
        ),
    ];
    for (what, act, at, kind, seq) in cases {
        let mut forge = pristine.clone();
        act(&mut forge, at);
        forge.write(made.dir());
        let found = first(made.dir(), &made.options());
        assert_eq!(found, Some((kind, Some(seq as u64))), "{what}");
    }
}

/// What somebody does who hashes everything behind it anew, and has no key.
#[test]
fn the_chain_hashed_anew() {
    let made = Made::new("host-1");
    let pristine = Forge::read(made.dir());
    let checkpoint = pristine.find("checkpoint");
    let segment = pristine.segment_start(1);
    type Act = fn(&mut Forge);
    let cases: [(&str, Act, &str, usize); 12] = [
        // The first signature over it is the first thing that does not fit.
        (
            "a text changed",
            |f| f.replace(3, "SELECT", "DELETE"),
            "signature",
            checkpoint + 1,
        ),
        (
            "a record removed",
            |f| drop(f.lines.remove(3)),
            "signature",
            checkpoint,
        ),
        (
            "a record inserted",
            |f| f.lines.insert(3, f.lines[3].clone()),
            "signature",
            checkpoint + 2,
        ),
        ("two swapped", |f| f.swap(3, 4), "signature", checkpoint + 1),
        (
            "the first header changed",
            |f| f.replace(0, "\"agent_version\":\"0", "\"agent_version\":\"9"),
            "signature",
            3,
        ),
        (
            "another header of its own",
            |f| {
                let at = f.segment_start(1);
                f.replace(at, "\"agent_version\":\"0", "\"agent_version\":\"9");
            },
            "signature",
            0,
        ),
        (
            "a checkpoint's reason changed",
            |f| {
                let at = f.find("checkpoint");
                f.replace(at, "\"reason\":\"", "\"reason\":\"x");
            },
            "signature",
            checkpoint + 1,
        ),
        (
            "a checkpoint's time changed",
            |f| {
                let at = f.find("checkpoint");
                f.replace(at, "\"time\":\"20", "\"time\":\"21");
            },
            "signature",
            checkpoint + 1,
        ),
        (
            "more in a checkpoint",
            |f| {
                let at = f.find("checkpoint");
                f.replace(at, "{\"key\"", "{\"also\":1,\"key\"");
            },
            "signature",
            checkpoint + 1,
        ),
        (
            "whitespace",
            |f| f.replace(3, "\"kind\":\"statement\"", "\"kind\": \"statement\""),
            "unreadable",
            4,
        ),
        (
            "a key twice",
            |f| f.replace(3, "\"seq\":4", "\"seq\":4,\"seq\":4"),
            "unreadable",
            4,
        ),
        (
            "keys in another order",
            |f| {
                f.replace(
                    3,
                    "\"parse\":\"ok\",\"tables\":[\"pgbench_accounts\"]",
                    "\"tables\":[\"pgbench_accounts\"],\"parse\":\"ok\"",
                )
            },
            "unreadable",
            4,
        ),
    ];
    for (what, act, kind, seq) in cases {
        let mut forge = pristine.clone();
        act(&mut forge);
        forge.rehash();
        forge.write(made.dir());
        let expected = if seq == 0 {
            // The first signature of the second segment.
            (segment..)
                .find(|at| pristine.lines[*at].text.contains("\"kind\":\"checkpoint\""))
                .unwrap()
                + 1
        } else {
            seq
        };
        let found = first(made.dir(), &made.options());
        assert_eq!(found, Some((kind, Some(expected as u64))), "{what}");
    }
    // All signatures taken out as well: segments that do not end with one.
    let mut forge = pristine.clone();
    forge.replace(3, "SELECT", "DELETE");
    forge
        .lines
        .retain(|line| !line.text.contains("\"kind\":\"checkpoint\""));
    forge.rehash();
    forge.write(made.dir());
    let found = first(made.dir(), &made.options());
    let end = forge.segment_start(1);
    assert_eq!(found, Some(("unsigned", Some(end as u64))));
    // All in one segment: more records than may go unsigned.
    let mut forge = pristine.clone();
    forge.lines.retain(|line| {
        !line.text.contains("\"kind\":\"checkpoint\"")
            && !line.text.contains("\"kind\":\"segment\"")
            || line.text.contains("\"seq\":1,")
    });
    let one = forge.lines[0].file.clone();
    forge
        .lines
        .iter_mut()
        .for_each(|line| line.file.clone_from(&one));
    forge.rehash();
    for name in made.names() {
        fs::remove_file(made.dir().join(name)).unwrap();
    }
    forge.write(made.dir());
    assert!(matches!(
        first(made.dir(), &made.options()),
        Some(("unsigned", Some(1)))
    ));
}

#[test]
fn keys_of_others() {
    let made = Made::new("host-1");
    let other = Made::new("host-1");
    // Signed by another key from the beginning: consistent, and not ours.
    let swapped = made.options();
    assert_eq!(first(other.dir(), &swapped), Some(("key", Some(1))));
    assert_eq!(first(other.dir(), &Options::default()), None);

    // A journal cut at a place and gone on with by another key.
    let pristine = Forge::read(made.dir());
    let cut = pristine.segment_start(2);
    let mut forge = pristine.clone();
    forge.lines.truncate(cut);
    forge.write(made.dir());
    for name in made.names() {
        if segment::first_seq(&name).unwrap() > cut as u64 {
            fs::remove_file(made.dir().join(name)).unwrap();
        }
    }
    made.go_on(Arc::clone(&other.key), 10);
    assert_eq!(
        first(made.dir(), &made.options()),
        Some(("key", Some(cut as u64 + 1)))
    );
    let report = verify(made.dir(), &Options::default()).unwrap();
    assert!(
        report.intact && report.to_string().contains("the key changed"),
        "{report}"
    );
    // Where both keys are known to be the host's it is in order.
    let mut both = made.options();
    both.keys.push(other.key.public().clone());
    assert_eq!(first(made.dir(), &both), None);
    // A header that names a key under the id of another.
    let mut forge = pristine.clone();
    forge.replace(0, &made.key.public().to_hex(), &other.key.public().to_hex());
    forge.rehash();
    forge.write(made.dir());
    assert_eq!(
        first(made.dir(), &made.options()),
        Some(("header", Some(1)))
    );
}

#[test]
fn whole_segments() {
    let made = Made::new("host-1");
    let names = made.names();
    let starts: Vec<u64> = names
        .iter()
        .filter_map(|name| segment::first_seq(name))
        .collect();
    let path = |name: &str| made.dir().join(name);
    let keep = tempfile::tempdir().unwrap();
    let backup = |name: &str| fs::copy(path(name), keep.path().join(name)).unwrap();
    let restore = || {
        for name in made.names() {
            fs::remove_file(path(&name)).unwrap();
        }
        for name in &names {
            fs::copy(keep.path().join(name), path(name)).unwrap();
        }
    };
    for name in &names {
        backup(name);
    }
    let found = || first(made.dir(), &made.options());
    let newest = names.last().unwrap();

    fs::remove_file(path(&names[0])).unwrap();
    assert_eq!(found(), Some(("missing", Some(1))), "the first removed");
    restore();
    fs::remove_file(path(&names[2])).unwrap();
    assert_eq!(found(), Some(("missing", Some(starts[2]))), "one removed");
    restore();

    // The newest removed: nothing in the rest can tell, and the report says so; who knows a later record can.
    let last = verify(made.dir(), &made.options()).unwrap();
    let mut knowing = made.options();
    knowing.expected = last.last_checkpoint_seq.zip(last.last_checkpoint_hash);
    assert_eq!(first(made.dir(), &knowing), None);
    let last_seq = made.last_seq();
    fs::remove_file(path(newest)).unwrap();
    let report = verify(made.dir(), &made.options()).unwrap();
    assert!(
        report.intact && report.to_string().contains("--expect-seq"),
        "{report}"
    );
    assert_eq!(
        first(made.dir(), &knowing),
        Some(("expected", Some(last_seq)))
    );
    knowing.expected = Some((3, "00".repeat(32)));
    assert_eq!(first(made.dir(), &knowing), Some(("expected", Some(3))));
    restore();

    // Two names swapped.
    fs::rename(path(&names[1]), path("x")).unwrap();
    fs::rename(path(&names[2]), path(&names[1])).unwrap();
    fs::rename(path("x"), path(&names[2])).unwrap();
    assert_eq!(found(), Some(("missing", Some(starts[1]))), "names swapped");
    restore();
    // Another time, and another number.
    fs::rename(path(&names[1]), path(&segment::name(0, starts[1]))).unwrap();
    assert_eq!(found(), Some(("name", Some(starts[1]))), "another time");
    restore();
    fs::rename(path(&names[1]), path(&segment::name(0, starts[1] + 1))).unwrap();
    assert_eq!(found(), Some(("name", Some(starts[1]))), "another number");
    restore();
    // One put in the place of another, and one of another journal with the same numbers.
    fs::copy(path(&names[1]), path(&names[2])).unwrap();
    assert_eq!(found(), Some(("order", Some(starts[2]))), "one twice");
    restore();
    let other = Made::with_key("host-1", Arc::clone(&made.key));
    let theirs = other.names();
    assert_eq!(
        segment::first_seq(&theirs[2]),
        Some(starts[2]),
        "made alike"
    );
    fs::remove_file(path(&names[2])).unwrap();
    fs::copy(other.dir().join(&theirs[2]), path(&theirs[2])).unwrap();
    assert_eq!(
        found(),
        Some(("link", Some(starts[2]))),
        "of another journal"
    );
    restore();
    // Two journals joined: the head of one, the tail of the other.
    for (mine, theirs) in names.iter().zip(&theirs).skip(3) {
        fs::remove_file(path(mine)).unwrap();
        fs::copy(other.dir().join(theirs), path(theirs)).unwrap();
    }
    assert_eq!(found(), Some(("link", Some(starts[3]))), "spliced");
    restore();
    // Segments joined into one file.
    let mut joined = fs::read(path(&names[1])).unwrap();
    joined.extend(fs::read(path(&names[2])).unwrap());
    fs::write(path(&names[1]), joined).unwrap();
    fs::remove_file(path(&names[2])).unwrap();
    assert_eq!(found(), Some(("header", Some(starts[2]))), "joined");
    restore();
    assert_eq!(found(), None);
}

#[test]
fn files_that_are_cut() {
    let made = Made::new("host-1");
    let names = made.names();
    let pristine = Forge::read(made.dir());
    let starts: Vec<u64> = names
        .iter()
        .filter_map(|name| segment::first_seq(name))
        .collect();
    let cut = |name: &str, bytes: usize| {
        let content = fs::read(made.dir().join(name)).unwrap();
        fs::write(made.dir().join(name), &content[..content.len() - bytes]).unwrap();
    };
    let found = || first(made.dir(), &made.options());
    let newest = names.last().unwrap();
    let last = made.last_seq();

    cut(newest, 10);
    assert_eq!(
        found(),
        Some(("cut", Some(last))),
        "in the middle of the last line"
    );
    pristine.write(made.dir());
    cut(&names[1], 10);
    assert_eq!(
        found(),
        Some(("cut", Some(starts[2] - 1))),
        "in the middle of a line"
    );
    pristine.write(made.dir());
    // At a line: the next segment tells; of the newest one only what it says of its end.
    let line_bytes = |at: usize| pristine.lines[at].text.len() + 1;
    cut(&names[1], line_bytes(starts[2] as usize - 2));
    assert_eq!(found(), Some(("missing", Some(starts[2] - 1))), "at a line");
    pristine.write(made.dir());
    cut(newest, line_bytes(last as usize - 1));
    let report = verify(made.dir(), &made.options()).unwrap();
    assert!(report.intact, "{report}");
    let tail = report.unsigned_tail.expect("told");
    assert_eq!(tail.to, last - 1);
    assert!(report.to_string().contains("cannot be told"), "{report}");
    pristine.write(made.dir());
    fs::write(made.dir().join(&names[2]), b"").unwrap();
    assert_eq!(found(), Some(("cut", Some(starts[2]))), "emptied");
    pristine.write(made.dir());

    // Compressed: cut anywhere, and any byte changed.
    made.compress(&names[1]);
    let path = made.dir().join(format!("{}.zst", names[1]));
    let content = fs::read(&path).unwrap();
    for at in (1..content.len()).step_by(97) {
        fs::write(&path, &content[..at]).unwrap();
        let found = found().expect("found");
        assert!(
            (starts[1]..starts[2]).contains(&found.1.unwrap()),
            "cut at {at}: {found:?}"
        );
        let mut changed = content.clone();
        changed[at] ^= 0x10;
        fs::write(&path, changed).unwrap();
        let found = first(made.dir(), &made.options()).expect("found");
        assert!(
            (starts[1]..starts[2]).contains(&found.1.unwrap()),
            "byte {at}: {found:?}"
        );
    }
}

#[test]
fn tombstones() {
    let made = Made::new("host-1");
    let old = made.retain(1);
    assert_eq!(first(made.dir(), &made.options()), None);
    let new = made.retain(2);
    let report = verify(made.dir(), &made.options()).unwrap();
    assert!(report.intact, "{report}");
    let removed = report.removed.unwrap();
    assert_eq!(
        (removed.from, removed.to + 1),
        (1, report.first_seq.unwrap())
    );
    assert!(new.last_seq > old.last_seq && new.segments == 3);

    let path = made.dir().join("tombstone.json");
    let put = |tombstone: &Tombstone| fs::write(&path, tombstone.to_text().unwrap()).unwrap();
    let found = || first(made.dir(), &made.options());
    let from = old.last_seq + 1;
    put(&old);
    assert_eq!(found(), Some(("missing", Some(from))), "an old one");
    fs::remove_file(&path).unwrap();
    assert_eq!(found(), Some(("missing", Some(1))), "none");
    put(&Tombstone {
        last_seq: new.last_seq,
        ..old.clone()
    });
    assert_eq!(found().unwrap().0, "tombstone", "forged");
    put(&Tombstone {
        segments: 9,
        ..new.clone()
    });
    assert_eq!(found().unwrap().0, "tombstone", "forged");
    let other = Made::new("host-1");
    put(&new.clone().signed(&other.key));
    assert_eq!(found().unwrap().0, "tombstone", "of another key");
    assert_eq!(
        first(made.dir(), &Options::default()).unwrap().0,
        "tombstone"
    );
    put(&Tombstone {
        last_hash: "00".repeat(32),
        ..new.clone()
    }
    .signed(&made.key));
    assert_eq!(
        found(),
        Some(("link", Some(new.last_seq + 1))),
        "of another journal"
    );
    fs::write(&path, "{}").unwrap();
    assert_eq!(found().unwrap().0, "tombstone");
    // A segment removed after it.
    put(&new);
    fs::remove_file(made.dir().join(&made.names()[0])).unwrap();
    assert_eq!(found(), Some(("missing", Some(new.last_seq + 1))));
}

#[test]
fn a_crash_and_what_was_changed_before_it() {
    let made = Made::new("host-1");
    made.crash(7);
    let forge = Forge::read(made.dir());
    let report = verify(made.dir(), &made.options()).unwrap();
    assert!(report.intact, "{report}");
    assert_eq!(report.unsigned_before_crashes_total, 1);
    let stretch = report.unsigned_before_crashes[0];
    let gap = forge.find("gap") as u64 + 1;
    assert_eq!(stretch.to, gap - 1);
    assert!(stretch.to - stretch.from >= 4, "{stretch:?}");
    // Changed by somebody who hashes anew, while the agent was down: only the stretch is told, as nothing can.
    assert!(
        report.to_string().contains("while the agent was down"),
        "{report}"
    );
    // Afterwards it is signed, by what the agent wrote when it came back.
    let mut changed = forge.clone();
    changed.replace(gap as usize - 2, "SELECT", "DELETE");
    changed.rehash();
    changed.write(made.dir());
    assert_eq!(first(made.dir(), &made.options()).unwrap().0, "signature");
}

#[test]
fn what_else_lies_there_is_named_and_not_followed() {
    let made = Made::new("host-1");
    let names = made.names();
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(made.dir().join("notes.txt"), "x").unwrap();
    fs::create_dir(made.dir().join("sinks")).unwrap();
    fs::write(
        made.dir()
            .join("torn-20261122T235959Z-00000000000000000042-7.bin"),
        "x",
    )
    .unwrap();
    let report = verify(made.dir(), &made.options()).unwrap();
    assert!(report.intact);
    assert!(
        report.notes.iter().any(|note| note.contains("notes.txt")),
        "{report}"
    );
    assert!(
        report.notes.iter().any(|note| note.contains("torn-")),
        "{report}"
    );
    assert!(!report.to_string().contains("sinks"));

    let content = fs::read(made.dir().join(&names[1])).unwrap();
    fs::write(outside.path(), content).unwrap();
    fs::remove_file(made.dir().join(&names[1])).unwrap();
    std::os::unix::fs::symlink(outside.path(), made.dir().join(&names[1])).unwrap();
    assert_eq!(first(made.dir(), &made.options()).unwrap().0, "file");
    fs::remove_file(made.dir().join(&names[1])).unwrap();
    fs::create_dir(made.dir().join(&names[1])).unwrap();
    assert_eq!(first(made.dir(), &made.options()).unwrap().0, "file");

    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(
        verify(empty.path(), &Options::default()),
        Err(VerifyError::NoSegments { .. })
    ));
    assert!(matches!(
        verify(Path::new("/nowhere"), &Options::default()),
        Err(VerifyError::Dir { .. })
    ));
}

#[test]
fn a_flood_of_breaks_is_counted() {
    let made = Made::new("host-1");
    let mut forge = Forge::read(made.dir());
    for line in &mut forge.lines {
        line.text = line.text.replace("SELECT", "DELETE");
    }
    forge.write(made.dir());
    let report = verify(made.dir(), &made.options()).unwrap();
    assert_eq!(report.breaks.len(), report::BREAKS_MAX);
    assert!(report.breaks_total > report::BREAKS_MAX as u64);
    assert!(report.to_string().contains("more places"));
    assert!(report.breaks.is_sorted_by_key(|found| found.seq));
}

use super::super::segment;
use super::super::tombstone::Tombstone;

/// They hide nothing, so they do not break the journal; but they are named.
#[test]
fn bad_indexes_are_named_and_the_journal_is_intact() {
    use super::super::index::{self, name};
    use super::super::segment;

    let made = Made::new("host-1");
    let names = made.names();
    let (_, complete) = names.split_last().unwrap();
    let build = |segment: &String, key: &PrivateKey| {
        index::build(made.dir(), segment, |message| key.sign(message)).unwrap();
    };
    complete
        .iter()
        .for_each(|segment| build(segment, &made.key));
    let report = verify(made.dir(), &made.options()).unwrap();
    assert!(report.intact && report.notes.is_empty(), "{report}");
    let all = complete.len() as u64;
    assert_eq!((report.indexes, report.indexes_bad), (all, 0));

    let path = |number: usize| made.dir().join(name(&complete[number]));
    let mut bytes = fs::read(path(0)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path(0), bytes).unwrap();
    let other_dir = tempfile::tempdir().unwrap();
    let stranger = PrivateKey::load_or_create(&other_dir.path().join("k")).unwrap();
    build(&complete[1], &stranger);
    fs::copy(path(3), path(2)).unwrap();
    fs::rename(path(3), made.dir().join(name(&segment::name(0, 1)))).unwrap();
    let report = verify(made.dir(), &made.options()).unwrap();
    assert!(report.intact, "{report}");
    assert_eq!((report.indexes, report.indexes_bad), (all - 4, 4));
    for (note, why) in [
        (0, "has not signed it"),
        (1, "has not signed it"),
        (2, "of another segment"),
        (3, "no segment it could be of"),
    ] {
        assert!(report.notes[note].contains(why), "{:#?}", report.notes);
    }
    assert!(report.to_string().contains(&name(&complete[0])), "{report}");
    // More than are told one by one; and removed, nothing is said.
    complete
        .iter()
        .for_each(|segment| build(segment, &stranger));
    let report = verify(made.dir(), &made.options()).unwrap();
    assert!(report.intact && report.notes.len() <= 11, "{report}");
    assert_eq!(report.indexes_bad, all + 1);
    for file in fs::read_dir(made.dir()).unwrap().flatten() {
        if file.path().extension().is_some_and(|end| end == "idx") {
            fs::remove_file(file.path()).unwrap();
        }
    }
    let report = verify(made.dir(), &made.options()).unwrap();
    assert!(report.intact && report.notes.is_empty(), "{report}");
}
