//! Truth with the Rust driver `postgres`: extended protocol with binary formats throughout.
//!
//! The client is this very process, so the records must name it: its pid, its executable, and the thread's name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use dbgov_tests::netns::Netns;
use dbgov_tests::postgres::Options;
use dbgov_tests::truth::{Client, Report, Witness};
use dbgov_tests::wire::{self, message};
use dbgov_tests::{Result, ensure};
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::{ToSql, Type};
use postgres::{Config, NoTls};
use std::io::{Read, Write};

/// Kernel name of the thread that connects (at most 15 bytes).
const THREAD: &str = "rust-client";

fn ourselves(application: &str) -> Result<Client> {
    let program = std::env::current_exe()?;
    let mut client = Client::new(application, std::process::id(), &program)?;
    client.comm = THREAD.to_string();
    Ok(client)
}

fn connect(host: IpAddr, port: u16, application: &str) -> Result<postgres::Client> {
    let mut config = Config::new();
    config.host(&host.to_string()).port(port);
    config
        .user("postgres")
        .dbname("postgres")
        .application_name(application);
    Ok(config.connect(NoTls)?)
}

/// Runs `work` in a thread of the client's name, in a namespace if one is given.
fn as_client(netns: Option<&Netns>, work: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    let work = || {
        if let Some(netns) = netns {
            let file = std::fs::File::open(format!("/run/netns/{}", netns.name()))?;
            nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET)?;
        }
        work()
    };
    thread::scope(|scope| {
        let client = thread::Builder::new().name(THREAD.to_string());
        let client = client.spawn_scoped(scope, work)?;
        client.join().expect("the client does not panic")
    })
}

fn fails<T>(result: Result<T, postgres::Error>, sqlstate: &str) -> Result<()> {
    let error = result
        .err()
        .and_then(|error| Some(error.code()?.code().to_string()));
    ensure!(
        error.as_deref() == Some(sqlstate),
        "{error:?} instead of {sqlstate}"
    );
    Ok(())
}

/// Binary parameters of every common type, at ordinary and extreme values.
fn types(client: &mut postgres::Client, n: i32) -> Result<()> {
    let numbers = "SELECT $1::bool, $2::\"char\", $3::int2, $4::int4, $5::int8, $6::float4, $7::float8, $8::oid";
    let numbers = client.prepare(numbers)?;
    let floats: [f64; 8] = [
        0.0,
        -0.0,
        1.5,
        -1.25e-7,
        1e300,
        f64::NAN,
        f64::INFINITY,
        0.1,
    ];
    let float = floats[n as usize % floats.len()];
    let long = i64::MIN.wrapping_add(i64::from(n) << 40);
    let params: [&(dyn ToSql + Sync); 8] = [
        &(n % 2 == 0),
        &7i8,
        &(n as i16),
        &-n,
        &long,
        &(float as f32),
        &float,
        &u32::MAX,
    ];
    client.query(&numbers, &params)?;
    client.query(
        &numbers,
        &[
            &None::<bool>,
            &None::<i8>,
            &i16::MIN,
            &i32::MIN,
            &i64::MAX,
            &f32::MIN,
            &f64::MAX,
            &0u32,
        ],
    )?;

    let text = ["", "it's", "Grüße \u{1F980}", "a\n\t\"b\"\\", "', $9 = 'x"][n as usize % 5];
    let bytes: Vec<u8> = (0..n % 256).map(|b| b as u8).collect();
    client.query(
        "SELECT $1::text, $2::varchar, $3::bytea, $4::name, $5::char(20)",
        &[&text, &text, &bytes, &"name", &text],
    )?;
    let at = UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_001 + n as u64 * 86_399_999_999);
    client.query("SELECT $1::timestamptz, $2::timestamp", &[&at, &at])?;
    let ip: IpAddr = if n % 2 == 0 {
        Ipv4Addr::new(10, 9, 8, n as u8).into()
    } else {
        Ipv6Addr::LOCALHOST.into()
    };
    client.query("SELECT $1::inet", &[&ip])?;
    let ints = vec![Some(n), None, Some(-1)];
    let texts = vec![
        Some("plain"),
        None,
        Some(""),
        Some("NULL"),
        Some("q\"uote, {comma} \\ back"),
        Some("ü"),
    ];
    client.query(
        "SELECT $1::int4[], $2::text[], $3::float8[], $4::bool[]",
        &[&ints, &texts, &vec![float], &Vec::<bool>::new()],
    )?;
    Ok(())
}

fn transactions(client: &mut postgres::Client, table: &str, n: i32) -> Result<()> {
    let insert = client.prepare_typed(
        &format!("INSERT INTO {table} VALUES ($1, $2)"),
        &[Type::INT4, Type::TEXT],
    )?;
    let mut transaction = client.transaction()?;
    for k in 0..5 {
        ensure!(transaction.execute(&insert, &[&n, &format!("row {k}")])? == 1);
    }
    let portal = transaction.bind("SELECT g FROM generate_series(1, $1::int4) AS g", &[&11])?;
    let mut rows = 0;
    for _ in 0..3 {
        rows += transaction.query_portal(&portal, 4)?.len();
    }
    ensure!(rows == 11, "{rows} rows");
    let mut savepoint = transaction.savepoint("here")?;
    fails(savepoint.execute("SELECT 1 / $1::int4", &[&0]), "22012")?;
    savepoint.rollback()?;
    transaction.commit()?;
    let mut undone = client.transaction()?;
    undone.execute(&format!("DELETE FROM {table} WHERE n = $1"), &[&n])?;
    drop(undone);
    Ok(())
}

fn copies(client: &mut postgres::Client, table: &str, n: i32) -> Result<()> {
    let mut writer = client.copy_in(&format!("COPY {table} (n, name) FROM STDIN"))?;
    for k in 0..20 {
        writeln!(writer, "{n}\tcopied {k}")?;
    }
    ensure!(writer.finish()? == 20);
    let mut out = Vec::new();
    client
        .copy_out(&format!(
            "COPY (SELECT * FROM {table} WHERE n = {n}) TO STDOUT"
        ))?
        .read_to_end(&mut out)?;
    ensure!(out.iter().filter(|byte| **byte == b'\n').count() == 25);
    // Given up half-way: CopyFail.
    let mut writer = client.copy_in(&format!("COPY {table} (n, name) FROM STDIN"))?;
    writer.write_all(b"1\tnever")?;
    drop(writer);
    Ok(())
}

fn errors(client: &mut postgres::Client) -> Result<()> {
    fails(client.query("SELEKT 1", &[]), "42601")?;
    fails(
        client.query("SELECT * FROM rust_no_such_table WHERE n = $1", &[&1i32]),
        "42P01",
    )?;
    fails(client.query("SELECT 1 / $1::int4", &[&0i32]), "22012")?;
    fails(
        client.query("SELECT $1::text::int4", &[&"no number"]),
        "22P02",
    )?;
    fails(
        client.batch_execute("SELECT 1; SELECT 1 / 0; SELECT 2"),
        "22012",
    )?;
    client.batch_execute("SELECT 1; SELECT 'two; not three'; ; SELECT 3 -- end")?;
    client.simple_query("")?;
    client.query("", &[])?;
    Ok(())
}

/// 34 statements a round that the server logs.
fn work(host: IpAddr, port: u16, application: &str, table: &str, rounds: i32) -> Result<()> {
    let mut client = connect(host, port, application)?;
    client.batch_execute(&format!("CREATE TABLE {table} (n int, name text)"))?;
    for n in 0..rounds {
        types(&mut client, n)?;
        transactions(&mut client, table, n)?;
        copies(&mut client, table, n)?;
        errors(&mut client)?;
        let big = "big ".repeat(1000 * (n as usize % 64));
        let length: i32 = client.query_one("SELECT length($1)", &[&big])?.get(0);
        ensure!(length as usize == big.len());
        let mut rows = client.query_raw(
            "SELECT g FROM generate_series(1, 300) AS g WHERE g <> $1",
            &[&n],
        )?;
        while rows.next()?.is_some() {}
    }
    Ok(())
}

fn told(report: &Report, at_least: usize) -> Result<()> {
    println!("{}", report.figures());
    report.ensure(at_least)
}

#[test]
fn rust_driver_over_ipv4_and_ipv6() -> Result<()> {
    let witness = Witness::start(&Options::default())?;
    let port = witness.server.port();
    as_client(None, || {
        work(Ipv4Addr::LOCALHOST.into(), port, "rust4", "rust_four", 60)?;
        work(Ipv6Addr::LOCALHOST.into(), port, "rust6", "rust_six", 60)
    })?;
    let (report, _) = witness.finish(&[ourselves("rust4")?, ourselves("rust6")?])?;
    ensure!(report.params > 2 * 60 * 35, "{} parameters", report.params);
    ensure!(report.errors > 2 * 60 * 6, "{} errors", report.errors);
    ensure!(report.empty == 2 * 60, "{} empty Executes", report.empty);
    told(&report, 2 * 60 * 34)
}

#[test]
fn rust_driver_in_another_network_namespace() -> Result<()> {
    let netns = Netns::joined_to_host()?;
    let witness = Witness::start(&Options {
        listen: vec!["*".to_string()],
        ..Options::default()
    })?;
    let port = witness.server.port();
    as_client(Some(&netns), || {
        work(netns.peer_ipv4.into(), port, "rust4", "rust_four", 20)?;
        work(netns.peer_ipv6.into(), port, "rust6", "rust_six", 20)
    })?;
    let (report, _) = witness.finish(&[ourselves("rust4")?, ourselves("rust6")?])?;
    told(&report, 2 * 20 * 34)
}

/// Messages no driver sends: unknown and doubled names, a portal executed in pieces and past its end, pipelines that
/// fail in each of their places, names bound again after Close and DEALLOCATE.
#[test]
fn messages_no_driver_sends() -> Result<()> {
    let witness = Witness::start(&Options::default())?;
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, witness.server.port()));
    as_client(None, || {
        let mut client = wire::Client::connect(address, "postgres", "postgres", "odd")?;
        for _ in 0..50 {
            odd_round(&mut client)?;
        }
        Ok(())
    })?;
    let (report, _) = witness.finish(&[ourselves("odd")?])?;
    ensure!(report.errors == 50 * 8, "{} errors", report.errors);
    ensure!(report.skipped == 50 * 6, "{} skipped", report.skipped);
    told(&report, 50 * 19)
}

fn odd_round(client: &mut wire::Client) -> Result<()> {
    let parse = |name: &str, text: &str| message(b'P', format!("{name}\0{text}\0\0\0").as_bytes());
    // All parameters as text; -1 is NULL.
    let bind = |portal: &str, name: &str, params: &[Option<&str>]| {
        let mut body = format!("{portal}\0{name}\0\0\0").into_bytes();
        body.extend((params.len() as i16).to_be_bytes());
        for param in params {
            body.extend(param.map_or(-1, |text| text.len() as i32).to_be_bytes());
            body.extend(param.unwrap_or_default().as_bytes());
        }
        body.extend([0, 0]);
        message(b'B', &body)
    };
    let execute = |portal: &str, rows: i32| {
        message(
            b'E',
            &[portal.as_bytes(), &[0], &rows.to_be_bytes()].concat(),
        )
    };
    let sync = || message(b'S', b"");
    let mut send = |messages: &[Vec<u8>], errors: bool| -> Result<()> {
        client.stream.write_all(&messages.concat())?;
        let answer = client.until_ready();
        ensure!(answer.is_err() == errors, "{answer:?}");
        Ok(())
    };
    // A portal in pieces, and once more past its end.
    send(
        &[
            parse("s", "SELECT generate_series(1, $1::int)"),
            bind("p", "s", &[Some("7")]),
            execute("p", 3),
            execute("p", 3),
            execute("p", 3),
            execute("p", 3),
            sync(),
        ],
        false,
    )?;
    // A pipeline of several statements that share a name with other parameters.
    send(
        &[
            bind("", "s", &[Some("1")]),
            execute("", 0),
            bind("", "s", &[None]),
            execute("", 0),
            bind("a", "s", &[Some("2")]),
            bind("b", "s", &[Some("3")]),
            execute("b", 0),
            execute("a", 0),
            sync(),
        ],
        false,
    )?;
    // 42P05: the name is taken; what follows is skipped.
    send(
        &[
            parse("s", "SELECT 'other'"),
            bind("", "s", &[]),
            execute("", 0),
            sync(),
        ],
        true,
    )?;
    // 26000 and 34000: unknown names. 08P01: too few parameters. 22P02: not of the type.
    send(&[bind("", "unknown", &[]), execute("", 0), sync()], true)?;
    send(&[execute("unknown", 0), sync()], true)?;
    send(&[bind("", "s", &[]), execute("", 0), sync()], true)?;
    send(
        &[bind("", "s", &[Some("no number")]), execute("", 0), sync()],
        true,
    )?;
    // The error is in the middle: one before, one after, one after the Sync, all in one write.
    send(
        &[
            bind("", "s", &[Some("1")]),
            execute("", 0),
            parse("", "SELECT 1/0"),
            bind("", "", &[]),
            execute("", 0),
            bind("", "s", &[Some("2")]),
            execute("", 0),
            sync(),
        ],
        true,
    )?;
    // A SQL-level name bound by the protocol, and a protocol-level one forgotten by SQL.
    send(
        &[
            wire::query("PREPARE q (text) AS SELECT $1"),
            bind("", "q", &[Some("it's")]),
            execute("", 0),
        ],
        false,
    )?;
    send(&[sync()], false)?;
    send(&[wire::query("DEALLOCATE ALL")], false)?;
    send(&[bind("", "s", &[Some("1")]), sync()], true)?;
    // Empty ones, in both protocols.
    send(
        &[
            wire::query(""),
            parse("", ""),
            bind("", "", &[]),
            execute("", 0),
        ],
        false,
    )?;
    send(&[sync()], false)?;
    send(&[wire::query("SELEKT")], true)
}
