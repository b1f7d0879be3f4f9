//! The protocol: long messages, several at once, half ones, and such as are seldom seen.

use dbgov_tests::Result;
use dbgov_tests::extended::{bind, describe_portal, execute, once, parse, sync, terminate};
use dbgov_tests::postgres::Options;
use dbgov_tests::wire::{message, query};

use crate::stand::{Case, Stand};

fn long() -> Vec<Case> {
    let mut cases = Vec::new();
    for kib in [1, 33, 64, 65, 1024, 3072] {
        let comment = " x".repeat(kib << 9);
        cases.push(Case::query("", format!("/*{comment}*/DROP TABLE {{t}}")));
        cases.push(Case::query("", format!("/*{comment}*/ DELETE FROM {{t}}")));
        cases.push(Case::query("", format!("DELETE FROM {{t}} /*{comment}*/")));
        cases.push(Case::query(
            "",
            format!("SELECT 1 /*{comment}*/; DROP TABLE {{t}}"),
        ));
        cases.push(Case::query(
            "",
            format!("DELETE FROM {{t}} WHERE true --{comment}"),
        ));
    }
    let many = "SELECT 1;".repeat(20_000);
    cases.push(Case::query("", format!("{many} DROP TABLE {{t}}")));
    cases.push(Case::query("", format!("DROP TABLE {{t}}; {many}")));
    let deep = format!(
        "SELECT {}1{}; DROP TABLE {{t}}",
        "(".repeat(3000),
        ")".repeat(3000)
    );
    cases.push(Case::query("", deep));
    let nested = format!(
        "{}{} DROP TABLE {{t}}",
        "/*".repeat(5000),
        "*/".repeat(5000)
    );
    cases.push(Case::query("", nested));
    let unions = format!(
        "SELECT 1{}; DELETE FROM {{t}}",
        " UNION ALL SELECT 1".repeat(3000)
    );
    cases.push(Case::query("", unions));
    cases
}

/// The last bytes of the length, directly in front of the text, are letters.
fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for length in [0x41, 0x5f41, 0x4141, 0x7a7a, 0x0061_6161, 0x3e] {
        for verb in ["drop table {t} --", "truncate {t} --", "delete from {t} --"] {
            // Behind `{t}`, whose place is taken by a name of the same length or one less.
            let text = verb.len();
            let padding = length - 4 - 1 - text;
            cases.push(Case::query("", format!("{verb}{}", "-".repeat(padding))));
        }
    }
    cases
}

fn pipelines() -> Vec<Case> {
    let drop = "DROP TABLE after_it";
    let one = |name: &str, parts: &[Vec<u8>]| Case::raw(name, "no-drop", parts.concat());
    let extended = |sql: &str| [parse("", sql), bind("", "", 0, &[]), execute("", 0)].concat();
    vec![
        one(
            "between others",
            &[query("SELECT 1"), query(drop), query("SELECT 2")],
        )
        .answered(),
        one("behind an empty one", &[query(""), query(drop)]).answered(),
        one("Terminate behind it", &[query(drop), terminate()]),
        one(
            "extended, Terminate behind it",
            &[extended(drop), terminate()],
        ),
        one(
            "extended, without Sync",
            &[extended(drop), message(b'H', &[])],
        ),
        one(
            "extended, Flush after each",
            &[
                parse("", drop),
                message(b'H', &[]),
                bind("", "", 0, &[]),
                message(b'H', &[]),
                execute("", 0),
                sync(),
            ],
        ),
        one("Parse and Sync", &[parse("", drop), sync()]),
        one(
            "Parse, Describe, Sync",
            &[parse("s", drop), message(b'D', b"Ss\0"), sync()],
        ),
        one(
            "behind others without Sync",
            &[extended("SELECT 1"), extended(drop), sync()],
        )
        .answered(),
        one(
            "named",
            &[
                parse("s", drop),
                bind("p", "s", 0, &[]),
                describe_portal("p"),
                execute("p", 1),
                sync(),
            ],
        ),
        one("a name with words", &[parse("select 1; --", drop), sync()]),
        one(
            "a name of 300 bytes",
            &[parse(&"n".repeat(300), drop), sync()],
        ),
        one(
            "behind a failing one",
            &[extended("SELECT 1/0"), sync(), extended(drop), sync()],
        )
        .answered(),
        one(
            "behind the end of a COPY",
            &[
                query("COPY after_it FROM STDIN"),
                message(b'd', b"1\n"),
                message(b'c', &[]),
                query(drop),
            ],
        )
        .answered(),
        one(
            "inside a COPY",
            &[
                query("COPY after_it FROM STDIN"),
                message(b'd', b"1\n"),
                query(drop),
            ],
        )
        .answered(),
        one(
            "behind a COPY that fails",
            &[
                query("COPY after_it FROM STDIN"),
                message(b'd', b"x\n"),
                message(b'd', b"y\n"),
                message(b'c', &[]),
                query(drop),
            ],
        )
        .answered(),
        one(
            "behind a COPY given up",
            &[
                query("COPY after_it FROM STDIN"),
                message(b'f', b"no\0"),
                once(drop, &[]),
            ],
        )
        .answered(),
        one(
            "Sync inside a COPY",
            &[
                query("COPY after_it FROM STDIN"),
                sync(),
                message(b'c', &[]),
                query(drop),
            ],
        )
        .answered(),
        one(
            "a closed statement's name again",
            &[
                parse("s", "SELECT 1"),
                message(b'C', b"Ss\0"),
                parse("s", drop),
                sync(),
            ],
        )
        .answered(),
        Case::raw(
            "text behind the NUL",
            "no-drop",
            message(b'Q', b"DROP TABLE after_it\0 SELECT 1\0"),
        ),
        Case::raw(
            "not ended by NUL",
            "",
            message(b'Q', b"DROP TABLE after_it"),
        ),
        Case::raw(
            "a message of no known type",
            "",
            [message(b'~', b""), query(drop)].concat(),
        )
        .answered(),
        Case::raw(
            "a length below 4",
            "",
            [b"Q\0\0\0\x03".to_vec(), query(drop)].concat(),
        )
        .answered(),
        Case::raw(
            "a length that is negative",
            "",
            [b"Q\xff\xff\xff\xff".to_vec(), query(drop)].concat(),
        )
        .answered(),
        Case::raw(
            "a password nobody asked for",
            "",
            [message(b'p', b"x\0"), query(drop)].concat(),
        )
        .answered()
        .or_ended_by_server(),
        Case::raw("fast path, any function", "", fast_path(2_147_483_000)),
        Case::raw(
            "Execute of what nobody saw prepared, then it",
            "no-drop",
            [execute("nope", 0), sync(), query(drop)].concat(),
        )
        .answered(),
        Case::query("no-drop", "DROP TABLE {t}").with("replication", "database"),
        Case::query("", "DROP TABLE {t}").with("options", "-c search_path=pg_temp"),
        Case::query("payroll", "SELECT * FROM salaries").after("SET search_path = payroll"),
        Case::query("payroll", "SELECT * FROM salaries").with("options", "-c search_path=payroll"),
        Case::query("payroll", "SELECT * FROM salaries")
            .after("SELECT set_config('search_path', 'pay'||'roll', false)"),
    ]
}

/// FunctionCall without arguments, result as text (documentation 55.7).
fn fast_path(oid: u32) -> Vec<u8> {
    message(
        b'F',
        &[&oid.to_be_bytes()[..], &[0, 0, 0, 0, 0, 0]].concat(),
    )
}

fn roles() -> Vec<Case> {
    let create = "CREATE TABLE x_{t} ()";
    vec![
        Case::query("boss", create).after("SET ROLE boss"),
        Case::query("boss", create).after("SET SESSION AUTHORIZATION boss"),
        Case::query("boss", create).with("options", "-c role=boss"),
        Case::query("boss", create).with("Role", "boss"),
        Case::query("boss", create).after("SELECT set_config('role', 'bo' || 'ss', false)"),
        Case::query("boss", "SET ROLE boss; CREATE TABLE after_it_2 ()"),
        Case::raw(
            "SET ROLE in the packet before",
            "boss",
            [query("SET ROLE boss"), query("CREATE TABLE after_it_2 ()")].concat(),
        )
        .answered(),
        Case::query("boss", create)
            .after("BEGIN")
            .after("SET LOCAL ROLE boss"),
    ]
}

fn try_them(cases: &[Case]) -> Result<()> {
    let mut stand = Stand::start(&Options::default(), cases.len())?;
    stand.try_all(cases)?;
    stand.judge(cases)
}

#[test]
fn however_long() -> Result<()> {
    try_them(&[long(), lengths()].concat())
}

#[test]
fn whatever_is_before_and_behind() -> Result<()> {
    try_them(&pipelines())
}

#[test]
fn whoever_it_is_by_then() -> Result<()> {
    try_them(&roles())
}
