//! Records and lines changed, removed, inserted and moved, by somebody who cannot hash.

use super::*;

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
