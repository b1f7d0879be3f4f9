//! A disk that does not take what the sink keeps there.

use super::*;

#[test]
fn refused_records_that_cannot_be_kept_hold_the_sink_up() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 0..30);
    let job = job(dir.path(), "batch_records_max = 10");
    let place = Place::new(dir.path(), &job.config.name);
    // A directory in its place: it cannot be opened.
    std::fs::create_dir_all(place.file("refused.jsonl")).unwrap();
    let mut receiver = Receiver::answering([Answer::Take, Answer::Refuse(vec![0])]);
    runtime().block_on(async {
        let ends = timeout(Duration::from_secs(1), run(&job, &mut receiver)).await;
        assert!(ends.is_err(), "it goes on without the record");
    });
    assert_eq!(receiver.took, numbers(1..=20));
    let status = shown(&job);
    assert_eq!((status.state, status.delivered_seq), (State::Blocked, 10));
    std::fs::remove_dir(place.file("refused.jsonl")).unwrap();
    play(&job, &mut receiver);
    assert_eq!(receiver.took[20..], numbers(11..=30));
}

#[test]
fn a_cursor_that_cannot_be_written_holds_nothing_up_and_is_told_as_long_as_it_cannot() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 0..30);
    let mut job = job(dir.path(), "batch_records_max = 10");
    job.once = false;
    let place = Place::new(dir.path(), &job.config.name);
    let in_its_place = place.file("cursor.new");
    std::fs::create_dir_all(&in_its_place).unwrap();
    let mut receiver = Receiver::default();
    runtime().block_on(async {
        let watch = async {
            sleep(SAVE_INTERVAL / 2).await;
            let status = shown(&job);
            assert_eq!((status.state, status.delivered_seq), (State::Blocked, 30));
            assert_eq!(cursor(&job), 0);
            std::fs::remove_dir(&in_its_place).unwrap();
            // No record comes that would tell that it works again.
            sleep(SAVE_INTERVAL * 2).await;
            assert_eq!(shown(&job).state, State::Delivering);
        };
        tokio::select! {
            () = run(&job, &mut receiver) => panic!("it goes on"),
            () = watch => {}
        }
    });
    assert_eq!(cursor(&job), 30);
    assert_eq!(receiver.took, numbers(1..=30));
}
