//! How much of a large body of SQL is read: for the eye, not for the build.

use crate::sql::cursor::Cursor;
use crate::sql::lexer::{Lexer, Token};
use crate::sql::{Dialect, Parse, facts, statement};

/// Prints the statements of a file that are not read, and how many are:
/// `DBGOV_SQL_CORPUS=FILE cargo test -p dbgov-agent sql::tests::corpus -- --ignored --nocapture`.
/// PostgreSQL's regression tests, without psql's own commands, are such a file.
#[test]
#[ignore = "needs a file"]
fn what_is_not_read() {
    let path = std::env::var("DBGOV_SQL_CORPUS").expect("DBGOV_SQL_CORPUS names a file");
    let text = std::fs::read_to_string(path).expect("a file of text");
    let (mut all, mut failed) = (0, 0);
    for script in text.split('\u{1}') {
        let (_, script) = script.split_once('\n').unwrap_or(("", script));
        let tokens: Vec<Token> = Lexer::new(script).collect();
        let mut rest = tokens.as_slice();
        while !rest.is_empty() {
            let end = statement::end(script, rest);
            let statement = Cursor {
                text: script,
                tokens: &rest[..end],
            };
            rest = rest.get(end + 1..).unwrap_or(&[]);
            let written = statement.written();
            if written.is_empty() {
                continue;
            }
            all += 1;
            if facts(written, Dialect::Postgres, false).parse != Parse::Ok {
                failed += 1;
                println!("UNREAD {}", written.replace('\n', " "));
            }
        }
    }
    println!("{failed} of {all} statements are not read");
}
