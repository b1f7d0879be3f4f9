//! Start-up, lost bytes and sessions older than the agent.

use super::*;
use crate::protocol::{GapCause, Opaque};

fn told(steps: &[Step]) -> (Vec<String>, Decoder) {
    let mut decoder = decoder();
    let mut out = Vec::new();
    for step in steps {
        feed(&mut decoder, 1, step, usize::MAX, &mut out);
    }
    (lines(&out), decoder)
}

const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

#[test]
fn encryption() {
    let ask = |code| Step::Client(startup_packet(code, b""));
    for (code, answer, opaque) in [(SSL, b"S", Opaque::Tls), (GSS, b"G", Opaque::Gss)] {
        let garbage = Step::Client(vec![0xff; 100]);
        let (found, decoder) = told(&[ask(code), Step::Server(answer.to_vec()), garbage]);
        assert_eq!(decoder.facts().opaque, Some(opaque));
        assert!(found.is_empty() && decoder.is_opaque());
    }
    let (_, decoder) = told(&[Step::Client(vec![0x16, 3, 1, 2, 0, 1])]);
    assert_eq!(decoder.facts().opaque, Some(Opaque::Tls));

    let mut refused = vec![ask(GSS), Step::Server(b"N".to_vec()), ask(SSL)];
    refused.push(Step::Server(b"N".to_vec()));
    refused.extend(login());
    let (found, decoder) = told(&refused);
    assert_eq!(found, ["authenticated"]);
    assert_eq!(decoder.facts().user.as_deref(), Some("app"));

    let (found, _) = told(&[ask(SSL), Step::Server(error("FATAL", "53300", "too many"))]);
    assert_eq!(found, ["session error 53300 too many"]);
    let (found, _) = told(&[ask(SSL), Step::Server(b"X".to_vec())]);
    assert_eq!(
        found,
        ["bad Response: invalid answer to the encryption request"]
    );
}

/// A client may send its first messages before the server is ready for them.
#[test]
fn statements_sent_with_the_startup() {
    let steps = [
        client(&[
            startup(&[("user", "a")]),
            query("one"),
            query("two"),
            query("three"),
        ]),
        server(&[message(b'R', &[0, 0, 0, 0]), ready(b'I')]),
        server(&[complete("SELECT 1"), ready(b'I')]),
        server(&[error("ERROR", "42P01", "no t"), ready(b'I')]),
        server(&[complete("SELECT 3"), ready(b'I')]),
    ];
    let (found, _) = told(&steps);
    assert_eq!(
        found,
        [
            "authenticated",
            r#"simple ok 'one' rows=1 ["SELECT 1"]"#,
            "simple error 'two' 42P01",
            r#"simple ok 'three' rows=3 ["SELECT 3"]"#,
        ]
    );
    let (found, _) = told(&[
        client(&[startup(&[("user", "a")]), query("one")]),
        server(&[error("FATAL", "28000", "who?")]),
    ]);
    assert_eq!(found, ["session error 28000 who?", "simple none 'one'"]);
}

#[test]
fn startup_packets() {
    let (_, decoder) = told(&[Step::Client(startup(&[
        ("user", "a"),
        ("user", "b"),
        ("options", "-c application_name=o"),
        ("replication", "database"),
    ]))]);
    let facts = decoder.facts();
    assert_eq!(facts.user.as_deref(), Some("b"));
    assert_eq!(facts.database.as_deref(), Some("b"));
    assert_eq!(facts.application.as_deref(), Some("o"));
    assert!(facts.replication);

    let (found, decoder) = told(&[
        Step::Client(startup_packet(0x0003_0002, b"user\0a\0\0")),
        Step::Server(message(b'v', &[0, 3, 0, 0, 0, 0, 0, 0])),
        Step::Server(error("FATAL", "28P01", "password")),
    ]);
    assert_eq!(found, ["session error 28P01 password"]);
    assert_eq!(decoder.facts().protocol_version, Some((3, 0)));

    for key in [4, 32, 256] {
        let body = [&[0, 0, 1, 1][..], &vec![9; key]].concat();
        let (found, decoder) = told(&[Step::Client(startup_packet(80_877_102, &body))]);
        assert_eq!(found, ["cancel 257"]);
        assert!(decoder.is_finished());
    }
    let (found, _) = told(&[Step::Client(startup_packet(0x0002_0000, b"user\0"))]);
    assert_eq!(found, ["bad Request: unsupported protocol version"]);
    let (found, _) = told(&[Step::Client(b"GET / HTTP/1.1\r\n".to_vec())]);
    assert_eq!(found, ["bad Request: start-up packet of invalid length"]);
}

#[test]
fn replication_is_told() {
    let mut steps = vec![Step::Client(startup(&[
        ("user", "r"),
        ("replication", "true"),
    ]))];
    steps.push(server(&[ready(b'I')]));
    steps.push(client(&[query("IDENTIFY_SYSTEM")]));
    steps.push(server(&[rows(1), complete("IDENTIFY_SYSTEM"), ready(b'I')]));
    let expected = r#"replication ok 'IDENTIFY_SYSTEM' ["IDENTIFY_SYSTEM"]"#;
    assert_eq!(told(&steps).0, ["authenticated", expected]);
}

fn done(text: &str) -> Vec<Step> {
    vec![
        client(&[query(text)]),
        server(&[complete("SELECT 1"), ready(b'I')]),
    ]
}

fn feed_all(decoder: &mut Decoder, steps: &[Step], out: &mut Vec<Event>) {
    for step in steps {
        feed(decoder, 1, step, usize::MAX, out);
    }
}

#[test]
fn midstream() {
    let mut decoder = Decoder::new(Joined::Midstream, Limits::default());
    let out = &mut Vec::new();
    let tail = &query("seen in part only")[9..];
    decoder.data(Direction::Request, 1, tail, out);
    decoder.data(Direction::Response, 1, b"rows", out);
    assert!(!decoder.request_in_step() && !decoder.response_in_step());
    decoder.response_boundary(1, out);
    decoder.data(
        Direction::Response,
        1,
        &[complete("SELECT 1"), ready(b'I')].concat(),
        out,
    );
    let run = [bind("", "old", &[], &[Some(b"1")]), execute("", 0), sync()].concat();
    decoder.data(Direction::Request, 1, &run, out);
    assert!(decoder.request_in_step());
    let answer = [message(b'2', b""), complete("SELECT 1"), ready(b'I')];
    feed(&mut decoder, 1, &server(&answer), usize::MAX, out);
    feed_all(&mut decoder, &done("q"), out);
    let gap = format!("gap Request Some({}) midstream", tail.len());
    assert_eq!(
        lines(out),
        [
            "gap Response Some(4) midstream",
            &gap,
            r#"execute ok unseen (1) rows=1 ["SELECT 1"]"#,
            r#"simple ok 'q' rows=1 ["SELECT 1"]"#,
        ]
    );
}

#[test]
fn midstream_does_not_take_what_only_looks_like_a_message() {
    let mut decoder = Decoder::new(Joined::Midstream, Limits::default());
    let out = &mut Vec::new();
    decoder.response_boundary(1, out);
    for bytes in [&b"Q\0\0\0\x08ab"[..], b"select Q", &query("no turn")] {
        decoder.data(Direction::Request, 1, bytes, out);
        assert!(!decoder.request_in_step());
    }
    feed(&mut decoder, 1, &server(&[ready(b'I')]), usize::MAX, out);
    decoder.data(
        Direction::Request,
        1,
        &[query("a"), b"\xff\xff\xff\xff\xff\xff".to_vec()].concat(),
        out,
    );
    assert!(!decoder.request_in_step());
    decoder.request_boundary(1, out);
    feed_all(&mut decoder, &done("b"), out);
    assert!(lines(out)[0].starts_with("gap Request Some("));
    assert_eq!(lines(out)[1], r#"simple ok 'b' rows=1 ["SELECT 1"]"#);
}

#[test]
fn lost_requests_take_no_results() {
    let mut decoder = decoder();
    let out = &mut Vec::new();
    let p = [parse("s", "old", &[]), query("before")].concat();
    feed_all(&mut decoder, &session(vec![Step::Client(p)]), out);
    decoder.data(Direction::Request, 1, &query("cut")[..7], out);
    decoder.gap(Direction::Request, 1, Some(100), GapCause::RingFull, out);
    let answers = [message(b'1', b""), complete("UPDATE 9"), ready(b'I')].concat();
    decoder.data(Direction::Response, 1, &answers, out);
    decoder.data(
        Direction::Response,
        1,
        &[complete("DELETE 8"), ready(b'I')].concat(),
        out,
    );
    feed_all(&mut decoder, &done("after"), out);
    let run = [bind("", "s", &[], &[]), execute("", 0), sync()].concat();
    feed(&mut decoder, 1, &Step::Client(run), usize::MAX, out);
    decoder.end(2, out);
    assert_eq!(
        lines(out)[1..],
        [
            r#"simple ok 'before' rows=9 ["UPDATE 9"]"#,
            "gap Request Some(107) ring_full",
            r#"simple ok 'after' rows=1 ["SELECT 1"]"#,
            "execute none unseen",
        ]
    );
}

#[test]
fn lost_responses_leave_statements_without_result() {
    let mut decoder = decoder();
    let out = &mut Vec::new();
    let p = [
        parse("s", "kept", &[]),
        bind("", "s", &[], &[]),
        execute("", 0),
        sync(),
    ]
    .concat();
    feed_all(&mut decoder, &session(vec![Step::Client(p)]), out);
    decoder.gap(Direction::Response, 1, Some(50), GapCause::RingFull, out);
    decoder.data(Direction::Response, 1, b"tail", out);
    feed(
        &mut decoder,
        1,
        &client(&[query("unsure")]),
        usize::MAX,
        out,
    );
    decoder.response_boundary(1, out);
    feed(
        &mut decoder,
        1,
        &server(&[complete("UPDATE 1"), ready(b'I')]),
        usize::MAX,
        out,
    );
    feed_all(&mut decoder, &done("after"), out);
    let run = [bind("", "s", &[], &[]), execute("", 0), sync()].concat();
    feed(&mut decoder, 1, &Step::Client(run), usize::MAX, out);
    decoder.end(2, out);
    assert_eq!(
        lines(out)[1..],
        [
            "execute none 'kept'",
            "simple none 'unsure'",
            "gap Response Some(54) ring_full",
            r#"simple ok 'after' rows=1 ["SELECT 1"]"#,
            "execute none 'kept'",
        ]
    );
}

#[test]
fn after_a_loss_a_pipelining_client_is_waited_for() {
    let mut decoder = decoder();
    let out = &mut Vec::new();
    feed_all(
        &mut decoder,
        &session(vec![client(&[query("a"), query("b"), query("c")])]),
        out,
    );
    decoder.gap(Direction::Response, 1, None, GapCause::Missing, out);
    decoder.response_boundary(1, out);
    feed(&mut decoder, 1, &client(&[query("d")]), usize::MAX, out);
    feed(
        &mut decoder,
        1,
        &server(&[complete("UPDATE 1"), ready(b'I')]),
        usize::MAX,
        out,
    );
    let later = 3 * super::super::limits::IDLE_NS;
    feed(&mut decoder, later, &client(&[query("e")]), usize::MAX, out);
    feed(
        &mut decoder,
        later,
        &server(&[complete("UPDATE 2"), ready(b'I')]),
        usize::MAX,
        out,
    );
    assert_eq!(
        lines(out)[1..],
        [
            "simple none 'a'",
            "simple none 'b'",
            "simple none 'c'",
            "gap Response None missing",
            "simple none 'd'",
            r#"simple ok 'e' rows=2 ["UPDATE 2"]"#,
        ]
    );
}
