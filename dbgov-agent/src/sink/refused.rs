//! Records that a receiver will never take: kept beside the cursor for a person to look at.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use serde::Serialize;

use super::cursor::Place;
use super::deliver::Item;

/// Largest file of refused records, bytes: so many that somebody has to have a look, and little for a disk. When it is
/// full the sink waits, since going on would be losing.
const REFUSED_BYTES_MAX: u64 = 64 << 20;

/// One record, and why it was refused.
#[derive(Debug, Serialize)]
pub(super) struct Refused<'a> {
    /// As it was to be sent.
    pub body: &'a str,
    pub id: &'a str,
    pub kind: &'a str,
    pub seq: u64,
    /// When it was refused.
    time: String,
    v: u32,
    pub why: &'a str,
}

impl<'a> Refused<'a> {
    pub(super) fn new(seq: u64, body: &'a str, why: &'a str) -> Self {
        Refused {
            body,
            id: "",
            kind: "",
            seq,
            time: jiff::Timestamp::now().to_string(),
            v: 1,
            why,
        }
    }

    pub(super) fn of(item: &'a Item, why: &'a str) -> Self {
        let body = std::str::from_utf8(&item.body).unwrap_or_default();
        Refused {
            id: &item.id,
            kind: &item.kind,
            ..Refused::new(item.seq, body, why)
        }
    }
}

/// Appends durably to `<name>.refused.jsonl`.
///
/// # Errors
/// The disk refuses, or the file is full. Nothing is appended then, and the caller has to try again.
pub(super) fn keep(place: &Place, refused: &[Refused<'_>]) -> io::Result<()> {
    let mut lines = Vec::new();
    for one in refused {
        serde_json::to_writer(&mut lines, one)?;
        lines.push(b'\n');
    }
    place.make()?;
    let path = place.file("refused.jsonl");
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)?;
    let before = file.metadata()?.len();
    if before >= REFUSED_BYTES_MAX {
        return Err(io::Error::other(format!(
            "{} is full; look at what the receiver refused, and remove the file",
            path.display()
        )));
    }
    write(&mut file, &lines).inspect_err(|_| {
        // Half a line would spoil the next one.
        let _ = file.set_len(before);
    })
}

fn write(file: &mut File, lines: &[u8]) -> io::Result<()> {
    file.write_all(lines)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::config::SinkName;

    #[test]
    fn kept_with_the_reason_until_the_file_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let name = SinkName::try_from("siem".to_owned()).unwrap();
        let place = Place::new(dir.path(), &name);
        for seq in 1..4 {
            let body = format!("{{\"seq\":{seq}}}");
            keep(&place, &[Refused::new(seq, &body, "mapping \"x\"")]).unwrap();
        }
        let path = place.file("refused.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        let seqs: Vec<u64> = text
            .lines()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(line["why"], "mapping \"x\"");
                assert_eq!(line["body"], format!("{{\"seq\":{}}}", line["seq"]));
                line["seq"].as_u64().unwrap()
            })
            .collect();
        assert_eq!(seqs, [1, 2, 3]);

        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(REFUSED_BYTES_MAX).unwrap();
        let error = keep(&place, &[Refused::new(4, "b", "no")]).unwrap_err();
        assert!(
            error.to_string().contains("siem.refused.jsonl is full"),
            "{error}"
        );
        assert_eq!(file.metadata().unwrap().len(), REFUSED_BYTES_MAX);
    }
}
