//! `dbgov audit search` with the release binary over a journal that the real writer and keeper made: what is found is
//! held against the records themselves, read without an index.

mod searching;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use dbgov_tests::agent::{binary, segments};
use dbgov_tests::process;
use nix::sys::signal::Signal;
use serde_json::Value;

use searching::{Made, PATIENCE, RECORDS, err, out, record};

fn has(record: &Value, block: &str, list: &str, wanted: &str) -> bool {
    let list = record[block][list].as_array();
    list.is_some_and(|list| list.iter().any(|item| item == wanted))
}

fn has_text(record: &Value, wanted: &str) -> bool {
    let statement = &record["statement"];
    let params = statement["params"].as_array().into_iter().flatten();
    let texts = [&statement["text"], &record["approval"]["statement"]["head"]];
    let mut texts = texts.into_iter().chain(params).filter_map(Value::as_str);
    texts.any(|text| text.to_lowercase().contains(&wanted.to_lowercase()))
}

fn seconds(record: &Value) -> String {
    record["time"].as_str().unwrap()[..19].to_owned()
}

type Wanted = fn(&Value) -> bool;

const FILTERS: [(&[&str], Wanted); 24] = [
    (&[], |_| true),
    (&["--identity", "alice"], |r| {
        r["identity"]["name"] == "alice"
    }),
    (&["--identity", "agent:*"], |r| {
        r["identity"]["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("agent:"))
    }),
    (&["--identity", "alice", "--identity", "svc:?illing"], |r| {
        r["identity"]["name"] == "alice" || r["identity"]["name"] == "svc:billing"
    }),
    (&["--user", "postgres"], |r| {
        r["session"]["user"] == "postgres"
    }),
    (&["--database", "hr"], |r| r["session"]["database"] == "hr"),
    (&["--table", "public.salaries"], |r| {
        has(r, "statement", "tables", "public.salaries")
    }),
    (&["--table", "salaries"], |r| {
        has(r, "statement", "tables", "public.salaries")
    }),
    (&["--table", "orders", "--table", "carts"], |r| {
        has(r, "statement", "tables", "orders") || has(r, "statement", "tables", "carts")
    }),
    (&["--verb", "drop"], |r| {
        has(r, "statement", "verbs", "drop")
    }),
    (&["--verdict", "reset"], |r| {
        r["verdict"]["action"] == "reset"
    }),
    (&["--rule", "watch"], |r| r["verdict"]["rule"] == "watch"),
    (&["--rule", "ask"], |r| r["approval"]["rule"] == "ask"),
    (&["--kind", "gap"], |r| r["kind"] == "gap"),
    (&["--kind", "checkpoint", "--kind", "segment"], |r| {
        r["kind"] == "checkpoint" || r["kind"] == "segment"
    }),
    (&["--text", "ORDER-1234"], |r| has_text(r, "order-1234")),
    (&["--text", "üNIT 17"], |r| has_text(r, "ünit 17")),
    (&["--text", "truncate LEDGER"], |r| {
        has_text(r, "truncate ledger")
    }),
    (&["--text", "no such thing"], |_| false),
    (&["--session", "5e551011-1f"], |r| {
        r["session"]["id"] == "5e551011-1f"
    }),
    (&["--run", "run-3"], |r| r["identity"]["run"] == "run-3"),
    (&["--pid", "1012"], |r| r["identity"]["pid"] == 1012),
    (
        &[
            "--since",
            "2026-11-18T11:30:00Z",
            "--until",
            "2026-11-18T11:40:00Z",
        ],
        |r| ("2026-11-18T11:30:00".."2026-11-18T11:40:00").contains(&&*seconds(r)),
    ),
    (
        &[
            "--identity",
            "agent:*",
            "--user",
            "app",
            "--verb",
            "update",
            "--verb",
            "delete",
            "--table",
            "carts",
        ],
        |r| {
            r["identity"]["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("agent:"))
                && r["session"]["user"] == "app"
                && (has(r, "statement", "verbs", "update")
                    || has(r, "statement", "verbs", "delete"))
                && has(r, "statement", "tables", "carts")
        },
    ),
];

#[test]
fn every_filter_in_both_orders() {
    let made = Made::new();
    for (args, wanted) in FILTERS {
        let mut expected = made.expected(wanted);
        assert!(
            args.contains(&"no such thing") || !expected.is_empty(),
            "{args:?} asks for what is not there"
        );
        assert!(made.search(args) == expected, "{args:?}");
        assert!(made.search(&[args, &["--json"]].concat()) == expected);
        let first: Vec<String> = expected.iter().take(7).cloned().collect();
        assert!(made.search(&[args, &["--limit", "7"]].concat()) == first);
        expected.reverse();
        let newest = [args, &["--newest-first"]].concat();
        assert!(made.search(&newest) == expected, "{args:?} backwards");
        let last: Vec<String> = expected.into_iter().take(3).collect();
        assert!(made.search(&[&newest[..], &["--limit", "3"]].concat()) == last);
    }
    // Nor does it matter what the indexes say, or whether they are there.
    let mut indexes = 0;
    for file in fs::read_dir(made.dir()).unwrap().flatten() {
        if file.path().extension().is_some_and(|end| end == "idx") {
            let mut content = fs::read(file.path()).unwrap();
            let middle = content.len() / 2;
            content[middle..].fill(0);
            fs::write(file.path(), content).unwrap();
            indexes += 1;
        }
    }
    for (args, wanted) in FILTERS {
        assert!(made.search(args) == made.expected(wanted), "{args:?}");
    }
    let mut verify = Command::new(binary().unwrap());
    verify.args(["audit", "verify"]).arg(made.dir());
    let output = verify.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let notes = out(&output).matches("is not used by searches").count();
    assert_eq!(notes, std::cmp::min(indexes, 10), "{}", out(&output));
}

#[test]
fn what_it_says_of_itself_and_where_it_ends() {
    let made = Made::new();
    // One session of seventy-five: what it says it read is little of what there is.
    let output = made.run("search", &["--session", "5e551011-1f", "--stats"]);
    assert!(output.status.success());
    let numbers: Vec<u64> = err(&output)
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    let [found, read, blocks, records, segments, indexed] = numbers[..] else {
        panic!("{}", err(&output));
    };
    assert_eq!(found, out(&output).lines().count() as u64);
    assert!(
        read <= 3 && blocks > 4 && indexed + 1 == segments,
        "{numbers:?}"
    );
    assert!(records < RECORDS / 2, "{numbers:?}");

    // A reader that goes away is no error, on either command.
    let dir = made.dir();
    for verb in ["search", "report --control soc2 --since 2026-01-01"] {
        let script = format!(
            "set -o pipefail; '{}' audit {verb} --dir '{}' | head -1",
            binary().unwrap().display(),
            dir.display()
        );
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(out(&output).lines().count(), 1);
        assert!(output.stderr.is_empty(), "{}", err(&output));
    }

    // Nor is one that has gone before.
    let script = format!(
        "set -o pipefail; {{ sleep 0.2; '{}' audit verify '{}'; }} | true",
        binary().unwrap().display(),
        dir.display()
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");

    // On a terminal it is readable, with the day.
    let command = format!(
        "'{}' audit search --dir '{}' --text Order-1234",
        binary().unwrap().display(),
        dir.display()
    );
    let shown = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(shown.status.success(), "{shown:?}");
    assert!(out(&shown).contains("2026-11-18 ") && out(&shown).contains("Order-1234"));
    assert!(!out(&shown).contains("\"chain\""), "{}", out(&shown));
}

#[test]
fn mistakes_are_told() {
    let made = Made::new();
    for (args, code, message) in [
        (&["--since", "never"][..], 1, "is no time"),
        (&["--identity", "a[b"], 1, "is no pattern"),
        (&["--verb", "sellect"], 2, "--verb"),
        (&["--verdict", "nope"], 2, "--verdict"),
        (&["--kind", "nope"], 2, "--kind"),
        (&["--pid", "x"], 2, "--pid"),
        (&["--limit=-1"], 2, "--limit"),
        (&["--newest-first", "--follow"], 2, "cannot be used with"),
        (&["--nonsense"], 2, "--nonsense"),
    ] {
        let output = made.run("search", args);
        assert_eq!(output.status.code(), Some(code), "{args:?} {output:?}");
        assert!(err(&output).contains(message), "{args:?} {}", err(&output));
        assert!(output.stdout.is_empty());
    }
    let soc2 = ["--control", "soc2"];
    for (args, code, message) in [
        (&["--control", "pci", "--since", "7d"][..], 2, "--control"),
        (&soc2[..], 2, "--since"),
        (
            &[&soc2[..], &["--since", "never"]].concat(),
            1,
            "is no time",
        ),
        (
            &[&soc2[..], &["--since", "1h", "--until", "2h"]].concat(),
            1,
            "is not before",
        ),
        (
            &[&soc2[..], &["--since", "1h", "--key", "/no/such"]].concat(),
            1,
            "/no/such",
        ),
    ] {
        let output = made.run("report", args);
        assert_eq!(output.status.code(), Some(code), "{args:?} {output:?}");
        assert!(err(&output).contains(message), "{args:?} {}", err(&output));
    }
    // A directory that is not there, and a journal that is damaged: what can be read is given.
    let nowhere = Command::new(binary().unwrap())
        .args(["audit", "search", "--dir", "/no/such/journal"])
        .output()
        .unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(err(&nowhere).contains("/no/such/journal"), "{nowhere:?}");
    let (_, first) = segments(&made.dir()).unwrap().swap_remove(0);
    let content = fs::read(&first).unwrap();
    fs::write(&first, &content[..content.len() / 2]).unwrap();
    let output = made.run("search", &["--kind", "gap"]);
    assert_eq!(output.status.code(), Some(1));
    let name = first.file_name().unwrap().to_str().unwrap();
    assert!(err(&output).contains(name), "{}", err(&output));
    assert!(out(&output).lines().count() > 10);
}

/// A search that goes on, its lines as they come.
struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Following {
    fn start(made: &Made, args: &[&str]) -> Self {
        let mut command = made.command("search", args);
        command.arg("--follow").stdout(Stdio::piped());
        let mut child = process::spawn(command).unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Following { child, lines }
    }

    fn take(&self, count: usize) -> Vec<String> {
        let lines = (0..count).map(|_| self.lines.recv_timeout(PATIENCE));
        lines.collect::<Result<_, _>>().expect("a line in time")
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // Of one that has ended the number may be another's by now.
        if let Ok(None) = self.child.try_wait() {
            let _ = process::signal(&self.child, Signal::SIGTERM);
            let _ = self.child.wait();
        }
    }
}

#[test]
fn it_follows_over_the_ends_of_segments() {
    let mut made = Made::new();
    let is_reset: Wanted = |record| record["verdict"]["action"] == "reset";
    let before = made.expected(is_reset);
    let following = Following::start(&made, &["--verdict", "reset"]);
    let limit = (before.len() + 5).to_string();
    let mut limited = Following::start(&made, &["--verdict", "reset", "--limit", &limit]);
    assert!(following.take(before.len()) == before);
    let segments_before = segments(&made.dir()).unwrap().len();
    let mut journal = made.open();
    for number in RECORDS + 1..RECORDS + 1_001 {
        journal.append(&record(number));
    }
    journal.close();
    made.read();
    assert!(segments(&made.dir()).unwrap().len() > segments_before + 1);
    let all = made.expected(is_reset);
    assert!(all.len() > before.len() + 20);
    assert!(following.take(all.len() - before.len()) == all[before.len()..]);
    let more = following.lines.recv_timeout(Duration::from_millis(500));
    assert!(more.is_err(), "{more:?}");
    // With a limit it ends by itself.
    assert!(limited.take(before.len() + 5) == all[..before.len() + 5]);
    let ended = process::wait_timeout(&mut limited.child, PATIENCE).unwrap();
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
}
