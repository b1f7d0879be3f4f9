//! What somebody can do to a journal who has the files and not the key.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::super::super::{jcs, segment, storage};

#[derive(Clone)]
pub(super) struct Forge {
    pub(super) lines: Vec<Line>,
}

#[derive(Clone)]
pub(super) struct Line {
    pub(super) file: String,
    pub(super) text: String,
}

impl Forge {
    pub(super) fn read(dir: &Path) -> Self {
        let mut lines = Vec::new();
        for file in segment::sorted(storage::names(dir).unwrap()) {
            let content = fs::read_to_string(dir.join(&file)).unwrap();
            lines.extend(content.lines().map(|text| Line {
                file: file.clone(),
                text: text.to_owned(),
            }));
        }
        Forge { lines }
    }

    pub(super) fn write(&self, dir: &Path) {
        for name in segment::sorted(storage::names(dir).unwrap()) {
            fs::remove_file(dir.join(name)).unwrap();
        }
        for lines in self.lines.chunk_by(|a, b| a.file == b.file) {
            let content: String = lines
                .iter()
                .map(|line| format!("{}\n", line.text))
                .collect();
            fs::write(dir.join(&lines[0].file), content).unwrap();
        }
    }

    /// Only the file with this line.
    pub(super) fn write_one(&self, dir: &Path, at: usize) {
        let file = &self.lines[at].file;
        let lines = self.lines.iter().filter(|line| line.file == *file);
        let content: String = lines.map(|line| format!("{}\n", line.text)).collect();
        fs::write(dir.join(file), content).unwrap();
    }

    /// Where a segment begins; they are counted from 0.
    pub(super) fn segment_start(&self, segment: usize) -> usize {
        let mut starts = self
            .lines
            .chunk_by(|a, b| a.file == b.file)
            .scan(0, |at, lines| {
                let start = *at;
                *at += lines.len();
                Some(start)
            });
        starts.nth(segment).unwrap()
    }

    /// The first record of a kind behind the first two, which a start has.
    pub(super) fn find(&self, kind: &str) -> usize {
        let kind = format!("\"kind\":\"{kind}\"");
        let mut lines = self.lines.iter().enumerate().skip(3);
        lines.find(|(_, line)| line.text.contains(&kind)).unwrap().0
    }

    pub(super) fn replace(&mut self, at: usize, from: &str, to: &str) {
        let text = &mut self.lines[at].text;
        assert!(text.contains(from), "{from} in {text}");
        *text = text.replacen(from, to, 1);
    }

    /// Exchanges two lines, wherever they lie.
    pub(super) fn swap(&mut self, one: usize, other: usize) {
        let text = self.lines[one].text.clone();
        self.lines[one].text = std::mem::replace(&mut self.lines[other].text, text);
    }

    /// Changes the value at a JSON pointer a little, in canonical form.
    pub(super) fn change(&mut self, at: usize, pointer: &str) {
        let mut value: Value = serde_json::from_str(&self.lines[at].text).unwrap();
        let leaf = value.pointer_mut(pointer).unwrap();
        *leaf = match &*leaf {
            Value::String(text) if text.ends_with('0') => text.replacen('0', "1", 1).into(),
            Value::String(text) => format!("{}0", &text[..text.len().saturating_sub(1)]).into(),
            Value::Number(number) => (number.as_u64().unwrap() ^ 1).into(),
            Value::Bool(flag) => (!flag).into(),
            Value::Null => "null".into(),
            other => panic!("{other} is no leaf"),
        };
        self.lines[at].text = jcs::canonical(&value);
    }

    /// Numbers and hashes all lines anew, as far as they can be read; those that cannot are hashed as they stand.
    pub(super) fn rehash(&mut self) {
        let mut prev = "0".repeat(64);
        for (at, line) in self.lines.iter_mut().enumerate() {
            let chain_at = line.text.find("\"chain\":{").unwrap() + "\"chain\":".len();
            let chain_end = chain_at + line.text[chain_at..].find('}').unwrap() + 1;
            let chain = format!("{{\"hash\":\"{}\",\"prev\":\"{prev}\"}}", "0".repeat(64));
            line.text.replace_range(chain_at..chain_end, &chain);
            if serde_json::from_str::<Value>(&line.text)
                .is_ok_and(|v| jcs::canonical(&v) == line.text)
            {
                let mut value: Value = serde_json::from_str(&line.text).unwrap();
                value["seq"] = (at + 1).into();
                line.text = jcs::canonical(&value);
            }
            let hash_at = chain_at + 1;
            let bare = format!("{}{}", &line.text[..hash_at], &line.text[hash_at + 74..]);
            prev = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(bare));
            line.text.replace_range(hash_at + 8..hash_at + 72, &prev);
        }
    }
}

/// JSON pointers (RFC 6901) of all values that hold no others.
pub(super) fn leaves(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(key, value)| {
                leaves(value)
                    .into_iter()
                    .map(move |leaf| format!("/{key}{leaf}"))
            })
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(at, value)| {
                leaves(value)
                    .into_iter()
                    .map(move |leaf| format!("/{at}{leaf}"))
            })
            .collect(),
        _ => vec![String::new()],
    }
}
