//! Messages told when they are complete: where they stand in the stream, and what they may run.

use super::{
    Step, bind, complete, error, execute, feed, login, message, parse, query, ready, session, sync,
};
use crate::protocol::postgres::{Decoder, Joined, Limits};
use crate::protocol::{Direction, Event, Request};

fn decoder() -> Decoder {
    let limits = Limits {
        tell_requests: true,
        ..Limits::default()
    };
    Decoder::new(Joined::Start, limits)
}

/// The requests of a session, its client's bytes, in pieces of this size.
fn requests(steps: Vec<Step>, piece_bytes: usize) -> (Vec<Request>, Vec<u8>) {
    let (mut decoder, mut out, mut stream) = (decoder(), Vec::new(), Vec::new());
    for (at, step) in steps.iter().enumerate() {
        if let Step::Client(bytes) = step {
            stream.extend_from_slice(bytes);
        }
        feed(&mut decoder, at as u64, step, piece_bytes, &mut out);
    }
    assert_eq!(decoder.request_position(), stream.len() as u64);
    assert_eq!(decoder.request_message_at(), stream.len() as u64);
    let told = out.into_iter().filter_map(|event| match event {
        Event::Request(request) => Some(*request),
        _ => None,
    });
    (told.collect(), stream)
}

/// `via: text|text` and `?` where something unseen may be meant.
fn line(request: &Request) -> String {
    let texts: Vec<&str> = request.texts.iter().map(|text| &*text.text).collect();
    let unseen = if request.unseen { "?" } else { "" };
    format!("{}: {}{unseen}", request.via.name(), texts.join("|"))
}

fn lines(steps: Vec<Step>) -> Vec<String> {
    requests(steps, usize::MAX).0.iter().map(line).collect()
}

#[test]
fn a_request_says_where_its_message_and_its_text_stand() {
    let steps = session(vec![Step::Client(
        [parse("s1", "select $1", &[]), query("drop table t")].concat(),
    )]);
    for piece_bytes in [usize::MAX, 1, 3] {
        let (told, stream) = requests(steps.clone(), piece_bytes);
        let wanted = [parse("s1", "select $1", &[]), query("drop table t")];
        for (request, message) in told.iter().zip(&wanted) {
            assert_eq!(
                &stream[request.start as usize..request.end as usize],
                message
            );
            let at = request.text_at.unwrap() as usize;
            let text = &request.texts[0];
            assert_eq!(&stream[at..at + text.bytes as usize], text.text.as_bytes());
        }
        assert_eq!(told.len(), 2);
        assert!(told[0].number < told[1].number);
    }
}

#[test]
fn a_message_is_told_with_its_last_byte_and_not_before() {
    let (mut decoder, mut out) = (decoder(), Vec::new());
    for step in login() {
        feed(&mut decoder, 0, &step, usize::MAX, &mut out);
    }
    out.clear();
    let bytes = query("drop table t");
    let begin = decoder.request_position();
    decoder.data(Direction::Request, 1, &bytes[..bytes.len() - 1], &mut out);
    assert_eq!(out, []);
    assert_eq!(decoder.request_message_at(), begin);
    decoder.data(Direction::Request, 2, &bytes[bytes.len() - 1..], &mut out);
    assert!(matches!(&out[..], [Event::Request(request)] if request.at == 2));
}

#[test]
fn an_execute_is_told_with_the_text_of_its_parse_before_any_answer() {
    let pipeline = [
        parse("", "delete from t", &[]),
        bind("", "", &[], &[]),
        execute("", 0),
        sync(),
    ];
    assert_eq!(
        lines(session(vec![Step::Client(pipeline.concat())])),
        ["prepare: delete from t", "execute: delete from t"]
    );
}

#[test]
fn within_a_segment_the_last_definition_counts() {
    let pipeline = [
        parse("", "delete from t", &[]),
        parse("", "select 1", &[]),
        bind("", "", &[], &[]),
        execute("", 0),
        sync(),
    ];
    assert_eq!(
        lines(session(vec![Step::Client(pipeline.concat())]))
            .last()
            .unwrap(),
        "execute: select 1"
    );
}

/// The Parse of a name that is taken fails: before its answer is there the Execute may run either text.
#[test]
fn over_an_outstanding_sync_both_definitions_are_possible() {
    let first = [parse("s", "delete from t", &[]), sync()].concat();
    let again = [
        parse("s", "select 1", &[]),
        sync(),
        bind("", "s", &[], &[]),
        execute("", 0),
        sync(),
    ];
    let answered = [message(b'1', b""), ready(b'I')].concat();
    assert_eq!(
        lines(session(vec![
            Step::Client(first.clone()),
            Step::Server(answered.clone()),
            Step::Client(again.concat()),
        ]))
        .last()
        .unwrap(),
        "execute: select 1|delete from t"
    );
    // Once it is answered, the server's word counts.
    let refused = [error("ERROR", "42P05", "exists"), ready(b'I')].concat();
    assert_eq!(
        lines(session(vec![
            Step::Client(first),
            Step::Server(answered),
            Step::Client(again[..2].concat()),
            Step::Server(refused),
            Step::Client(again[2..].concat()),
        ]))
        .last()
        .unwrap(),
        "execute: delete from t"
    );
}

#[test]
fn a_name_prepared_in_sql_stands_for_its_text() {
    let run = [bind("", "p", &[], &[]), execute("", 0), sync()].concat();
    let prepare = "prepare p as delete from t";
    assert_eq!(
        lines(session(vec![
            Step::Client(query(prepare)),
            Step::Client(run.clone()),
        ]))
        .last()
        .unwrap(),
        "execute: prepare p as delete from t"
    );
    assert_eq!(
        lines(session(vec![
            Step::Client(query(prepare)),
            Step::Server([complete("PREPARE"), ready(b'I')].concat()),
            Step::Client(run.clone()),
        ]))
        .last()
        .unwrap(),
        "execute: prepare p as delete from t"
    );
    assert_eq!(
        lines(session(vec![Step::Client(run)])).last().unwrap(),
        "execute: ?"
    );
}

#[test]
fn a_long_pipeline_of_definitions_becomes_uncertain_not_wrong() {
    let mut pipeline = vec![parse("s", "delete from t", &[]), sync()];
    for n in 0..300 {
        pipeline.extend([parse(&format!("x{n}"), "select 1", &[]), sync()]);
    }
    pipeline.extend([bind("", "s", &[], &[]), execute("", 0), sync()]);
    let told = lines(session(vec![Step::Client(pipeline.concat())]));
    assert_eq!(told.last().unwrap(), "execute: ?");
}
