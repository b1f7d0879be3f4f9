//! Everything of the agent that anybody can read, and what must not be in it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use dbgov_tests::agent::Agent;
use dbgov_tests::scratch;

use crate::statements::{LOGIN, PATIENCE, PIECE, SECRET};

/// A name of the place, and the text there.
pub(crate) type Told = (String, String);

/// In the forms in which bytes are written.
fn encodings(secret: &str) -> Vec<String> {
    let mut forms = vec![
        secret.to_owned(),
        hex::encode(secret),
        hex::encode_upper(secret),
    ];
    // Base64 cuts in threes: what is inside a longer text is found at each of the three places.
    for skipped in 0..3 {
        let whole = &secret.as_bytes()[skipped..];
        let whole = &whole[..whole.len() / 3 * 3];
        forms.push(base64(whole));
    }
    forms
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks_exact(3) {
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in (0..4).rev() {
            text.push(char::from(DIGITS[(bits >> (6 * place)) as usize & 63]));
        }
    }
    text
}

/// What the agent leaves in files, also when it has ended.
pub(crate) fn left(agent: &Agent) -> Result<Vec<Told>> {
    let mut told = vec![
        file("the log", &agent.stderr_path())?,
        file("the standard output", &agent.stdout_path())?,
    ];
    files(&agent.audit_dir()?, &mut told)?;
    Ok(told)
}

pub(crate) fn told(agent: &Agent) -> Result<Vec<Told>> {
    let mut told = left(agent)?;
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["approvals", "list"],
        &["approvals", "list", "--json"],
        &["gate", "status"],
        &["tag", "list"],
        &["doctor"],
        &["doctor", "--json"],
        &["audit", "key"],
        &["audit", "tail", "-n", "1000000"],
        &["audit", "search"],
        &["audit", "search", "--json"],
        &["audit", "search", "--text", "password"],
        &["audit", "report", "--control", "soc2", "--since", "1h"],
        &[
            "audit",
            "report",
            "--control",
            "hipaa",
            "--since",
            "1h",
            "--json",
        ],
    ] {
        let output = agent.command(args)?;
        let text = [output.stdout, output.stderr].concat();
        // A place nobody answers from would be no place; that nothing is tagged or found is an answer.
        let may_be_empty = args[0] == "tag" || args.contains(&"--text");
        ensure!(!text.is_empty() || may_be_empty, "{args:?} says nothing");
        told.push((args.join(" "), String::from_utf8_lossy(&text).into_owned()));
    }
    let address = agent.listen_address()?;
    for path in ["/metrics", "/healthz", "/"] {
        told.push((format!("GET {path}"), get(&address, path)?));
    }
    Ok(told)
}

fn file(name: &str, path: &Path) -> Result<Told> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let bytes = match path.extension().is_some_and(|end| end == "zst") {
        true => zstd::decode_all(&bytes[..])?,
        false => bytes,
    };
    Ok((
        name.to_owned(),
        String::from_utf8_lossy(&bytes).into_owned(),
    ))
}

/// All below `dir`: the segments, as they are and decompressed, indexes, cursors, what was refused.
fn files(dir: &Path, told: &mut Vec<Told>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, told)?;
            continue;
        }
        match file(&path.display().to_string(), &path) {
            Ok(text) => told.push(text),
            // Compressed, or renamed, since: it is there under its other name.
            Err(_) if !path.exists() => return files(dir, told),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// None of the secrets is in any of the places, in whatever form.
pub(crate) fn assert_nowhere(secrets: &[&str], told: &[Told]) -> Result<()> {
    let mut found = Vec::new();
    for secret in secrets {
        for form in encodings(secret) {
            for (place, text) in told {
                for (at, _) in text.match_indices(&form) {
                    let line = text[..at].rfind('\n').map_or(0, |line| line + 1);
                    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
                    found.push(format!("{form} is in {place}:\n{}", &text[line..end]));
                }
            }
        }
    }
    found.truncate(20);
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

pub(crate) fn assert_nothing_told(agent: &Agent) -> Result<()> {
    assert_nowhere(&[SECRET, PIECE, LOGIN], &told(agent)?)
}

/// The hunt finds what is there, in each form and at each place of a longer text.
#[test]
fn what_is_there_is_found() -> Result<()> {
    let scratch = scratch::Scratch::new("hunt")?;
    let longer = |before: usize| format!("{}{SECRET}{}", "a".repeat(before), "b".repeat(9));
    for before in 0..3 {
        for text in [
            longer(before),
            hex::encode(longer(before)),
            base64(longer(before).as_bytes()),
        ] {
            let path = scratch.path().join("a.jsonl.zst");
            fs::write(&path, zstd::encode_all(text.as_bytes(), 3)?)?;
            let mut places = Vec::new();
            files(scratch.path(), &mut places)?;
            assert!(assert_nowhere(&[SECRET], &places).is_err(), "{text}");
            assert_nowhere(&[LOGIN], &places)?;
        }
    }
    Ok(())
}
