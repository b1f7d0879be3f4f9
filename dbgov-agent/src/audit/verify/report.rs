//! What was found, for people and as JSON.

use std::fmt;

use serde::Serialize;

/// Breaks that are told one by one; more are counted.
pub(super) const BREAKS_MAX: usize = 20;
/// Stretches that are told one by one.
pub(super) const STRETCHES_MAX: usize = 20;

/// A place where the journal is not what dbgov wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Break {
    /// `changed`, `unreadable`, `missing`, `order`, `link`, `signature`, `key`, `unsigned`, `header`, `name`, `cut`,
    /// `version`, `file`, `tombstone`, `expected`.
    pub kind: &'static str,
    /// Number of the first record concerned, as far as it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    pub file: String,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    pub what: String,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(seq) = self.seq {
            write!(f, "record {seq}, ")?;
        }
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Breaks in order, the first ones in words.
#[derive(Debug, Clone, Default)]
pub(super) struct Breaks {
    pub(super) first: Vec<Break>,
    pub(super) total: u64,
}

impl Breaks {
    pub(super) fn push(&mut self, found: Break) {
        self.total += 1;
        if self.first.len() < BREAKS_MAX {
            self.first.push(found);
        }
    }

    pub(super) fn append(&mut self, other: Breaks) {
        let room = BREAKS_MAX.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
        self.total += other.total;
    }
}

/// Records from one to another, both of them too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stretch {
    pub from: u64,
    pub to: u64,
}

/// A key and what it signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeySeen {
    pub id: String,
    pub public_key: String,
    pub checkpoints: u64,
    /// It was given to the verifier, not only named by the journal.
    pub given: bool,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub intact: bool,
    /// The first ones in order; `breaks_total` says how many there are.
    pub breaks: Vec<Break>,
    pub breaks_total: u64,
    pub segments: u64,
    pub records: u64,
    /// Of the records, uncompressed.
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_hash: Option<String>,
    pub checkpoints: u64,
    /// The last record that is signed, and its hash: for `--expect-seq` and `--expect-hash` next time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_checkpoint_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_checkpoint_hash: Option<String>,
    /// Behind the last checkpoint: who can write the file could have changed or removed them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsigned_tail: Option<Stretch>,
    /// Before crashes: they were not signed while no agent ran, and only what came later signs them.
    pub unsigned_before_crashes: Vec<Stretch>,
    pub unsigned_before_crashes_total: u64,
    /// Records that retention removed, as the tombstone says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<Stretch>,
    pub keys: Vec<KeySeen>,
    /// All signatures are by keys that were given.
    pub origin_proven: bool,
    /// Of closed segments, those that a search uses.
    pub indexes: u64,
    /// Damaged, of another segment or signed by somebody else: told in the notes. The journal may be intact all the same.
    pub indexes_bad: u64,
    pub notes: Vec<String>,
    pub seconds: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.breaks.first() {
            Some(first) => {
                writeln!(f, "NOT INTACT, first at {first}")?;
                for more in &self.breaks[1..] {
                    writeln!(f, "  also at {more}")?;
                }
                let untold = self.breaks_total - self.breaks.len() as u64;
                if untold > 0 {
                    writeln!(f, "  and at {untold} more places")?;
                }
            }
            None => writeln!(
                f,
                "intact: nothing signed was changed, removed, inserted or reordered"
            )?,
        }
        self.write_extent(f)?;
        self.write_signatures(f)?;
        self.write_limits(f)?;
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}

impl Report {
    fn write_extent(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(first), Some(last)) = (self.first_seq, self.last_seq) {
            write!(f, "records {first} to {last}")?;
        }
        let rate = self.records as f64 / self.seconds.max(1e-6);
        writeln!(
            f,
            " ({} in {} segments, {:.1} MB; {:.2} s, {rate:.0} records/s)",
            self.records,
            self.segments,
            self.bytes as f64 / 1e6,
            self.seconds
        )?;
        if let Some(removed) = self.removed {
            writeln!(
                f,
                "records {} to {} were removed by retention, as the signed tombstone says",
                removed.from, removed.to
            )?;
        }
        Ok(())
    }

    fn write_signatures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for key in &self.keys {
            let origin = if key.given {
                "given"
            } else {
                "named by the journal"
            };
            writeln!(
                f,
                "key {} ({origin}): {} signatures",
                key.id, key.checkpoints
            )?;
        }
        if self.checkpoints == 0 {
            writeln!(
                f,
                "NOTHING IS SIGNED: who can write these files could have written all of it"
            )?;
        } else if !self.origin_proven {
            writeln!(
                f,
                "this proves that the journal is consistent, not who wrote it: give --key with the host's public key (`dbgov audit key` prints it)"
            )?;
        }
        Ok(())
    }

    fn write_limits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(seq), Some(hash)) = (self.last_checkpoint_seq, &self.last_checkpoint_hash) {
            writeln!(f, "last signature: record {seq}, {hash}")?;
            writeln!(
                f,
                "cannot be told from these files alone: whether more was written after record {seq} and removed (compare with what a SIEM holds: --expect-seq, --expect-hash)"
            )?;
        }
        if let Some(tail) = self.unsigned_tail {
            writeln!(
                f,
                "cannot be told: whether records {} to {}, which come after the last signature, are as they were written",
                tail.from, tail.to
            )?;
        }
        for stretch in &self.unsigned_before_crashes {
            writeln!(
                f,
                "cannot be told: whether records {} to {} were changed while the agent was down after a crash",
                stretch.from, stretch.to
            )?;
        }
        let untold = self.unsigned_before_crashes_total - self.unsigned_before_crashes.len() as u64;
        if untold > 0 {
            writeln!(f, "  and so before {untold} more crashes")?;
        }
        Ok(())
    }
}
