//! Complete segments become `.jsonl.zst`: independent zstd frames (RFC 8878) of about a mebibyte of whole lines, so that
//! any of them can be read without those before it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use memchr::memrchr;

use super::keeper::{SegmentJob, Stop};
use super::segment::{self, COMPRESSED_SUFFIX};
use super::{lines, storage};

/// Of whole lines, before compression; a longer line is a frame of its own. Smaller frames compress less well.
pub(super) const FRAME_BYTES: usize = 1 << 20;
/// A twelfth of the size. What repeats in a record is in the one before it, and hashes do not compress: higher levels
/// gain nothing (3: an eleventh).
const LEVEL: i32 = 1;
/// 128 KiB, for the same reason. The compressor's memory is some five times that: the agent has 64 MiB for all it does.
const WINDOW_LOG: u32 = 17;
const READ_BYTES: usize = 128 * 1024;
/// While it is written. The next start begins anew.
pub(super) const UNFINISHED_SUFFIX: &str = ".zst.new";

/// Compresses each segment.
pub(super) struct Compress;

impl SegmentJob for Compress {
    fn name(&self) -> &'static str {
        "compress"
    }

    fn is_due(&self, _: &Path, segment: &str) -> bool {
        !segment::is_compressed(segment)
    }

    fn run(&mut self, dir: &Path, segment: &str, stop: &Stop) -> io::Result<()> {
        let path = dir.join(segment);
        let unfinished = dir.join(format!("{segment}{UNFINISHED_SUFFIX}"));
        let written = write(&path, &unfinished, stop);
        if !written.as_ref().is_ok_and(|done| *done) {
            fs::remove_file(&unfinished)?;
            return written.map(|_| ());
        }
        fs::rename(
            &unfinished,
            dir.join(format!("{segment}{COMPRESSED_SUFFIX}")),
        )?;
        let dir = File::open(dir)?;
        // The new name is there for good before the old one goes.
        dir.sync_all()?;
        fs::remove_file(&path)?;
        dir.sync_all()
    }
}

/// Removes what an interruption left: what was not finished, and what was finished while its source is still there.
pub(super) fn clean_up(dir: &Path) -> io::Result<()> {
    let names = storage::names(dir)?;
    for name in &names {
        let plain = name.strip_suffix(COMPRESSED_SUFFIX);
        let is_double = segment::is_compressed(name)
            && segment::first_seq(name).is_some()
            && plain.is_some_and(|plain| names.iter().any(|name| name == plain));
        let is_unfinished = name
            .strip_suffix(UNFINISHED_SUFFIX)
            .is_some_and(|plain| segment::first_seq(plain).is_some());
        if is_double || is_unfinished {
            fs::remove_file(dir.join(name))?;
        }
    }
    Ok(())
}

/// Writes the compressed segment and makes it durable. Says whether it came to the end before it was to stop.
fn write(from: &Path, to: &Path, stop: &Stop) -> io::Result<bool> {
    let mut from = lines::open_regular(from)?;
    let to = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(to)?;
    let mut frames = Frames { to, encoder: None };
    let mut block = vec![0; READ_BYTES];
    let mut in_frame = 0;
    loop {
        let start = Instant::now();
        let read = match from.read(&mut block) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            break;
        }
        in_frame += read;
        let cut = match memrchr(b'\n', &block[..read]) {
            Some(at) if in_frame >= FRAME_BYTES => at + 1,
            _ => 0,
        };
        if cut > 0 {
            frames.write(&block[..cut])?;
            frames.end()?;
            in_frame = read - cut;
        }
        frames.write(&block[cut..read])?;
        if stop.rest(start.elapsed()) {
            return Ok(false);
        }
    }
    frames.end()?;
    frames.to.sync_all()?;
    Ok(true)
}

struct Frames {
    to: File,
    encoder: Option<zstd::Encoder<'static, File>>,
}

impl Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.encoder.is_none() {
            let mut encoder = zstd::Encoder::new(self.to.try_clone()?, LEVEL)?;
            encoder.include_checksum(true)?;
            encoder.window_log(WINDOW_LOG)?;
            self.encoder = Some(encoder);
        }
        match &mut self.encoder {
            Some(encoder) => encoder.write_all(bytes),
            None => Ok(()),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        match self.encoder.take() {
            Some(encoder) => encoder.finish().map(|_| ()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::Lines;
    use super::*;

    fn content(lines: u32) -> Vec<u8> {
        let mut content = Vec::new();
        for number in 0..lines {
            let digest = format!(
                "{:?}",
                std::hash::BuildHasher::hash_one(&foldhash::fast::FixedState::default(), number)
            );
            content
                .extend_from_slice(format!("{{\"n\":{number},\"x\":\"{digest}\"}}\n").as_bytes());
        }
        content
    }

    #[test]
    fn frames_of_whole_lines_that_stand_alone() {
        let dir = tempfile::tempdir().unwrap();
        let name = segment::name(0, 1);
        let path = dir.path().join(&name);
        let mut content = content(150_000);
        content.extend_from_slice("x".repeat(3 << 20).as_bytes());
        content.push(b'\n');
        content.extend_from_slice(b"last\n");
        fs::write(&path, &content).unwrap();
        assert!(Compress.is_due(dir.path(), &name));
        Compress.run(dir.path(), &name, &Stop::default()).unwrap();
        assert!(!path.exists());
        let compressed = format!("{name}.zst");
        assert!(!Compress.is_due(dir.path(), &compressed));
        let bytes = fs::read(dir.path().join(&compressed)).unwrap();
        assert_eq!(zstd::decode_all(&bytes[..]).unwrap(), content);
        assert!(bytes.len() * 2 < content.len());

        // Each frame by itself, from where it begins.
        let (mut at, mut frames, mut all) = (0, 0, Vec::new());
        while at < bytes.len() {
            let size = zstd::zstd_safe::find_frame_compressed_size(&bytes[at..]).unwrap();
            let frame = zstd::decode_all(&bytes[at..at + size]).unwrap();
            assert!(frame.ends_with(b"\n"), "whole lines");
            assert!(frame.len() < FRAME_BYTES + READ_BYTES || frame.len() > 3 << 20);
            all.extend(frame);
            at += size;
            frames += 1;
        }
        assert_eq!(all, content);
        assert!(frames > 5, "{frames}");
        // The checksum is there: any changed byte is found.
        let mut changed = bytes.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        fs::write(dir.path().join(&compressed), changed).unwrap();
        let mut lines = Lines::open(&dir.path().join(&compressed)).unwrap();
        let mut outcome = lines.advance();
        while let Ok(true) = outcome {
            outcome = lines.advance();
        }
        assert!(outcome.is_err());
    }

    #[test]
    fn what_an_interruption_leaves_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (segment::name(0, 1), segment::name(0, 2));
        for name in [
            one.clone(),
            format!("{one}.zst"),
            format!("{one}.zst.new"),
            format!("{two}.zst"),
            "other.zst".to_owned(),
            "other.zst.new".to_owned(),
        ] {
            fs::write(dir.path().join(name), b"x").unwrap();
        }
        clean_up(dir.path()).unwrap();
        let mut left = storage::names(dir.path()).unwrap();
        left.sort();
        assert_eq!(
            left,
            [
                one,
                format!("{two}.zst"),
                "other.zst".to_owned(),
                "other.zst.new".to_owned()
            ]
        );
    }

    #[test]
    fn told_to_stop_it_leaves_the_segment_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let name = segment::name(0, 1);
        fs::write(dir.path().join(&name), content(10_000)).unwrap();
        let stop = Stop::default();
        stop.set();
        Compress.run(dir.path(), &name, &stop).unwrap();
        assert_eq!(storage::names(dir.path()).unwrap(), [name]);
    }
}
