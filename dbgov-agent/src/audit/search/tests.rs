//! What is found, in which order, how much is read for it, and what damage does.

mod journal;
mod questions;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use super::super::key::PrivateKey;
use super::*;
use journal::{Journal, RECORDS_PER_SEGMENT, SEGMENTS};
use questions::{naive, questions, texts};

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
