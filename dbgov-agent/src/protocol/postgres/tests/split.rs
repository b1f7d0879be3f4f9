//! However a session is cut up, the events are the same; and what the kernel leaves out changes none of them.

use super::golden::{extended, simple};
use super::*;

fn all_sessions() -> Vec<(&'static str, Vec<Step>)> {
    let golden = simple().into_iter().chain(extended());
    golden
        .map(|(name, steps, _)| (name, session(steps)))
        .collect()
}

#[test]
fn pieces_of_any_size() {
    for (name, steps) in all_sessions() {
        let whole = run(&steps);
        for piece_bytes in [1, 2, 3, 4, 5, 7, 16] {
            assert_eq!(
                run_in_pieces(&steps, piece_bytes),
                whole,
                "{name}, {piece_bytes}"
            );
        }
    }
}

#[test]
fn every_split() {
    for (name, steps) in all_sessions() {
        let whole = run(&steps);
        for (index, step) in steps.iter().enumerate() {
            let (Step::Client(bytes) | Step::Server(bytes)) = step;
            for cut in 1..bytes.len() {
                let mut out = Vec::new();
                let mut decoder = decoder();
                for (n, step) in steps.iter().enumerate() {
                    let at = n as u64 + 1;
                    if n == index {
                        let (head, tail) = bytes.split_at(cut);
                        let same = |part: &[u8]| match step {
                            Step::Client(_) => Step::Client(part.to_vec()),
                            Step::Server(_) => Step::Server(part.to_vec()),
                        };
                        feed(&mut decoder, at, &same(head), usize::MAX, &mut out);
                        feed(&mut decoder, at, &same(tail), usize::MAX, &mut out);
                    } else {
                        feed(&mut decoder, at, step, usize::MAX, &mut out);
                    }
                }
                decoder.end(steps.len() as u64 + 1, &mut out);
                assert_eq!(out, whole, "{name}, step {index} cut at {cut}");
            }
        }
    }
}

/// A session that breaks off anywhere: what was known before stays the same, nothing else comes but what is pending,
/// without a result.
#[test]
fn every_prefix() {
    for (name, steps) in all_sessions() {
        let whole = lines(&run(&steps));
        for index in 0..steps.len() {
            let (Step::Client(bytes) | Step::Server(bytes)) = &steps[index];
            for cut in 0..bytes.len() {
                let mut part = steps[..=index].to_vec();
                let (Step::Client(last) | Step::Server(last)) = &mut part[index];
                last.truncate(cut);
                let found = lines(&run(&part));
                let same = found.iter().zip(&whole).take_while(|(a, b)| a == b).count();
                for line in &found[same..] {
                    let pending = [" none ", " error "]
                        .iter()
                        .any(|status| line.contains(status));
                    assert!(
                        pending || line == "terminate",
                        "{name}, {index}, {cut}: {line}"
                    );
                }
                assert!(found.len() <= whole.len(), "{name}, {index}, {cut}");
            }
        }
    }
}

/// What the kernel program makes of a stream of responses.
enum Forwarded {
    Data(Vec<u8>),
    Elided { bytes: u64, rows: u32 },
}

/// `as_messages`: the bytes are messages, not the answer to an SSLRequest.
fn as_the_kernel(bytes: &[u8]) -> Vec<Forwarded> {
    let mut found = Vec::new();
    let mut data = |part: &[u8], left: usize, rows: u32| {
        if !part.is_empty() {
            found.push(Forwarded::Data(part.to_vec()));
        }
        match found.last_mut() {
            _ if left == 0 => {}
            Some(Forwarded::Elided { bytes, rows: sum }) => {
                *bytes += left as u64;
                *sum += rows;
            }
            _ => found.push(Forwarded::Elided {
                bytes: left as u64,
                rows,
            }),
        }
    };
    let mut rest = bytes;
    while rest.len() >= 5 {
        let length = u32::from_be_bytes([rest[1], rest[2], rest[3], rest[4]]) as usize + 1;
        let (message, behind) = rest.split_at(length);
        let kept = match message[0] {
            b'D' | b'd' | b'T' | b'N' | b'A' => 0,
            b'V' => 5,
            b'R' | b'K' => length.min(9),
            _ => length.min(5 + 2048),
        };
        let rows = u32::from(matches!(message[0], b'D' | b'd'));
        data(&message[..kept], length - kept, rows);
        rest = behind;
    }
    found
}

fn run_filtered(steps: &[Step]) -> Vec<Event> {
    let mut decoder = decoder();
    let mut out = Vec::new();
    let mut at = 0;
    for step in steps {
        at += 1;
        let Step::Server(bytes) = step else {
            feed(&mut decoder, at, step, usize::MAX, &mut out);
            continue;
        };
        for forwarded in as_the_kernel(bytes) {
            match forwarded {
                Forwarded::Data(bytes) => decoder.data(Direction::Response, at, &bytes, &mut out),
                Forwarded::Elided { bytes, rows } => decoder.elided(at, bytes, rows, &mut out),
            }
        }
    }
    decoder.end(at + 1, &mut out);
    out
}

#[test]
fn left_out_rows_change_nothing() {
    for (name, steps) in all_sessions() {
        assert_eq!(run_filtered(&steps), run(&steps), "{name}");
    }
    let long = session(vec![
        client(&[query("q")]),
        server(&[error("ERROR", "XX000", &"x".repeat(5000)), ready(b'I')]),
        client(&[query("r")]),
        server(&[rows(1000), complete("SELECT 1000"), ready(b'I')]),
    ]);
    assert_eq!(run_filtered(&long), run(&long));
}
