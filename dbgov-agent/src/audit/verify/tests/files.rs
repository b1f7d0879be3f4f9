//! Whole segments taken away, cut and exchanged, what says that some were removed, and what else may lie there.

use super::*;

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
