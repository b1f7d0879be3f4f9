//! `[audit]` and `[audit.retention]`: where the journal lies, how it is written and signed, and how long it is kept.

use std::path::PathBuf;

use serde::Deserialize;

use crate::audit::journal;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    pub dir: PathBuf,
    /// A segment of the journal is closed at this size.
    pub segment_bytes_max: u64,
    /// Records wait at most so long for the disk, milliseconds ...
    pub flush_interval_ms: u64,
    /// ... and at most so many.
    pub flush_records_max: u32,
    /// Slow clients down rather than lose records of what they sent.
    pub lossless: bool,
    /// What signs the journal; made at the first start. Default: beside `dir`, with `.key` behind its name.
    pub key: Option<PathBuf>,
    /// A checkpoint is signed after so many records ...
    pub checkpoint_records: u32,
    /// ... and so long after the first that is in none, milliseconds.
    pub checkpoint_interval_ms: u64,
    /// Segments that are complete are compressed.
    pub compress: bool,
    pub retention: RetentionConfig,
}

/// When the oldest segments of the journal are removed. Without `bytes_max` and `days_max`: never.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// Of all segments together, as they lie on the disk; 0: no bound.
    pub bytes_max: u64,
    /// Records are kept so many days; 0: for ever.
    pub days_max: u32,
    /// Whatever not every sink has stays.
    pub keep_undelivered: bool,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        RetentionConfig {
            bytes_max: 0,
            days_max: 0,
            keep_undelivered: true,
        }
    }
}

impl AuditConfig {
    pub(super) fn problem(&self) -> Option<String> {
        if self.segment_bytes_max < 1 << 16 {
            return Some("[audit] segment_bytes_max: give 65536 or more".to_owned());
        }
        let most = journal::CHECKPOINT_RECORDS_MAX;
        if !(1..=most).contains(&self.checkpoint_records) {
            return Some(format!("[audit] checkpoint_records: give 1 to {most}"));
        }
        if self.checkpoint_interval_ms == 0 {
            return Some("[audit] checkpoint_interval_ms: give 1 or more".to_owned());
        }
        let bytes_max = self.retention.bytes_max;
        if bytes_max != 0 && bytes_max < self.segment_bytes_max {
            return Some(format!(
                "[audit.retention] bytes_max = {bytes_max}: give 0 (keep all) or at least what one segment may take ([audit] segment_bytes_max, {})",
                self.segment_bytes_max
            ));
        }
        if self.key_path().starts_with(&self.dir) {
            return Some(format!(
                "[audit] key lies in the directory of the journal, which is copied as evidence: give a place outside {}",
                self.dir.display()
            ));
        }
        if self.flush_records_max == 0 {
            return Some("[audit] flush_records_max: give 1 or more".to_owned());
        }
        None
    }

    /// Where the journal's key lies.
    pub fn key_path(&self) -> PathBuf {
        self.key.clone().unwrap_or_else(|| {
            let mut path = self.dir.components().as_path().as_os_str().to_owned();
            path.push(".key");
            path.into()
        })
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        AuditConfig {
            dir: "/var/lib/dbgov/audit".into(),
            segment_bytes_max: journal::SEGMENT_BYTES_MAX,
            flush_interval_ms: journal::FLUSH_INTERVAL.as_millis() as u64,
            flush_records_max: journal::FLUSH_RECORDS_MAX,
            lossless: false,
            key: None,
            checkpoint_records: journal::CHECKPOINT_RECORDS,
            checkpoint_interval_ms: journal::CHECKPOINT_INTERVAL.as_millis() as u64,
            compress: true,
            retention: RetentionConfig::default(),
        }
    }
}
