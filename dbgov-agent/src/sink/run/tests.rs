mod disk;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::Path;

use super::*;
use crate::audit::journal::{Journal, JournalConfig};
use crate::audit::samples;
use crate::sink::stop;

/// A receiver that answers as told, and then takes everything.
#[derive(Default)]
struct Receiver {
    answers: RefCell<VecDeque<Answer>>,
    /// In order, repetitions too.
    took: Vec<u64>,
    bodies: Vec<Vec<u8>>,
    batches: Vec<usize>,
    /// Batches between two confirmations; 0: each is confirmed.
    unconfirmed_max: usize,
    unconfirmed: usize,
}

enum Answer {
    Take,
    /// Takes it, and says it did not.
    TakeAndFail,
    Fail,
    Hang,
    Refuse(Vec<usize>),
    Panic,
}

impl Receiver {
    fn answering(answers: impl IntoIterator<Item = Answer>) -> Self {
        Receiver {
            answers: RefCell::new(answers.into_iter().collect()),
            ..Receiver::default()
        }
    }

    fn take(&mut self, batch: &[Item]) {
        self.batches.push(batch.len());
        self.took.extend(batch.iter().map(|item| item.seq));
        self.bodies
            .extend(batch.iter().map(|item| item.body.clone()));
        self.unconfirmed += 1;
    }
}

impl Deliver for Receiver {
    async fn deliver(&mut self, batch: &[Item]) -> Result<(), DeliverError> {
        assert!(!batch.is_empty());
        let answer = self.answers.borrow_mut().pop_front();
        match answer {
            None | Some(Answer::Take) => self.take(batch),
            Some(Answer::Fail) => return Err(DeliverError::retry("away")),
            Some(Answer::TakeAndFail) => {
                self.take(batch);
                return Err(DeliverError::retry("the answer was lost"));
            }
            Some(Answer::Hang) => sleep(Duration::from_secs(3600)).await,
            Some(Answer::Refuse(places)) => {
                self.take(batch);
                let what = "mapping".to_owned();
                return Err(DeliverError::Refused { what, places });
            }
            Some(Answer::Panic) => panic!("as told"),
        }
        Ok(())
    }

    async fn confirm(&mut self, now: bool) -> Result<bool, DeliverError> {
        let confirms = now || self.unconfirmed >= self.unconfirmed_max;
        if confirms {
            self.unconfirmed = 0;
        }
        Ok(confirms)
    }
}

/// A journal of numbered statements in small segments.
fn journal(dir: &Path, records: std::ops::Range<u32>) -> Durable {
    let config = JournalConfig {
        segment_bytes_max: 20_000,
        ..JournalConfig::new(dir, "n")
    };
    let (mut journal, _) = Journal::open(config).unwrap();
    let durable = journal.durable();
    for number in records {
        journal.append(&samples::statement(&format!("SELECT {number}")));
    }
    journal.close();
    durable
}

fn job(dir: &Path, keys: &str) -> Job {
    let text = format!("[[sink]]\nname = \"siem\"\ntype = \"stdout\"\ntimeout_ms = 500\n{keys}");
    let config = crate::config::Config::parse(&text, Path::new("dbgov.toml")).unwrap();
    let (stopper, stop) = stop::pair();
    // The tests that stop a sink make their own.
    std::mem::forget(stopper);
    Job {
        config: config.sinks[0].clone(),
        audit_dir: dir.to_owned(),
        node: "n".to_owned(),
        durable: Durable::whole(),
        board: Board::new("siem", "stdout"),
        stop,
        once: true,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}

fn play(job: &Job, receiver: &mut Receiver) {
    runtime().block_on(async {
        timeout(Duration::from_secs(30), run(job, receiver))
            .await
            .expect("it ends");
    });
}

fn cursor(job: &Job) -> u64 {
    let place = Place::new(&job.audit_dir, &job.config.name);
    Cursor::load(&place).unwrap().map_or(0, |cursor| cursor.seq)
}

fn shown(job: &Job) -> crate::sink::SinkStatus {
    job.board.shown(&job.durable)
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    range.collect()
}

#[test]
fn all_records_once_in_order_in_batches() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 0..100);
    let job = job(dir.path(), "batch_records_max = 30");
    let mut receiver = Receiver::default();
    play(&job, &mut receiver);
    assert_eq!(receiver.took, numbers(1..=100));
    assert_eq!(receiver.batches, [30, 30, 30, 10]);
    assert_eq!(cursor(&job), 100);
    let status = shown(&job);
    assert_eq!(
        (status.delivered, status.delivered_seq, status.retries),
        (100, 100, 0)
    );
    // The lines are those of the journal.
    let line: serde_json::Value = serde_json::from_slice(&receiver.bodies[41]).unwrap();
    assert_eq!(line["statement"]["text"], "SELECT 41");

    // From the cursor on, over a restart of the journal's writer.
    journal(dir.path(), 100..103);
    let mut receiver = Receiver::default();
    play(&job, &mut receiver);
    let end = shown(&job).delivered_seq;
    assert_eq!(receiver.took, numbers(101..=end));
    assert!(end >= 103);
}

#[test]
fn batches_are_bounded_in_bytes_and_a_long_record_goes_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(JournalConfig::new(dir.path(), "n")).unwrap();
    for bytes in [1, 1, 10_000, 1, 1] {
        journal.append(&samples::statement(&"x".repeat(bytes)));
    }
    journal.close();
    let mut receiver = Receiver::default();
    play(&job(dir.path(), "batch_bytes_max = 5000"), &mut receiver);
    assert_eq!(receiver.batches, [2, 1, 2]);
    assert_eq!(receiver.took, numbers(1..=5));
}

#[test]
fn a_receiver_that_fails_or_hangs_gets_everything_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 0..50);
    let job = job(dir.path(), "batch_records_max = 20");
    use Answer::*;
    let mut receiver = Receiver::answering([Take, Fail, Hang, TakeAndFail, Fail]);
    play(&job, &mut receiver);
    let mut once = receiver.took.clone();
    once.dedup();
    assert_eq!(
        receiver.batches,
        [20, 20, 20, 10],
        "the one without an answer came twice"
    );
    assert_eq!(receiver.took[20..40], receiver.took[40..60]);
    once.sort_unstable();
    once.dedup();
    assert_eq!(once, numbers(1..=50));
    let status = shown(&job);
    assert_eq!(status.retries, 4);
    assert_eq!(status.last_error.as_deref(), Some("away"));
    assert_eq!(cursor(&job), 50);
}

#[test]
fn what_was_not_confirmed_is_delivered_again() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 0..100);
    let job = job(dir.path(), "batch_records_max = 10");
    use Answer::*;
    let mut receiver = Receiver {
        unconfirmed_max: 3,
        // Three are confirmed; of the next three the third fails.
        ..Receiver::answering([Take, Take, Take, Take, Take, Fail])
    };
    play(&job, &mut receiver);
    let expected: Vec<u64> = (1..=50).chain(31..=100).collect();
    assert_eq!(receiver.took, expected);
    assert_eq!(cursor(&job), 100);
}

#[test]
fn a_receiver_that_takes_and_never_confirms_is_asked_ever_more_seldom() {
    struct Silent(Vec<Instant>);
    impl Deliver for Silent {
        async fn deliver(&mut self, _batch: &[Item]) -> Result<(), DeliverError> {
            self.0.push(Instant::now());
            Ok(())
        }
        async fn confirm(&mut self, _now: bool) -> Result<bool, DeliverError> {
            Err(DeliverError::retry("it reads nothing"))
        }
    }
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 0..5);
    let mut job = job(dir.path(), "");
    job.once = false;
    let mut receiver = Silent(Vec::new());
    runtime().block_on(async {
        let ends = timeout(Duration::from_secs(3), run(&job, &mut receiver)).await;
        assert!(ends.is_err());
    });
    // After 0.25, 0.5, 1 and 2 seconds, or half of that.
    let attempts = receiver.0.len();
    assert!((2..=5).contains(&attempts), "{attempts} attempts");
    assert_eq!(
        (shown(&job).state, shown(&job).delivered_seq),
        (State::Retrying, 0)
    );
}

#[test]
fn refused_records_are_kept_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 0..30);
    let job = job(dir.path(), "batch_records_max = 10");
    let mut receiver = Receiver::answering([Answer::Take, Answer::Refuse(vec![2, 9, 77])]);
    play(&job, &mut receiver);
    assert_eq!(receiver.took, numbers(1..=30));
    assert_eq!(shown(&job).refused, 2);
    let text = std::fs::read_to_string(dir.path().join("sinks/siem.refused.jsonl")).unwrap();
    let refused: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(refused.len(), 2);
    assert_eq!(
        (&refused[0]["seq"], &refused[1]["seq"]),
        (&13.into(), &20.into())
    );
    let body: serde_json::Value =
        serde_json::from_str(refused[0]["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["chain"]["hash"], refused[0]["id"]);
}

#[test]
fn records_that_are_not_for_a_sink_are_behind_it_too() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 0..40);
    let job = job(dir.path(), "filter = { kinds = [\"gap\"] }");
    let mut receiver = Receiver::default();
    play(&job, &mut receiver);
    assert!(receiver.took.is_empty());
    assert_eq!(cursor(&job), 40);
}

#[test]
fn only_what_is_safe_from_a_power_loss_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let config = JournalConfig {
        flush_records_max: 1,
        ..JournalConfig::new(dir.path(), "n")
    };
    let (mut journal, _) = Journal::open(config).unwrap();
    let mut job = job(dir.path(), "");
    job.durable = journal.durable();
    let mut receiver = Receiver::default();
    for number in 0..5 {
        journal.append(&samples::statement(&number.to_string()));
    }
    play(&job, &mut receiver);
    assert!(receiver.took.is_empty(), "written, but not synced");
    journal.tick(std::time::Instant::now());
    journal.tick(std::time::Instant::now() + Duration::from_secs(2));
    play(&job, &mut receiver);
    assert_eq!(receiver.took, numbers(1..=5));
}

#[test]
fn another_journal_in_the_place_of_the_one_that_was_read() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 0..20);
    let job = job(dir.path(), "");
    play(&job, &mut Receiver::default());
    for other in [0..30u32, 0..5] {
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::remove_file(path).unwrap();
            }
        }
        let records = u64::from(other.end) + 1;
        let (mut journal, _) = Journal::open(JournalConfig::new(dir.path(), "other")).unwrap();
        journal.append(&samples::statement("another"));
        other.for_each(|number| journal.append(&samples::statement(&number.to_string())));
        journal.close();
        let before = shown(&job).journal_replaced;
        let mut receiver = Receiver::default();
        play(&job, &mut receiver);
        assert_eq!(receiver.took, numbers(1..=records));
        assert_eq!(shown(&job).journal_replaced, before + 1);
    }
}

#[test]
fn records_that_are_gone_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 0..30);
    let job = job(dir.path(), "");
    play(&job, &mut Receiver::default());
    journal(dir.path(), 30..200);
    let newest = |dir: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter(|name| name.starts_with("audit-"))
            .collect();
        names.sort_by_key(|name| crate::audit::segment::first_seq(name));
        names
    };
    let names = newest(dir.path());
    let kept = &names[names.len() - 1];
    let first = crate::audit::segment::first_seq(kept).unwrap();
    for name in &names[..names.len() - 1] {
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    let before = cursor(&job);
    let mut receiver = Receiver::default();
    play(&job, &mut receiver);
    assert_eq!(receiver.took.first(), Some(&first));
    let status = shown(&job);
    assert_eq!(
        (status.skipped, status.journal_replaced),
        (first - before - 1, 0)
    );
}

#[test]
fn the_newest_are_those_to_come() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 0..20);
    let job = job(dir.path(), "start = \"newest\"");
    let mut receiver = Receiver::default();
    play(&job, &mut receiver);
    assert!(receiver.took.is_empty());
    assert_eq!(
        cursor(&job),
        20,
        "the place is kept from the first start on"
    );
    journal(dir.path(), 20..25);
    play(&job, &mut receiver);
    assert_eq!(receiver.took.first(), Some(&21));
}

#[test]
fn a_cursor_that_cannot_be_read_means_from_the_beginning() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 0..20);
    let job = job(dir.path(), "");
    play(&job, &mut Receiver::default());
    let place = Place::new(dir.path(), &job.config.name);
    std::fs::write(place.file("cursor"), "{").unwrap();
    let mut receiver = Receiver::default();
    play(&job, &mut receiver);
    assert_eq!(receiver.took, numbers(1..=20));
}

#[test]
fn a_line_that_is_no_record_is_kept_and_does_not_stop_the_others() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 0..3);
    let segment = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .unwrap();
    let text = std::fs::read_to_string(&segment).unwrap();
    std::fs::write(
        &segment,
        text.replacen("\"kind\":\"statement\"", "\"kind\":5", 2)
            .replacen("\"kind\":5", "\"kind\":\"statement\"", 1),
    )
    .unwrap();
    let job = job(dir.path(), "");
    let mut receiver = Receiver::default();
    play(&job, &mut receiver);
    assert_eq!(receiver.took, [1, 3]);
    assert_eq!(shown(&job).refused, 1);
    assert!(dir.path().join("sinks/siem.refused.jsonl").exists());
}

#[test]
fn at_the_end_what_is_there_is_delivered_within_the_time() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 0..50);
    for hangs in [false, true] {
        let (stopper, stop) = stop::pair();
        let mut job = job(dir.path(), "batch_records_max = 10");
        job.once = false;
        job.stop = stop;
        let mut receiver = match hangs {
            false => Receiver::default(),
            true => Receiver::answering([Answer::Take, Answer::Hang]),
        };
        receiver.unconfirmed_max = usize::from(!hangs) * 1000;
        runtime().block_on(async {
            stopper.stop(Duration::from_millis(300));
            let begun = Instant::now();
            run(&job, &mut receiver).await;
            assert!(
                begun.elapsed() <= Duration::from_secs(3),
                "{:?}",
                begun.elapsed()
            );
        });
        let expected = if hangs { 10 } else { 50 };
        assert_eq!(receiver.took.len(), expected);
        assert_eq!(cursor(&job), expected as u64);
        assert_eq!(shown(&job).state, State::Stopped);
        std::fs::remove_file(dir.path().join("sinks/siem.cursor")).unwrap();
    }
}

#[test]
fn a_receiver_made_of_a_fault_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 0..10);
    let job = job(dir.path(), "");
    let mut receiver = Receiver::answering([Answer::Panic]);
    let ended =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(&job, &mut receiver)));
    assert!(ended.is_err());
    play(&job, &mut receiver);
    assert_eq!(receiver.took, numbers(1..=10));
}
