//! What a refused client reads: replaced statement texts against a real server, the farewell against real clients.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use dbgov_agent::gate::refusal::{fatal, reject_text};
use dbgov_tests::drivers::Target;
use dbgov_tests::farewell;
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::wire::{self, Client};

/// The Rust driver passes a message over that comes together with the end of the stream.
const PAUSE: Duration = Duration::from_millis(100);
const RULES: &[(&str, Option<&str>)] = &[
    ("no-destructive-ddl", Some("agents do not change schemas")),
    ("drop", None),
    ("'; DROP TABLE kept; --", Some("\\'; DROP TABLE kept; --")),
    ("é漢字", Some("weil's \"so\" ist $$ /* -- \u{0}\n")),
    ("", Some("")),
];

/// The fields of an ErrorResponse or a NoticeResponse (PostgreSQL documentation 55.8).
fn field(body: &[u8], name: u8) -> String {
    body.split(|byte| *byte == 0)
        .find(|field| field.first() == Some(&name))
        .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
        .unwrap_or_default()
}

/// The one answer to a text that must fail; whatever else the server says is a fault.
fn refused(client: &mut Client, what: &str) -> String {
    let mut message = None;
    loop {
        let (kind, body) = client.message().unwrap();
        match kind {
            b'Z' => break,
            b'E' => {
                assert_eq!(
                    field(&body, b'C'),
                    "42601",
                    "{what}: {}",
                    field(&body, b'M')
                );
                assert_eq!(message.replace(field(&body, b'M')), None, "{what}");
            }
            other => panic!("{what}: {} {body:?}", char::from(other)),
        }
    }
    message.unwrap_or_else(|| panic!("{what}: no error"))
}

fn parse(text: &[u8]) -> Vec<u8> {
    let body = [b"\0", text, b"\0\0\0"].concat();
    [wire::message(b'P', &body), wire::message(b'S', b"")].concat()
}

/// Every length, every rule, as a simple query and as a Parse.
fn all_are_refused(client: &mut Client, lengths: impl Iterator<Item = usize>) {
    for length in lengths {
        for (rule, reason) in RULES {
            let text = reject_text(length, rule, *reason).unwrap();
            let shown = String::from_utf8(text.clone()).unwrap();
            let told = shown.trim_end();
            for message in [
                wire::message(b'Q', &[&text[..], b"\0"].concat()),
                parse(&text),
            ] {
                client.stream.write_all(&message).unwrap();
                let error = refused(client, &shown);
                assert_eq!(error, format!("syntax error at or near \"{told}\""));
            }
        }
    }
}

fn address(server: &Server) -> SocketAddr {
    ([127, 0, 0, 1], server.port()).into()
}

#[test]
fn a_replaced_text_of_any_length_is_an_error_and_nothing_runs() {
    let server = Server::start(&Options::default()).unwrap();
    server.admin("CREATE TABLE kept (x int)").unwrap();
    let mut client = Client::connect(address(&server), "postgres", "postgres", "reject").unwrap();
    all_are_refused(&mut client, 1..=300);
    for setting in [
        "SET standard_conforming_strings = off",
        "SET backslash_quote = on",
        "SET client_encoding = 'SJIS'",
        "SET client_encoding = 'GBK'",
        "SET client_encoding = 'BIG5'",
        "SET client_encoding = 'LATIN1'",
    ] {
        client.query(setting).unwrap();
        all_are_refused(&mut client, (1..=120).step_by(7));
    }
    // The connection lives, and so does the transaction logic of its client.
    client.query("BEGIN").unwrap();
    all_are_refused(&mut client, 40..=40);
    assert!(
        client
            .query("SELECT 1")
            .unwrap_err()
            .to_string()
            .contains("25P02")
    );
    all_are_refused(&mut client, 40..=40);
    client.query("ROLLBACK").unwrap();
    assert_eq!(client.query("SELECT 1").unwrap(), ["SELECT 1"]);
    assert_eq!(server.admin("SELECT count(*) FROM kept").unwrap(), "0");
}

#[test]
fn a_replication_connection_refuses_it_too() {
    let settings = vec![("wal_level".to_owned(), "logical".to_owned())];
    let server = Server::start(&Options {
        settings,
        ..Options::default()
    })
    .unwrap();
    let stream = std::net::TcpStream::connect(address(&server)).unwrap();
    let mut client = Client { stream };
    client
        .stream
        .write_all(&wire::startup(&[
            ("user", "postgres"),
            ("database", "postgres"),
            ("replication", "database"),
        ]))
        .unwrap();
    client.until_ready().unwrap();
    for length in (1..=300).step_by(3) {
        for (rule, reason) in RULES {
            let text = reject_text(length, rule, *reason).unwrap();
            let message = wire::message(b'Q', &[&text[..], b"\0"].concat());
            client.stream.write_all(&message).unwrap();
            refused(&mut client, &String::from_utf8_lossy(&text));
        }
    }
    assert!(client.query("IDENTIFY_SYSTEM").is_ok());
}

/// psql and libpq's like show the server's text: what a person sees.
#[test]
fn psql_shows_rule_and_reason() {
    let server = Server::start(&Options::default()).unwrap();
    let (rule, reason) = RULES[0];
    let sql = String::from_utf8(reject_text(90, rule, reason).unwrap()).unwrap();
    let output = psql(server.port(), &sql);
    assert!(
        output
            .contains("dbgov: denied by rule \"no-destructive-ddl\": agents do not change schemas"),
        "{output}"
    );
}

fn psql(port: u16, sql: &str) -> String {
    let target = Target::new("127.0.0.1", port);
    let mut command = target.place.command("psql");
    command.envs(target.environment());
    command.env("PGSSLMODE", "disable");
    command.env("PGGSSENCMODE", "disable");
    command.args(["-X", "-c", sql]);
    let output = command.output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_farewell_is_shown() {
    let (rule, reason) = RULES[0];
    let output = psql(
        farewell::start(fatal(rule, reason, true), PAUSE).unwrap(),
        "DROP TABLE kept",
    );
    let expected =
        "FATAL:  dbgov: denied by rule \"no-destructive-ddl\": agents do not change schemas";
    assert!(output.contains(expected), "{output}");

    let port = farewell::start(fatal(rule, reason, true), PAUSE).unwrap();
    let config = format!("host=127.0.0.1 port={port} user=postgres sslmode=disable");
    let mut client = postgres::Client::connect(&config, postgres::NoTls).unwrap();
    let error = client.simple_query("DROP TABLE kept").unwrap_err();
    let error = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
    assert_eq!(error.code().code(), "42501");
    assert_eq!(error.severity(), "FATAL");
    assert_eq!(Some(error.message()), expected.strip_prefix("FATAL:  "));
}
