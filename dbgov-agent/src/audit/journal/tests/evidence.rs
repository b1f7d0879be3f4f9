//! Headers and checkpoints: when they are written, and which segment a start goes on in.

use super::*;

fn key() -> Arc<PrivateKey> {
    let dir = tempfile::tempdir().unwrap();
    Arc::new(PrivateKey::load_or_create(&dir.path().join("k")).unwrap())
}

fn signing(disk: &Disk, key: &Arc<PrivateKey>) -> (Journal<Disk>, Vec<Record>) {
    let config = JournalConfig {
        key: Some(Arc::clone(key)),
        checkpoint_records: 5,
        flush_records_max: 1,
        ..config()
    };
    Journal::open_in(disk.clone(), config).unwrap()
}

/// Kinds, and of checkpoints their reason, in short.
fn shape(disk: &Disk) -> Vec<String> {
    let word = |line: Value| {
        let reason = line["checkpoint"]["reason"].as_str().map(str::to_owned);
        reason.unwrap_or_else(|| match line["kind"].as_str().unwrap() {
            "segment" => "header".to_owned(),
            "statement" => "s".to_owned(),
            kind => kind.to_owned(),
        })
    };
    lines(disk).into_iter().map(word).collect()
}

fn append(journal: &mut Journal<Disk>, statements: u32) {
    (0..statements).for_each(|n| journal.append(&samples::statement(&n.to_string())));
}

#[test]
fn signed_at_the_start_by_number_by_time_and_at_the_stop() {
    let (disk, key) = (Disk::new(ROOMY_BYTES), key());
    let (mut journal, _) = signing(&disk, &key);
    let start = Instant::now();
    journal.tick(start);
    journal.append(&Record::new(Kind::AgentStart, 0));
    append(&mut journal, 6);
    assert_eq!(journal.next_tick(), Some(start + SYNC_INTERVAL));
    journal.tick(start + SYNC_INTERVAL);
    assert_eq!(journal.next_tick(), Some(start + CHECKPOINT_INTERVAL));
    journal.tick(start + CHECKPOINT_INTERVAL);
    journal.tick(start + CHECKPOINT_INTERVAL + SYNC_INTERVAL);
    journal.tick(start + CHECKPOINT_INTERVAL + SYNC_INTERVAL * 2);
    assert_eq!(journal.next_tick(), None, "nothing new, nothing to sign");
    append(&mut journal, 1);
    journal.append(&stop());
    // What comes behind, as the keeper's records may, changes nothing about it.
    journal.append(&Record::new(Kind::Retention, 0));
    journal.close();
    let expected = "header agent_start start s s s s s records s time s agent_stop retention stop";
    assert_eq!(shape(&disk).join(" "), expected);
    let (journal, notes) = signing(&disk, &key);
    assert!(notes.is_empty(), "in good order");
    drop(journal.close());
    assert_eq!(shape(&disk).last().unwrap(), "stop", "nothing to sign");
}

#[test]
fn a_stop_that_is_not_signed_is_a_crash() {
    let (disk, key) = (Disk::new(ROOMY_BYTES), key());
    let (mut journal, _) = signing(&disk, &key);
    append(&mut journal, 1);
    journal.append(&stop());
    drop(journal);
    assert_eq!(shape(&disk), ["header", "s", "agent_stop"]);
    assert_eq!(signing(&disk, &key).1.len(), 1);
}

#[test]
fn another_key_begins_another_segment() {
    let (disk, one, other) = (Disk::new(ROOMY_BYTES), key(), key());
    for (key, count) in [(&one, 1), (&one, 1), (&other, 2), (&other, 2), (&one, 3)] {
        let (mut journal, notes) = signing(&disk, key);
        assert!(notes.is_empty());
        append(&mut journal, 1);
        journal.append(&stop());
        journal.close();
        assert_eq!(segments(&disk).len(), count);
    }
    let headers: Vec<Value> = lines(&disk)
        .into_iter()
        .filter(|line| line["kind"] == "segment")
        .collect();
    let ids: Vec<&str> = headers
        .iter()
        .map(|line| line["segment"]["key"].as_str().unwrap())
        .collect();
    let (one, other) = (one.public().id(), other.public().id());
    assert_eq!(ids, [one, other, one]);
}

#[test]
fn a_journal_of_a_dbgov_that_did_not_sign_goes_on_in_a_new_segment() {
    let disk = disk_with(&["one"]);
    let (mut journal, notes) = signing(&disk, &key());
    assert!(notes.is_empty(), "it was stopped in good order");
    append(&mut journal, 1);
    journal.close();
    assert_eq!(segments(&disk).len(), 2);
    assert_eq!(shape(&disk), ["s", "agent_stop", "header", "s", "close"]);
}

#[test]
fn a_segment_that_ends_with_a_crashed_run_is_signed_by_the_next() {
    let (disk, key) = (Disk::new(ROOMY_BYTES), key());
    let (mut journal, _) = signing(&disk, &key);
    append(&mut journal, 2);
    drop(journal);
    let config = JournalConfig {
        key: Some(Arc::clone(&key)),
        segment_bytes_max: 1,
        ..config()
    };
    let (mut journal, notes) = Journal::open_in(disk.clone(), config).unwrap();
    journal.append(&notes[0]);
    journal.close();
    assert_eq!(segments(&disk).len(), 2);
    assert_eq!(
        shape(&disk),
        ["header", "s", "s", "recovery", "header", "gap", "close"]
    );
}

#[test]
fn a_full_disk_takes_no_signature_for_a_record_that_is_dropped() {
    let (disk, key) = (Disk::new(ROOMY_BYTES), key());
    let config = JournalConfig {
        key: Some(Arc::clone(&key)),
        checkpoint_records: 3,
        flush_records_max: 1,
        pending_bytes_max: 8000,
        ..config()
    };
    let (mut journal, _) = Journal::open_in(disk.clone(), config).unwrap();
    let start = Instant::now();
    journal.tick(start);
    append(&mut journal, 1);
    disk.state().free_bytes = 0;
    append(&mut journal, 30);
    assert!(journal.stats().dropped > 5);
    journal.tick(start + CHECKPOINT_INTERVAL * 2);
    disk.state().free_bytes = ROOMY_BYTES;
    journal.tick(start + CHECKPOINT_INTERVAL * 4);
    append(&mut journal, 4);
    journal.append(&stop());
    let stats = journal.close();
    let shape = shape(&disk);
    let kept = shape.iter().filter(|word| *word == "s").count() as u64;
    assert_eq!(kept + stats.dropped, 35);
    assert_eq!(shape.last().unwrap(), "stop");
    // Never more than three without a signature, also while the disk refused.
    let is_signature = |word: &String| ["records", "time", "stop"].contains(&word.as_str());
    for stretch in shape.split(is_signature) {
        assert!(
            stretch.iter().filter(|word| *word == "s").count() <= 3,
            "{shape:?}"
        );
    }
}
