//! Removes the oldest segments when they are too old or there are too many, and leaves a signed tombstone for them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::keeper::KeeperConfig;
use super::key::PrivateKey;
use super::line;
use super::lines::{self, Lines};
use super::record::{Kind, Record, RetentionBlock};
use super::time::{self, TimeFormatter};
use super::tombstone::{TOMBSTONE_BYTES_MAX, TOMBSTONE_NAME, Tombstone};
use super::{index, segment, storage};

const NS_PER_DAY: u64 = 24 * 3600 * 1_000_000_000;
/// A sink's place is a small object.
const CURSOR_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, Clone, Default)]
pub struct RetentionConfig {
    /// Of all segments together, as they lie on the disk; 0: no bound.
    pub bytes_max: u64,
    /// 0: for ever.
    pub days_max: u32,
    /// Names of the sinks that must have a segment before it goes.
    pub wait_for_sinks: Vec<String>,
}

pub(super) struct Retention {
    config: RetentionConfig,
    node: String,
    key: Arc<PrivateKey>,
    /// Said already that sinks keep segments from being removed.
    is_told: bool,
}

/// Segments that are to go.
struct Doomed {
    segments: Vec<String>,
    bytes: u64,
    reason: &'static str,
    /// The segment that is then the oldest.
    next: String,
}

impl Retention {
    pub(super) fn new(config: &KeeperConfig) -> Self {
        Retention {
            config: config.retention.clone(),
            node: config.node.clone(),
            key: Arc::clone(&config.key),
            is_told: false,
        }
    }

    /// Gives the record that tells what was removed.
    pub(super) fn run(&mut self, dir: &Path) -> io::Result<Option<Record>> {
        self.finish_interrupted(dir)?;
        let Some(doomed) = self.doomed(dir)? else {
            return Ok(None);
        };
        let before = read_tombstone(dir)?;
        let tombstone = self.tombstone(dir, &doomed, before.as_ref())?;
        write_tombstone(dir, &tombstone)?;
        remove(dir, &doomed.segments)?;
        let first_seq = doomed
            .segments
            .first()
            .and_then(|name| segment::first_seq(name));
        let mut record = Record::new(Kind::Retention, time::unix_now_ns());
        record.retention = Some(Box::new(RetentionBlock {
            bytes: doomed.bytes,
            first_seq: first_seq.unwrap_or_default(),
            last_hash: tombstone.last_hash,
            last_seq: tombstone.last_seq,
            reason: doomed.reason,
            segments: doomed.segments.len() as u64,
        }));
        Ok(Some(record))
    }

    /// The tombstone is written first: what it stands for and is still there was to go.
    fn finish_interrupted(&self, dir: &Path) -> io::Result<()> {
        let Some(tombstone) = read_tombstone(dir)? else {
            return Ok(());
        };
        let segments = segment::sorted(storage::names(dir)?);
        let left: Vec<String> = segments
            .windows(2)
            .filter(|two| {
                segment::first_seq(&two[1]).is_some_and(|next| next <= tombstone.last_seq + 1)
            })
            .map(|two| two[0].clone())
            .collect();
        if left.is_empty() || !tombstone.is_signed(self.key.public()) {
            return Ok(());
        }
        remove(dir, &left)
    }

    fn doomed(&mut self, dir: &Path) -> io::Result<Option<Doomed>> {
        if self.config.bytes_max == 0 && self.config.days_max == 0 {
            return Ok(None);
        }
        let all = segment::sorted(storage::names(dir)?);
        let mut bytes_left = 0;
        for name in &all {
            bytes_left += fs::metadata(dir.join(name)).map_or(0, |file| file.size());
        }
        let delivered = delivered_seq(dir, &self.config.wait_for_sinks);
        let mut doomed: Option<Doomed> = None;
        for two in all.windows(2) {
            let Some(reason) = self.reason(bytes_left, &two[1]) else {
                break;
            };
            let next_seq = segment::first_seq(&two[1]).unwrap_or_default();
            if delivered.is_some_and(|seq| seq + 1 < next_seq) {
                self.tell_undelivered(dir, &two[0]);
                break;
            }
            let bytes = fs::metadata(dir.join(&two[0]))?.size();
            bytes_left -= bytes;
            let doomed = doomed.get_or_insert(Doomed {
                segments: Vec::new(),
                bytes: 0,
                reason,
                next: String::new(),
            });
            doomed.segments.push(two[0].clone());
            doomed.bytes += bytes;
            doomed.next.clone_from(&two[1]);
        }
        Ok(doomed)
    }

    /// Why the oldest segment is to go. All its records are older than the first of the `next` one.
    fn reason(&self, bytes_left: u64, next: &str) -> Option<&'static str> {
        let days_max = u64::from(self.config.days_max);
        if days_max > 0 {
            let oldest_kept = time::unix_now_ns().saturating_sub(days_max * NS_PER_DAY);
            // Names have their time before their number, and times sort as texts do.
            if segment::start(next).is_some_and(|start| start < time::compact(oldest_kept).as_str())
            {
                return Some("age");
            }
        }
        let is_too_much = self.config.bytes_max > 0 && bytes_left > self.config.bytes_max;
        is_too_much.then_some("size")
    }

    fn tell_undelivered(&mut self, dir: &Path, segment: &str) {
        if !self.is_told {
            tracing::warn!(
                dir = %dir.display(),
                segment,
                "the journal is beyond its retention, and its oldest segment is kept since a sink has not had all of it \
                 ([audit.retention] keep_undelivered)"
            );
            self.is_told = true;
        }
    }

    /// For these and all that were removed before. Nothing is vouched for that is not an unbroken chain from end to end:
    /// else a removal would hide what somebody else did.
    fn tombstone(
        &self,
        dir: &Path,
        doomed: &Doomed,
        before: Option<&Tombstone>,
    ) -> io::Result<Tombstone> {
        let broken = |name: &str| {
            io::Error::other(format!(
                "the journal is broken at {name} and nothing is removed before somebody has looked at it: dbgov audit verify {}",
                dir.display()
            ))
        };
        let mut names: Vec<&String> = doomed.segments.iter().collect();
        names.push(&doomed.next);
        let mut last: Option<(u64, String)> =
            before.map(|tombstone| (tombstone.last_seq, tombstone.last_hash.clone()));
        let mut first_seq = before.map(|tombstone| tombstone.first_seq);
        for name in names {
            let ends =
                Ends::read(&dir.join(name), *name == doomed.next)?.ok_or_else(|| broken(name))?;
            let follows = last
                .as_ref()
                .is_none_or(|(seq, hash)| ends.first_seq == seq + 1 && ends.first_prev == *hash);
            if !follows {
                return Err(broken(name));
            }
            first_seq.get_or_insert(ends.first_seq);
            if *name != doomed.next {
                last = Some(ends.last);
            }
        }
        let (Some((last_seq, last_hash)), Some(first_seq)) = (last, first_seq) else {
            return Err(broken(&doomed.next));
        };
        let mut text = Vec::new();
        TimeFormatter::new().write(time::unix_now_ns(), &mut text);
        let tombstone = Tombstone {
            bytes: doomed.bytes + before.map_or(0, |before| before.bytes),
            first_seq,
            key: String::new(),
            last_hash,
            last_seq,
            node: self.node.clone(),
            public_key: String::new(),
            segments: doomed.segments.len() as u64 + before.map_or(0, |before| before.segments),
            signature: String::new(),
            time: String::from_utf8_lossy(&text).into_owned(),
            v: 1,
        };
        Ok(tombstone.signed(&self.key))
    }
}

/// The links at both ends of a segment.
struct Ends {
    first_seq: u64,
    first_prev: String,
    last: (u64, String),
}

impl Ends {
    /// `None` where its first or last line is not what it should be. Of the newest segment only the first is looked at.
    fn read(path: &Path, first_only: bool) -> io::Result<Option<Self>> {
        let mut lines = Lines::open(path)?;
        if !lines.advance().map_err(io::Error::other)? {
            return Ok(None);
        }
        let Ok(first) = line::check_line(lines.line()) else {
            return Ok(None);
        };
        let mut last = Vec::new();
        while !first_only && lines.advance().map_err(io::Error::other)? {
            last.clear();
            last.extend_from_slice(lines.line());
        }
        let last = match line::check_line(&last) {
            Ok(link) => (link.seq, link.hash.as_str().to_owned()),
            Err(_) if last.is_empty() => (first.seq, first.hash.as_str().to_owned()),
            Err(_) => return Ok(None),
        };
        Ok(Some(Ends {
            first_seq: first.seq,
            first_prev: first.prev.as_str().to_owned(),
            last,
        }))
    }
}

fn remove(dir: &Path, segments: &[String]) -> io::Result<()> {
    for name in segments {
        // Before its segment: interrupted in between, the next start finds the segment and no index is left behind.
        match fs::remove_file(dir.join(index::name(name))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::remove_file(dir.join(name))?;
    }
    File::open(dir)?.sync_all()
}

fn read_tombstone(dir: &Path) -> io::Result<Option<Tombstone>> {
    let text = match read_small(&dir.join(TOMBSTONE_NAME), TOMBSTONE_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let tombstone = Tombstone::parse(&text)
        .map_err(|reason| io::Error::other(format!("{TOMBSTONE_NAME} is none: {reason}")))?;
    Ok(Some(tombstone))
}

/// Under another name first: there is always a whole one.
fn write_tombstone(dir: &Path, tombstone: &Tombstone) -> io::Result<()> {
    let new = dir.join(format!("{TOMBSTONE_NAME}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(&tombstone.to_text()?)?;
    file.sync_all()?;
    fs::rename(&new, dir.join(TOMBSTONE_NAME))?;
    File::open(dir)?.sync_all()
}

/// Number of the last record that every one of the sinks has; `None` where there are none to wait for.
pub(super) fn delivered_seq(dir: &Path, sinks: &[String]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Cursor {
        seq: u64,
    }
    let seq = |name: &String| {
        let path = dir.join("sinks").join(format!("{name}.cursor"));
        let text = read_small(&path, CURSOR_BYTES_MAX).ok()?;
        serde_json::from_slice::<Cursor>(&text).ok()
    };
    // One that has no place yet has nothing yet.
    sinks
        .iter()
        .map(|name| seq(name).map_or(0, |cursor| cursor.seq))
        .min()
}

fn read_small(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    lines::open_regular(path)?
        .take(bytes_max)
        .read_to_end(&mut text)?;
    Ok(text)
}
