//! What tests ask of a journal: that its chain holds, and which records belong together.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::agent::{self, is_bookkeeping, segment_text, segments};

/// `"hash":"<64 digits>",`: the part of a line its hash does not cover.
const HASH_MEMBER_BYTES: usize = "\"hash\":\"\",".len() + 64;
const CHAIN_OPEN: &str = "\"chain\":{";

/// Reads a journal nobody writes to and checks all it promises: whole lines, numbers from 1 that grow by 1, each
/// line's SHA-256, each line's link to the one before; over all segments, which are named by their first number. Where
/// the journal's key lies beside it, `dbgov audit verify` has to agree. The records come without the journal's
/// book-keeping.
pub fn verify(dir: &Path) -> Result<Vec<Value>> {
    let mut records = Vec::new();
    let (mut prev, mut sequence) = ("0".repeat(64), 0);
    let mut checkpoints = 0u64;
    for (first, path) in segments(dir)? {
        let text = segment_text(&path)?;
        ensure!(
            text.is_empty() || text.ends_with('\n'),
            "{} ends in the middle of a line",
            path.display()
        );
        for (number, line) in text.lines().enumerate() {
            let place = || format!("{} line {}", path.display(), number + 1);
            let record: Value = serde_json::from_str(line).with_context(place)?;
            sequence += 1;
            ensure!(record["seq"] == sequence, "{}: not {sequence}", place());
            ensure!(
                number > 0 || first == sequence,
                "{}: named {first}",
                place()
            );
            let chain = &record["chain"];
            ensure!(chain["prev"] == prev.as_str(), "{}: broken link", place());
            prev = hash_of(line).with_context(place)?;
            ensure!(chain["hash"] == prev.as_str(), "{}: wrong hash", place());
            checkpoints += u64::from(record["kind"] == "checkpoint");
            if !is_bookkeeping(&record) {
                records.push(record);
            }
        }
    }
    if let Some(key) = key_beside(dir) {
        let report = verified(dir, &["--key".as_ref(), key.as_os_str()])?;
        ensure!(report["intact"] == true, "dbgov audit verify: {report:#}");
        ensure!(
            report["records"] == sequence,
            "{sequence} records: {report:#}"
        );
        ensure!(
            report["checkpoints"] == checkpoints,
            "{checkpoints} signatures: {report:#}"
        );
    }
    Ok(records)
}

/// The key of the journal, where dbgov made it.
pub fn key_beside(dir: &Path) -> Option<PathBuf> {
    let mut key = dir.as_os_str().to_owned();
    key.push(".key");
    let key = PathBuf::from(key);
    key.exists().then_some(key)
}

/// What `dbgov audit verify --json` says, whatever its exit code; that has to agree.
pub fn verified(dir: &Path, arguments: &[&OsStr]) -> Result<Value> {
    let output = Command::new(agent::binary()?)
        .args(["audit", "verify", "--json"])
        .arg(dir)
        .args(arguments)
        .output()?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    ensure!(
        report["intact"] == output.status.success(),
        "exit {}: {report:#}",
        output.status
    );
    Ok(report)
}

/// SHA-256 over the line without its `"hash":"…",`.
fn hash_of(line: &str) -> Result<String> {
    let at = line.find(CHAIN_OPEN).context("no chain")? + CHAIN_OPEN.len();
    let after = line.get(at + HASH_MEMBER_BYTES..).context("no hash")?;
    let digest = Sha256::new()
        .chain_update(&line[..at])
        .chain_update(after)
        .finalize();
    Ok(hex::encode(digest))
}

pub fn of_kind<'a>(records: &'a [Value], kind: &str) -> Vec<&'a Value> {
    records.iter().filter(|r| r["kind"] == kind).collect()
}

/// The records of each session, in order.
pub fn by_session(records: &[Value]) -> BTreeMap<&str, Vec<&Value>> {
    let mut sessions: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for record in records {
        if let Some(id) = record["session"]["id"].as_str() {
            sessions.entry(id).or_default().push(record);
        }
    }
    sessions
}

/// The records of the sessions a client had under this `application_name`, in order. Those written before the name
/// was known are among them.
pub fn of_application<'a>(records: &'a [Value], application: &str) -> Vec<&'a Value> {
    let mut found = Vec::new();
    for (_, session) in by_session(records) {
        if session
            .iter()
            .any(|record| record["session"]["application"] == application)
        {
            found.extend(session);
        }
    }
    found
}

/// The records of the session of this client address.
pub fn of_client(records: &[Value], client: std::net::SocketAddr) -> Vec<&Value> {
    let client = client.to_string();
    records
        .iter()
        .filter(|record| record["session"]["client_addr"] == client.as_str())
        .collect()
}

/// Their kinds, in order.
pub fn kinds<'a>(records: &[&'a Value]) -> Vec<&'a str> {
    records
        .iter()
        .map(|record| record["kind"].as_str().unwrap_or_default())
        .collect()
}

/// Text of the statements among them, in order; empty where it is absent.
pub fn texts<'a>(records: &[&'a Value]) -> Vec<&'a str> {
    records
        .iter()
        .filter(|record| record["kind"] == "statement")
        .map(|record| record["statement"]["text"].as_str().unwrap_or_default())
        .collect()
}

/// Everything a status counts as lost is 0.
pub fn ensure_lossless(status: &Value) -> Result<()> {
    let kernel = [
        "lost_segments",
        "lost_bytes",
        "control_lost",
        "connections_refused",
        "unparsed_packets",
        "unframed",
        "malformed_events",
    ];
    for name in kernel {
        let value = &status["kernel"][name];
        ensure!(value == 0, "kernel.{name} is {value}: {status}");
    }
    let dropped = &status["journal"]["dropped"];
    ensure!(dropped == 0, "journal.dropped is {dropped}");
    Ok(())
}

/// Resident memory of a process, KiB.
pub fn resident_kib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let number = line.trim().trim_end_matches("kB").trim();
    Ok(number.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    /// A record as the agent writes it, hash included.
    fn line(seq: u64, prev: &str) -> String {
        let bare = format!("{{\"chain\":{{\"prev\":\"{prev}\"}},\"kind\":\"gap\",\"seq\":{seq}}}");
        let at = bare.find(CHAIN_OPEN).unwrap() + CHAIN_OPEN.len();
        let hash = hex::encode(Sha256::digest(&bare));
        format!("{}\"hash\":\"{hash}\",{}", &bare[..at], &bare[at..])
    }

    fn hash(line: &str) -> String {
        let record: Value = serde_json::from_str(line).unwrap();
        record["chain"]["hash"].as_str().unwrap().to_string()
    }

    #[test]
    fn a_chain_over_two_segments_holds_and_any_change_breaks_it() {
        let scratch = Scratch::new("chain-test").unwrap();
        let one = line(1, &"0".repeat(64));
        let two = line(2, &hash(&one));
        let three = line(3, &hash(&two));
        let write = |name: &str, text: String| fs::write(scratch.path().join(name), text).unwrap();
        let segment = "audit-20261122T000000.000000000Z-1.jsonl";
        write(segment, format!("{one}\n{two}\n"));
        write(
            "audit-20261122T000001.000000000Z-3.jsonl",
            format!("{three}\n"),
        );
        assert_eq!(verify(scratch.path()).unwrap().len(), 3);
        for broken in [
            format!("{one}\n{}\n", two.replace("gap", "cap")),
            format!("{two}\n"),
            format!("{one}\n"),
            format!("{one}\n{two}"),
            format!("{one}\n{}\n", line(2, &"0".repeat(64))),
        ] {
            write(segment, broken.clone());
            assert!(verify(scratch.path()).is_err(), "{broken}");
        }
    }

    #[test]
    fn our_own_memory_is_something() {
        assert!(resident_kib(std::process::id()).unwrap() > 100);
    }
}
