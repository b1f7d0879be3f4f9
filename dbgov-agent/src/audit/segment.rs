//! Names of the files in a journal's directory.

use std::path::Path;

use super::reader::ReadError;
use super::{storage, time};

/// Digits of a sequence number in a name: those of the largest, so that names sort as numbers do.
const SEQ_DIGITS: usize = 20;
const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";
/// Of a segment that is complete and compressed.
pub(super) const COMPRESSED_SUFFIX: &str = ".zst";

/// `audit-20261122T235959Z-00000000000000000042.jsonl`: when its first record happened, and that record's number.
pub fn name(first_time_unix_ns: u64, first_seq: u64) -> String {
    let start = time::compact(first_time_unix_ns);
    format!("{PREFIX}{start}-{first_seq:0SEQ_DIGITS$}{SUFFIX}")
}

/// The number of the first record, where the name is that of a segment.
pub fn first_seq(name: &str) -> Option<u64> {
    let (_, seq) = stem(name)?.rsplit_once('-')?;
    if seq.len() != SEQ_DIGITS || !seq.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    seq.parse().ok()
}

/// When its first record happened, as the name has it.
pub(super) fn start(name: &str) -> Option<&str> {
    Some(stem(name)?.rsplit_once('-')?.0)
}

/// The segments among the names, oldest first. Where one is there in both forms, since its compression was cut short,
/// the one that is not compressed counts.
pub fn sorted(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut segments: Vec<(u64, String)> = names
        .into_iter()
        .filter_map(|name| Some((first_seq(&name)?, name)))
        .collect();
    segments.sort_unstable();
    segments.dedup_by(|(_, compressed), (_, plain)| stem(compressed) == stem(plain));
    segments.into_iter().map(|(_, name)| name).collect()
}

/// The segments in a directory, oldest first.
pub(super) fn list(dir: &Path) -> Result<Vec<String>, ReadError> {
    let names = storage::names(dir).map_err(|source| ReadError::Dir {
        dir: dir.to_owned(),
        source,
    })?;
    Ok(sorted(names))
}

pub fn is_compressed(name: &str) -> bool {
    name.ends_with(COMPRESSED_SUFFIX)
}

/// The file for what was cut off the end of a segment; `copy` tells apart those of one place.
pub(super) fn torn_name(segment: &str, offset: u64, copy: u32) -> String {
    let stem = stem(segment).unwrap_or(segment);
    match copy {
        0 => format!("torn-{stem}-{offset}.bin"),
        copy => format!("torn-{stem}-{offset}-{copy}.bin"),
    }
}

/// What the forms of one segment have in common.
pub(super) fn stem(name: &str) -> Option<&str> {
    let name = name.strip_suffix(COMPRESSED_SUFFIX).unwrap_or(name);
    name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_there_and_back() {
        let segment = name(1_795_391_999_123_456_789, 42);
        assert_eq!(segment, "audit-20261122T235959Z-00000000000000000042.jsonl");
        assert_eq!(first_seq(&segment), Some(42));
        assert_eq!(first_seq(&name(0, u64::MAX)), Some(u64::MAX));
        assert_eq!(
            torn_name(&segment, 7, 0),
            "torn-20261122T235959Z-00000000000000000042-7.bin"
        );
    }

    #[test]
    fn other_files_are_no_segments() {
        for other in [
            "audit.lock",
            "audit-.jsonl",
            "audit-x-1.jsonl",
            "audit-20261122T235959Z-00000000000000000042.jsonl.gz",
            "audit-20261122T235959Z-00000000000000000042.jsonl.zst.new",
            "audit-20261122T235959Z-00000000000000000042.zst",
            "audit-20261122T235959Z-99999999999999999999.jsonl",
            "audit-20261122T235959Z-+0000000000000000042.jsonl",
            "torn-20261122T235959Z-00000000000000000042-7.bin",
        ] {
            assert_eq!(first_seq(other), None, "{other}");
        }
    }

    #[test]
    fn the_clock_may_jump_back() {
        let (old, new) = (name(2_000_000_000, 1), name(0, 2));
        assert_eq!(sorted([new.clone(), old.clone()]), [old, new]);
    }

    #[test]
    fn compressed_ones_are_the_same_segments() {
        let (one, two) = (name(0, 1), name(0, 2));
        let compressed = |name: &str| format!("{name}{COMPRESSED_SUFFIX}");
        assert_eq!(first_seq(&compressed(&two)), Some(2));
        assert!(is_compressed(&compressed(&two)) && !is_compressed(&two));
        assert_eq!(
            sorted([compressed(&two), compressed(&one), two.clone()]),
            [compressed(&one), two]
        );
    }
}
