//! `dbgov policy check` and `dbgov policy test`, as a user runs them.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

fn dbgov(arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_dbgov"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that does not read its input is gone before it is written.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// The file's name is left out.
fn check(text: &str) -> (Option<i32>, String, String) {
    let file = file(text);
    let path = file.path().to_str().unwrap();
    let output = dbgov(&["policy", "check", path], "");
    let [out, err] = [output.stdout, output.stderr].map(|bytes| {
        let text = String::from_utf8(bytes).unwrap();
        text.replace(path, "FILE")
    });
    (output.status.code(), out, err)
}

#[test]
fn check_tells_mistakes_and_warnings() {
    let (code, out, err) = check("[[rule]]\nname = \"r\"\naction = \"reset\"\n");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(
        out.starts_with("FILE: ok, 1 rule (1 reset), default allow, sha256 "),
        "{out}"
    );

    let (code, out, err) = check(
        "[[rule]]\nname = \"r\"\naction = \"reset\"\n[[rule]]\nname = \"s\"\naction = \"hold\"\n",
    );
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(
        out.starts_with("FILE: line 4: warning: rule \"s\" can never match"),
        "{out}"
    );

    let (code, out, err) =
        check("[[rule]]\nname = \"r\"\naction = \"reset\"\nverbs = [\"dorp\"]\n");
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(
        err.starts_with("FILE: line 4, column 10: `verbs`, \"dorp\""),
        "{err}"
    );
    assert!(err.ends_with("FILE: 1 error\n"), "{err}");

    let output = dbgov(&["policy", "check", "/nonexistent/policy.toml"], "");
    assert_eq!(output.status.code(), Some(1));
}

const POLICY: &str = r#"
[[rule]]
name = "own"
action = "allow"
verbs = ["drop"]
users = ["admin"]
[[rule]]
name = "no-drop"
action = "hold"
approval_timeout = "1m"
verbs = ["drop"]
tables = ["s.*"]
identities = ["agent:*"]
time = { days = ["mon"], zone = "UTC" }
reason = "ask"
"#;

fn test(arguments: &[&str], stdin: &str) -> Value {
    let file = file(POLICY);
    let mut all = vec!["policy", "test", file.path().to_str().unwrap(), "--json"];
    all.extend(arguments);
    let output = dbgov(&all, stdin);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn test_tells_the_verdict_and_why() {
    let monday = ["--as", "agent:x", "--at", "2026-11-23T12:00:00Z"];
    let told = test(&[&monday[..], &["--sql", "DROP TABLE t"]].concat(), "");
    assert_eq!(
        told["verdict"],
        json!({"action": "hold", "rule": "no-drop", "matched": "drop t", "reason": "ask", "approval_timeout_s": 60})
    );
    assert_eq!(told["kernel"]["held"], true);
    let effect = &told["effects"][0];
    assert_eq!(effect["line"], 7);
    assert_eq!(
        effect["passed_over"],
        json!([{"rule": "own", "key": "users"}])
    );
    assert_eq!(
        effect["because"],
        json!([
            "verbs: drop",
            "tables: \"s.*\" matches t",
            "identities: \"agent:*\" matches \"agent:x\"",
            "time: now"
        ])
    );

    for (arguments, key) in [
        (
            &["--as", "agent:x", "--at", "2026-11-24T12:00:00Z"][..],
            "time",
        ),
        (&["--at", "2026-11-23T12:00:00Z"], "identities"),
        (
            &[
                "--as",
                "agent:x",
                "--at",
                "2026-11-23T12:00:00Z",
                "--search-path",
                "public",
            ],
            "tables",
        ),
    ] {
        let told = test(&[arguments, &["--sql", "DROP TABLE t"]].concat(), "");
        assert_eq!(
            told["verdict"],
            json!({"action": "allow", "rule": "(default)"})
        );
        assert_eq!(
            told["effects"][0]["passed_over"][1],
            json!({"rule": "no-drop", "key": key})
        );
    }
    let told = test(
        &[&monday[..], &["--user", "admin", "--sql", "DROP TABLE s.t"]].concat(),
        "",
    );
    assert_eq!(told["verdict"], json!({"action": "allow", "rule": "own"}));
}

#[test]
fn test_reads_the_statement_from_stdin() {
    let told = test(&["--sql", "-"], "SELECT 1; SELECT 2");
    assert_eq!(told["count"], 2);
    assert_eq!(told["kernel"], json!({"held": false}));
}
