//! What the decoder says of whole sessions. Every session here is also cut up in `split`.

use super::*;

/// A session and the lines it makes behind `authenticated`.
pub(super) type Golden = (&'static str, Vec<Step>, Vec<&'static str>);

fn abc(portal: &str, name: &str, params: &[Option<&[u8]>]) -> Vec<u8> {
    [bind(portal, name, &[], params), execute(portal, 0)].concat()
}

fn m(kind: u8) -> Vec<u8> {
    message(kind, b"")
}

pub(super) fn simple() -> Vec<Golden> {
    let copy_in = message(b'G', b"\0\0\x01\0\0");
    let copy_out = message(b'H', b"\0\0\x01\0\0");
    vec![
        (
            "several statements",
            vec![
                client(&[query("SELECT 1; DELETE FROM t")]),
                server(&[
                    rows(2),
                    complete("SELECT 2"),
                    complete("DELETE 3"),
                    ready(b'I'),
                ]),
                client(&[m(b'X')]),
            ],
            vec![
                r#"simple ok 'SELECT 1; DELETE FROM t' rows=5 ["SELECT 2", "DELETE 3"]"#,
                "terminate",
            ],
        ),
        (
            "empty, insert, no number, error after a tag",
            vec![
                client(&[query("")]),
                server(&[m(b'I'), ready(b'I')]),
                client(&[query("insert")]),
                server(&[complete("INSERT 0 5"), ready(b'I')]),
                client(&[query("begin")]),
                server(&[complete("BEGIN"), ready(b'T')]),
                client(&[query("a; b")]),
                server(&[
                    complete("UPDATE 1"),
                    error("ERROR", "42P01", "no t"),
                    ready(b'E'),
                ]),
            ],
            vec![
                "simple ok ''",
                r#"simple ok 'insert' rows=5 ["INSERT 0 5"]"#,
                r#"simple ok 'begin' ["BEGIN"]"#,
                r#"simple error 'a; b' rows=1 ["UPDATE 1"] 42P01"#,
            ],
        ),
        (
            "copy in and out",
            vec![
                client(&[query("copy t from stdin")]),
                Step::Server(copy_in.clone()),
                client(&[message(b'd', b"1\n"), message(b'd', b"22\n"), m(b'c')]),
                server(&[complete("COPY 2"), ready(b'I')]),
                client(&[query("copy t to stdout")]),
                server(&[
                    copy_out,
                    message(b'd', b"1\n"),
                    message(b'd', b"22\n"),
                    m(b'c'),
                ]),
                server(&[complete("COPY 2"), ready(b'I')]),
                client(&[query("copy t from stdin")]),
                Step::Server(copy_in.clone()),
                client(&[message(b'd', b"x"), message(b'f', b"enough\0")]),
                server(&[error("ERROR", "57014", "COPY failed"), ready(b'I')]),
            ],
            vec![
                r#"simple ok 'copy t from stdin' rows=2 ["COPY 2"] in=5 out=0"#,
                r#"simple ok 'copy t to stdout' rows=2 ["COPY 2"] in=0 out=5"#,
                "simple error 'copy t from stdin' 57014 in=1 out=0",
            ],
        ),
        (
            "function call and notices",
            vec![
                client(&[message(
                    b'F',
                    &[
                        &[0, 0, 0, 9][..],
                        &arguments(&[1], &[Some(b"\x01\x02"), None]),
                        &[0, 0],
                    ]
                    .concat(),
                )]),
                server(&[
                    message(b'N', b"SNOTICE\0\0"),
                    message(b'V', b"\0\0\0\x01x"),
                    ready(b'I'),
                ]),
                server(&[message(b'A', b"\0\0\0\x01ch\0\0")]),
            ],
            vec![r"function_call ok (\x0102,NULL)"],
        ),
        (
            "fatal while idle and in a statement",
            vec![
                client(&[query("select pg_sleep(9)")]),
                server(&[error("FATAL", "57P01", "terminating")]),
            ],
            vec!["simple error 'select pg_sleep(9)' 57P01"],
        ),
        (
            "nothing comes back",
            vec![client(&[query("select 1"), m(b'X')])],
            vec!["simple none 'select 1'", "terminate"],
        ),
    ]
}

pub(super) fn extended() -> Vec<Golden> {
    let one = || {
        client(&[
            parse("", "select $1", &[23]),
            abc("", "", &[Some(b"7")]),
            sync(),
        ])
    };
    vec![
        (
            "named, described, binary, run again",
            vec![
                client(&[
                    parse("s", "select $1,$2", &[]),
                    named(b'D', 'S', "s"),
                    sync(),
                ]),
                server(&[
                    m(b'1'),
                    message(b't', b"\0\x02\0\0\0\x17\0\0\0\x19"),
                    rows(0),
                    ready(b'I'),
                ]),
                client(&[
                    bind("", "s", &[1], &[Some(&[0, 0, 0, 5]), Some(b"x")]),
                    named(b'D', 'P', ""),
                    execute("", 0),
                    sync(),
                ]),
                server(&[m(b'2'), rows(1), complete("SELECT 1"), ready(b'I')]),
                client(&[
                    abc("", "s", &[Some(b"1"), None]),
                    named(b'C', 'S', "s"),
                    sync(),
                ]),
                server(&[
                    m(b'2'),
                    data_rows(1),
                    complete("SELECT 1"),
                    m(b'3'),
                    ready(b'I'),
                ]),
                client(&[abc("", "s", &[]), sync()]),
                server(&[error("ERROR", "26000", "no s"), ready(b'I')]),
            ],
            vec![
                r#"execute ok 'select $1,$2' (5,x) rows=1 ["SELECT 1"]"#,
                r#"execute ok 'select $1,$2' (1,NULL) rows=1 ["SELECT 1"]"#,
                "bind error unseen 26000",
                "execute none unseen",
            ],
        ),
        (
            "parse fails, the rest is skipped",
            vec![
                one(),
                server(&[error("ERROR", "42601", "syntax"), ready(b'I')]),
                one(),
                server(&[m(b'1'), m(b'2'), complete("SELECT 1"), ready(b'I')]),
            ],
            vec![
                "prepare error 'select $1' 42601",
                "execute none 'select $1' (7)",
                r#"execute ok 'select $1' (7) rows=1 ["SELECT 1"]"#,
            ],
        ),
        (
            "an error in a pipeline",
            vec![
                client(&[
                    parse("a", "A", &[]),
                    abc("", "a", &[]),
                    parse("b", "B", &[]),
                    abc("", "b", &[]),
                    query("skipped"),
                    sync(),
                    abc("", "a", &[]),
                    sync(),
                    abc("", "b", &[]),
                    sync(),
                ]),
                server(&[
                    m(b'1'),
                    m(b'2'),
                    error("ERROR", "22012", "zero"),
                    ready(b'I'),
                ]),
                server(&[m(b'2'), complete("SELECT 1"), ready(b'I')]),
                server(&[error("ERROR", "26000", "no b"), ready(b'I')]),
            ],
            vec![
                "execute error 'A' 22012",
                "execute none 'B'",
                "simple none 'skipped'",
                r#"execute ok 'A' rows=1 ["SELECT 1"]"#,
                "bind error unseen 26000",
                "execute none unseen",
            ],
        ),
        (
            "what comes after the error was answered is skipped too",
            vec![
                client(&[parse("", "A", &[]), message(b'H', b"")]),
                server(&[error("ERROR", "42601", "syntax")]),
                client(&[abc("", "", &[]), sync(), query("q")]),
                server(&[ready(b'I'), complete("SELECT 1"), ready(b'I')]),
            ],
            vec![
                "prepare error 'A' 42601",
                "execute none 'A'",
                r#"simple ok 'q' rows=1 ["SELECT 1"]"#,
            ],
        ),
        (
            "suspended portal",
            vec![
                client(&[query("begin")]),
                server(&[complete("BEGIN"), ready(b'T')]),
                client(&[
                    parse("", "F", &[]),
                    bind("c", "", &[], &[]),
                    execute("c", 2),
                    sync(),
                ]),
                server(&[m(b'1'), m(b'2'), data_rows(2), m(b's'), ready(b'T')]),
                client(&[execute("c", 2), sync()]),
                server(&[data_rows(1), complete("SELECT 1"), ready(b'T')]),
            ],
            vec![
                r#"simple ok 'begin' ["BEGIN"]"#,
                "execute ok 'F' rows=2",
                r#"fetch ok 'F' rows=1 ["SELECT 1"]"#,
            ],
        ),
        (
            "empty, describe and close that fail, error at sync",
            vec![
                client(&[parse("", "", &[]), abc("", "", &[]), sync()]),
                server(&[m(b'1'), m(b'2'), m(b'I'), ready(b'I')]),
                client(&[named(b'D', 'S', "x"), execute("", 0), sync()]),
                server(&[error("ERROR", "26000", "no x"), ready(b'I')]),
                client(&[
                    parse("", "insert", &[]),
                    abc("", "", &[]),
                    named(b'D', 'P', ""),
                    sync(),
                ]),
                server(&[m(b'1'), m(b'2'), complete("INSERT 0 1"), m(b'n')]),
                server(&[error("ERROR", "23503", "deferred"), ready(b'I')]),
            ],
            vec![
                "execute ok ''",
                "session error 26000 no x",
                "execute none unseen",
                r#"execute ok 'insert' rows=1 ["INSERT 0 1"]"#,
                "session error 23503 deferred",
            ],
        ),
        (
            "execute fails behind a describe whose answer is left out",
            vec![
                client(&[
                    parse("", "D", &[]),
                    bind("", "", &[], &[]),
                    named(b'D', 'P', ""),
                ]),
                client(&[execute("", 0), sync()]),
                server(&[
                    m(b'1'),
                    m(b'2'),
                    rows(3),
                    error("ERROR", "22012", "zero"),
                    ready(b'I'),
                ]),
                client(&[abc("", "", &[]), sync()]),
                server(&[m(b'2'), complete("SELECT 0"), ready(b'I')]),
            ],
            vec![
                "execute error 'D' 22012",
                r#"execute ok 'D' rows=0 ["SELECT 0"]"#,
            ],
        ),
        (
            "copy by execute: the server reads over the first sync",
            vec![
                client(&[parse("", "copy", &[]), abc("", "", &[]), sync()]),
                server(&[m(b'1'), m(b'2'), message(b'G', b"\0\0\0")]),
                client(&[message(b'd', b"abc"), m(b'c'), sync()]),
                server(&[complete("COPY 1"), ready(b'I')]),
                client(&[query("q")]),
                server(&[complete("SELECT 1"), ready(b'I')]),
            ],
            vec![
                r#"execute ok 'copy' rows=1 ["COPY 1"] in=3 out=0"#,
                r#"simple ok 'q' rows=1 ["SELECT 1"]"#,
            ],
        ),
        (
            "a query within a pipeline is a sync point of its own",
            vec![
                client(&[
                    parse("", "A", &[]),
                    abc("", "", &[]),
                    query("q"),
                    sync(),
                    query("r"),
                ]),
                server(&[
                    m(b'1'),
                    m(b'2'),
                    complete("SELECT 1"),
                    complete("SELECT 2"),
                    ready(b'I'),
                ]),
                server(&[ready(b'I'), complete("SELECT 3"), ready(b'I')]),
                client(&[abc("", "", &[]), sync()]),
                server(&[error("ERROR", "26000", "the query dropped it"), ready(b'I')]),
            ],
            vec![
                r#"execute ok 'A' rows=1 ["SELECT 1"]"#,
                r#"simple ok 'q' rows=2 ["SELECT 2"]"#,
                r#"simple ok 'r' rows=3 ["SELECT 3"]"#,
                "bind error unseen 26000",
                "execute none unseen",
            ],
        ),
        (
            "a name that is taken, discard all, fatal while idle",
            vec![
                client(&[parse("s", "first", &[]), parse("s", "second", &[]), sync()]),
                server(&[m(b'1'), error("ERROR", "42P05", "taken"), ready(b'I')]),
                client(&[abc("", "s", &[]), sync()]),
                server(&[m(b'2'), complete("SELECT 1"), ready(b'I')]),
                client(&[parse("", "DISCARD ALL", &[]), abc("", "", &[]), sync()]),
                server(&[m(b'1'), m(b'2'), complete("DISCARD ALL"), ready(b'I')]),
                client(&[abc("", "s", &[]), sync()]),
                server(&[error("ERROR", "26000", "no s"), ready(b'I')]),
                server(&[error("FATAL", "57P01", "terminating")]),
            ],
            vec![
                "prepare error 'second' 42P05",
                r#"execute ok 'first' rows=1 ["SELECT 1"]"#,
                r#"execute ok 'DISCARD ALL' ["DISCARD ALL"]"#,
                "bind error unseen 26000",
                "execute none unseen",
                "session error 57P01 terminating",
            ],
        ),
        (
            "prepared by sql",
            vec![
                client(&[query("select 1; prepare p as select 2")]),
                server(&[complete("SELECT 1"), complete("PREPARE"), ready(b'I')]),
                client(&[abc("", "p", &[]), sync()]),
                server(&[m(b'2'), complete("SELECT 1"), ready(b'I')]),
                client(&[query("deallocate p")]),
                server(&[complete("DEALLOCATE"), ready(b'I')]),
                client(&[abc("", "p", &[]), sync()]),
                server(&[error("ERROR", "26000", "no p"), ready(b'I')]),
            ],
            vec![
                r#"simple ok 'select 1; prepare p as select 2' rows=1 ["SELECT 1", "PREPARE"]"#,
                r#"execute ok 'select 1; prepare p as select 2' rows=1 ["SELECT 1"]"#,
                r#"simple ok 'deallocate p' ["DEALLOCATE"]"#,
                "bind error unseen 26000",
                "execute none unseen",
            ],
        ),
    ]
}

#[test]
fn sessions() {
    for (name, steps, expected) in simple().into_iter().chain(extended()) {
        let found = lines(&run(&session(steps)));
        assert_eq!(found[0], "authenticated", "{name}");
        assert_eq!(found[1..], expected, "{name}");
    }
}

#[test]
fn times_and_facts() {
    let events = run(&session(vec![
        client(&[query("set application_name=x")]),
        server(&[status("application_name", "x"), complete("SET")]),
        server(&[ready(b'I')]),
        client(&[query("q")]),
    ]));
    let facts: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Session { facts, at } => Some((*at, facts.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(
        facts.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
        [1, 4, 6]
    );
    assert_eq!(facts[1].1.backend_pid, Some(77));
    assert_eq!(facts[1].1.role, None);
    let statements: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Statement(statement) => Some(statement),
            _ => None,
        })
        .collect();
    assert_eq!(statements[0].sent_at, 5);
    assert_eq!(statements[0].result.finished_at, Some(6));
    assert_eq!(statements[0].session.application.as_deref(), Some("psql"));
    assert_eq!(statements[1].session.application.as_deref(), Some("x"));
    assert_eq!(statements[1].session.database.as_deref(), Some("prod"));
}
