use super::super::line::LineEncoder;
use super::super::record::{Kind, Record};
use super::super::samples;
use super::*;

fn line(record: &Record) -> Vec<u8> {
    let mut line = Vec::new();
    LineEncoder::new("n").encode(record, &mut line).unwrap();
    line
}

fn plain(width_columns: Option<usize>) -> Renderer {
    Renderer {
        color: false,
        width_columns,
        zone: TimeZone::fixed(jiff::tz::offset(1)),
    }
}

fn render(record: &Record) -> String {
    plain(None).render(&line(record)).expect("shown")
}

#[test]
fn a_statement() {
    let mut record = samples::statement("DELETE FROM t\n\tWHERE id = $1");
    assert_eq!(
        render(&record),
        "00:59:59.123 agent:sync       app@prod         DELETE FROM t WHERE id = $1 ['1', NULL]  3 rows · 812 µs"
    );
    let result = record.result.as_mut().unwrap();
    result.status = "error";
    result.rows = None;
    result.error = Some("42P01".to_owned());
    result.message = Some("relation \"t\" does not exist".to_owned());
    assert!(
        render(&record).ends_with("  ERROR 42P01: relation \"t\" does not exist · 812 µs"),
        "{}",
        render(&record)
    );
}

/// A line with these fields.
fn shown(fields: &str) -> String {
    plain(None)
        .render(format!("{{{fields}}}").as_bytes())
        .expect("shown")
}

#[test]
fn what_the_policy_did_about_a_statement() {
    for (action, mode, status, part) in [
        ("reset", "enforce", "none", "DROP TABLE t  STOPPED by r"),
        ("reject", "enforce", "error", "DROP TABLE t  STOPPED by r"),
        ("alert", "enforce", "ok", "DROP TABLE t  ALERT r"),
        ("hold", "enforce", "ok", "DROP TABLE t  held by r"),
        ("reset", "observe", "ok", "DROP TABLE t  r would reset it"),
        ("allow", "enforce", "ok", "DROP TABLE t"),
    ] {
        let line = shown(&format!(
            r#""kind":"statement","statement":{{"text":"DROP TABLE t","via":"simple"}},"result":{{"status":"{status}","error":"42601"}},"verdict":{{"action":"{action}","mode":"{mode}","rule":"r"}}"#
        ));
        assert!(line.ends_with(part), "{line}");
    }
}

#[test]
fn what_became_of_the_policy() {
    for (fields, part) in [
        (
            r#""event":"loaded","generation":2,"mode":"enforce","rules":3"#,
            "policy 2 in force: 3 rules, enforce",
        ),
        (
            r#""event":"refused","generation":2,"error":"line 3: no""#,
            "!!! POLICY REFUSED, 2 stays in force: line 3: no",
        ),
        (
            r#""event":"gate_off","by":"root""#,
            "!!! GATE TAKEN AWAY by root",
        ),
    ] {
        let line = shown(&format!(r#""kind":"policy","policy":{{{fields}}}"#));
        assert!(line.ends_with(part), "{line}");
    }
    let line = shown(
        r#""kind":"verdict_unenforced","statement":{"text":"DROP TABLE t"},"verdict":{"action":"reset","rule":"r"}"#,
    );
    assert!(line.ends_with("!!! NOT STOPPED, though r would reset it: DROP TABLE t"));
}

#[test]
fn a_statement_whose_text_is_not_known() {
    let mut record = samples::statement("");
    let statement = record.statement.as_mut().unwrap();
    statement.text = None;
    statement.params.clear();
    assert!(render(&record).contains("(prepared before dbgov saw the session)"));
    let statement = record.statement.as_mut().unwrap();
    statement.function_oid = Some(1598);
    statement.via = "function_call";
    assert!(render(&record).contains("[function_call] function 1598"));
}

#[test]
fn the_other_kinds() {
    let samples = samples::everything();
    let [
        _,
        start,
        cancel,
        close,
        error,
        gap,
        approval,
        tag,
        control,
        retention,
        hidden @ ..,
    ] = &samples[..]
    else {
        panic!("more samples");
    };
    assert_eq!(hidden.len(), 2);
    for record in hidden {
        assert_eq!(plain(None).render(&line(record)), None);
        assert!(!is_shown(&line(record)));
    }
    let mut open = Record::new(Kind::SessionOpen, samples::TIME_UNIX_NS);
    open.session = samples::statement("").session;
    for (record, part) in [
        (start, "dbgov 0.1.0 started"),
        (cancel, "asks to cancel what backend 7 runs"),
        (
            close,
            "- closed (terminate): 9007199254740991 statements, 0 errors, 0 µs",
        ),
        (
            gap,
            "!!! GAP: 2 records lost, 9 B not seen (crash), request, kept in torn.bin",
        ),
        (
            approval,
            "approval k7qx-1 (write-needs-where) approved by alice: ",
        ),
        (tag, ", by alice: "),
        (control, "!!! REFUSED tag_set to alice: "),
        (
            retention,
            "removed 2 segments with the records 1 to 9007199254740991 (too old)",
        ),
        (&open, "+ connected from 10.9.0.2:41884 (psql)"),
        (&Record::new(Kind::AgentStop, 0), "dbgov stopped"),
    ] {
        let shown = render(record);
        assert!(shown.contains(part), "{shown}");
        assert!(is_shown(&line(record)));
    }
    assert!(is_shown(&line(&samples::statement("\"checkpoint\""))));
    let mut protocol_error = error.clone();
    protocol_error.kind = Kind::ProtocolError;
    let block = protocol_error.error.as_mut().unwrap();
    block.reason = Some("length below 4".to_owned());
    assert!(render(&protocol_error).contains("not decoded from here on: length below 4 (request)"));
    let block = protocol_error.error.as_mut().unwrap();
    block.severity = Some("FATAL".to_owned());
    block.code = Some("28P01".to_owned());
    block.message = Some("password authentication failed".to_owned());
    protocol_error.kind = Kind::SessionError;
    assert!(render(&protocol_error).contains("FATAL 28P01: password authentication failed"));
}

#[test]
fn nothing_speaks_to_the_terminal_and_nothing_leaves_the_line() {
    let mut hostile = samples::everything();
    hostile.push(samples::statement(
        "\u{1b}]52;c;aGk=\u{7}\u{9b}2J\r\nDROP TABLE t",
    ));
    let mut lines: Vec<Vec<u8>> = hostile.iter().map(line).collect();
    lines.push(b"\x1b[2J not JSON".to_vec());
    lines.push(br#"{"kind":"\u001b[2J","time":"\u001b[2J"}"#.to_vec());
    for line in &lines {
        for width in (0..200).map(Some).chain([None]) {
            let shown = plain(width).render(line).unwrap_or_default();
            assert!(
                shown.chars().all(|character| !character.is_control()),
                "{shown:?}"
            );
            assert!(!shown.contains(['\u{2028}', '\u{202e}', '\u{feff}']));
            assert!(
                width.is_none_or(|width| width_columns(&shown) <= width),
                "{shown:?}"
            );
        }
        let colored = Renderer {
            color: true,
            ..plain(Some(120))
        };
        let shown = colored.render(line).unwrap_or_default();
        let without_ours = shown.split("\x1b[").skip(1).all(|rest| {
            let (sgr, _) = rest.split_once('m').expect("an SGR sequence");
            sgr.chars()
                .all(|character| character.is_ascii_digit() || character == ';')
        });
        assert!(without_ours, "{shown:?}");
        assert_eq!(
            shown.matches("\x1b[0m").count() * 2,
            shown.matches('\x1b').count()
        );
    }
}

#[test]
fn the_statement_is_cut_before_its_result() {
    let record = samples::statement(&"SELECT 1, ".repeat(100));
    let shown = plain(Some(100)).render(&line(&record)).unwrap();
    assert!(
        shown.contains('…') && shown.ends_with("  3 rows · 812 µs"),
        "{shown}"
    );
    assert_eq!(width_columns(&shown), 100);
}

#[test]
fn no_colors_unless_asked() {
    let gap = line(&samples::gap("ring_full", None));
    assert!(!plain(None).render(&gap).unwrap().contains('\x1b'));
    let colored = Renderer {
        color: true,
        ..plain(None)
    };
    assert!(
        colored
            .render(&gap)
            .unwrap()
            .contains("\x1b[1;97;41m!!! GAP")
    );
}

#[test]
fn a_broken_line_is_shown_as_such() {
    assert_eq!(
        plain(None).render(b"{\"torn").unwrap(),
        "not a record: {\"torn"
    );
}
