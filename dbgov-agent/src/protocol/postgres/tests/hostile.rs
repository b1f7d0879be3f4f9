//! Bytes nobody should send, and very many of them.

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::protocol::GapCause;

fn statements(events: &[Event]) -> Vec<&Statement> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Statement(statement) => Some(&**statement),
            _ => None,
        })
        .collect()
}

#[test]
fn lengths() {
    for (kind, length) in [
        (b'Q', 0),
        (b'Q', 3),
        (b'Q', u32::MAX),
        (b'Q', 0x3fff_ffff),
        (b'd', 1 << 31),
        (b'S', 10_001),
        (b'E', 1 << 31),
        (b'!', 8),
    ] {
        let mut bytes = vec![kind];
        bytes.extend(u32::to_be_bytes(length));
        let found = lines(&run(&session(vec![
            client(&[query("a")]),
            Step::Client(bytes),
        ])));
        assert_eq!(found[1], "simple none 'a'", "{kind} {length}");
        assert!(found[2].starts_with("bad Request: "), "{kind} {length}");
        assert_eq!(found.len(), 3);
    }
    for bytes in [
        &b"Z\0\0\0\x03"[..],
        b"D\xff\xff\xff\xff",
        b"HTTP/1.1",
        b"\0\0\0\0\x08",
    ] {
        let found = lines(&run(&session(vec![Step::Server(bytes.to_vec())])));
        assert!(found[1].starts_with("bad Response: "), "{bytes:?}");
    }
}

#[test]
fn malformed_bodies_are_the_servers_to_refuse() {
    for bad in [
        message(b'Q', b"no end"),
        message(b'P', b"n"),
        message(b'B', b"\0\0\0\x01\0\0\0\x05\0\0\0\x01"),
        message(b'B', b"\0\0\0\0\0\x01\xff\xff\xff\x00"),
        message(b'E', b""),
        message(b'D', b""),
        message(b'C', b"Q"),
        message(b'F', b"\0"),
    ] {
        let steps = session(vec![
            client(&[bad, sync()]),
            server(&[error("ERROR", "08P01", "invalid"), ready(b'I')]),
        ]);
        let whole = run(&steps);
        assert!(lines(&whole)[1].contains("08P01"), "{:?}", lines(&whole));
        assert_eq!(run_in_pieces(&steps, 1), whole);
    }
}

#[test]
fn big_statement() {
    const PIECE: usize = 64 << 10;
    let text = "x".repeat(64 << 20);
    let body_bytes = text.len() as u32 + 1 + 4;
    let mut decoder = decoder();
    let out = &mut Vec::new();
    for step in login() {
        feed(&mut decoder, 1, &step, usize::MAX, out);
    }
    out.clear();
    let query = [&b"Q"[..], &body_bytes.to_be_bytes(), text.as_bytes(), b"\0"].concat();
    for piece in query.chunks(PIECE) {
        decoder.data(Direction::Request, 2, piece, out);
    }
    feed(
        &mut decoder,
        3,
        &server(&[complete("SELECT 1"), ready(b'I')]),
        usize::MAX,
        out,
    );
    let found = statements(out);
    let kept = found[0].text.as_ref().unwrap();
    assert_eq!(kept.bytes, text.len() as u64);
    assert!(kept.truncated);
    assert_eq!(kept.text.len(), Limits::STATEMENT_BYTES_MAX);
    assert_eq!(kept.sha256, Some(Sha256::digest(text.as_bytes()).into()));
}

#[test]
fn big_parse_and_parameters_in_any_pieces() {
    let text = "é".repeat(700_000);
    let long = "y".repeat(5000);
    let params: Vec<Option<&[u8]>> = vec![Some(long.as_bytes()), None, Some(b""), Some(b"z")];
    let steps = session(vec![
        client(&[
            parse("s", &text, &[25]),
            bind("", "s", &[], &params),
            execute("", 0),
            sync(),
        ]),
        server(&[
            message(b'1', b""),
            message(b'2', b""),
            complete("SELECT 1"),
            ready(b'I'),
        ]),
    ]);
    let whole = run(&steps);
    for piece_bytes in [1000, 1448, 65536] {
        assert!(run_in_pieces(&steps, piece_bytes) == whole, "{piece_bytes}");
    }
    let statement = statements(&whole)[0];
    let kept = statement.text.as_ref().unwrap();
    assert!(kept.truncated && !kept.lossy);
    assert_eq!(kept.bytes, 1_400_000);
    assert!(statement.params_truncated);
    let lengths: Vec<_> = statement
        .params
        .iter()
        .map(|p| p.as_ref().map(String::len))
        .collect();
    assert_eq!(lengths, [Some(4096), None, Some(0), Some(1)]);
}

#[test]
fn pending_and_names_are_bounded() {
    let limits = Limits {
        pending_max: 10,
        prepared_statements_max: 3,
        ..Limits::default()
    };
    let mut decoder = Decoder::new(Joined::Start, limits);
    let out = &mut Vec::new();
    for step in login() {
        feed(&mut decoder, 1, &step, usize::MAX, out);
    }
    out.clear();
    feed(
        &mut decoder,
        1,
        &Step::Client(query("q").repeat(100)),
        usize::MAX,
        out,
    );
    assert_eq!(statements(out).len(), 100);
    decoder.end(1, out);
    assert_eq!(statements(out).len(), 100);

    let limits = Limits {
        prepared_statements_max: 3,
        ..Limits::default()
    };
    let mut decoder = Decoder::new(Joined::Start, limits);
    out.clear();
    for step in login() {
        feed(&mut decoder, 1, &step, usize::MAX, out);
    }
    for n in 0..5 {
        let p = client(&[parse(&format!("s{n}"), &format!("t{n}"), &[]), sync()]);
        feed(&mut decoder, 1, &p, usize::MAX, out);
        feed(
            &mut decoder,
            1,
            &server(&[message(b'1', b""), ready(b'I')]),
            usize::MAX,
            out,
        );
    }
    for name in ["s0", "s4"] {
        let run = client(&[bind("", name, &[], &[]), execute("", 0), sync()]);
        feed(&mut decoder, 1, &run, usize::MAX, out);
        let answer = [message(b'2', b""), complete("SELECT 1"), ready(b'I')];
        feed(&mut decoder, 1, &server(&answer), usize::MAX, out);
    }
    let expected = [
        r#"execute ok unseen rows=1 ["SELECT 1"]"#,
        r#"execute ok 't4' rows=1 ["SELECT 1"]"#,
    ];
    assert_eq!(lines(out)[1..], expected);
}

#[derive(Debug, Clone)]
enum Input {
    Data(bool, Vec<u8>),
    Elided(u64, u32),
    Gap(bool, Option<u64>),
    Boundary(bool),
}

fn direction(request: bool) -> Direction {
    if request {
        Direction::Request
    } else {
        Direction::Response
    }
}

/// Bytes that are messages more often than chance would have it.
fn bytes() -> impl Strategy<Value = (bool, Vec<u8>)> {
    let kinds = prop::sample::select(b"QPBDECSHFdcfXpZ123nsItTdDCGHWVRKSv".to_vec());
    let body = prop::collection::vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..40);
    prop_oneof![
        4 => (any::<bool>(), kinds, body).prop_map(|(r, kind, body)| (r, message(kind, &body))),
        1 => (any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        20 => bytes().prop_map(|(request, bytes)| Input::Data(request, bytes)),
        2 => (0..100u64, 0..3u32).prop_map(|(bytes, rows)| Input::Elided(bytes, rows)),
        1 => (any::<bool>(), any::<Option<u64>>()).prop_map(|(r, bytes)| Input::Gap(r, bytes)),
        1 => any::<bool>().prop_map(Input::Boundary),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_panics(
        midstream in any::<bool>(),
        logged_in in any::<bool>(),
        inputs in prop::collection::vec(input(), 0..60),
    ) {
        let joined = if midstream { Joined::Midstream } else { Joined::Start };
        let limits = Limits { pending_max: 20, portals_max: 2, tags_max: 2, ..Limits::default() };
        let mut decoder = Decoder::new(joined, limits);
        let mut out = Vec::new();
        if logged_in {
            for step in login() {
                feed(&mut decoder, 0, &step, usize::MAX, &mut out);
            }
        }
        for (at, input) in inputs.into_iter().enumerate() {
            let at = at as u64;
            match input {
                Input::Data(request, bytes) => decoder.data(direction(request), at, &bytes, &mut out),
                Input::Elided(bytes, rows) => decoder.elided(at, bytes, rows, &mut out),
                Input::Gap(request, bytes) => {
                    decoder.gap(direction(request), at, bytes, GapCause::RingFull, &mut out);
                }
                Input::Boundary(true) => decoder.request_boundary(at, &mut out),
                Input::Boundary(false) => decoder.response_boundary(at, &mut out),
            }
            prop_assert!(decoder.matcher.queue.len() <= 21);
        }
        decoder.end(99, &mut out);
    }

    #[test]
    fn any_input_in_any_pieces(
        inputs in prop::collection::vec(bytes(), 0..60),
        piece_bytes in 1..9usize,
    ) {
        let steps = inputs.into_iter().map(|(request, bytes)| match request {
            true => Step::Client(bytes),
            false => Step::Server(bytes),
        });
        let steps = session(steps.collect());
        prop_assert_eq!(run_in_pieces(&steps, piece_bytes), run(&steps));
    }
}
