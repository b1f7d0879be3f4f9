//! The key that values are hashed with: a file of 64 hexadecimal digits.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretBox};

/// Bytes of a key: as many as SHA-256 gives (RFC 2104 section 3 asks for no less).
const KEY_BYTES: usize = 32;
/// A longer file is no key, bytes.
const FILE_BYTES_MAX: u64 = 1024;
/// Anybody but the owner.
const OTHERS: u32 = 0o077;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot {what} the key of the redaction {path}: {source}")]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "{path}: others than its owner may read the key of the redaction: chmod 600 {path}, and consider it known"
    )]
    Open { path: PathBuf },
    #[error(
        "{path}: a key of the redaction has 64 hexadecimal digits; remove the file to have one made"
    )]
    Form { path: PathBuf },
}

/// Never shown, by whatever formats it.
#[derive(Debug)]
pub struct Key(SecretBox<[u8; KEY_BYTES]>);

impl Key {
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.expose_secret()
    }

    #[cfg(test)]
    pub(super) fn of(byte: u8) -> Self {
        Key(SecretBox::new(Box::new([byte; KEY_BYTES])))
    }

    /// The key in the file; a new one, where there is no file.
    pub fn read_or_make(path: &Path) -> Result<Key, KeyError> {
        match Key::read(path) {
            Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                make(path)?;
                Key::read(path)
            }
            read => read,
        }
    }

    fn read(path: &Path) -> Result<Key, KeyError> {
        let failed = |source| failed("read", path, source);
        let mut file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.mode() & OTHERS != 0 {
            return Err(KeyError::Open {
                path: path.to_owned(),
            });
        }
        let mut text = String::new();
        Read::by_ref(&mut file)
            .take(FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(failed)?;
        let mut bytes = Box::new([0; KEY_BYTES]);
        match hex::decode_to_slice(text.trim(), bytes.as_mut_slice()) {
            Ok(()) => Ok(Key(SecretBox::new(bytes))),
            Err(_) => Err(KeyError::Form {
                path: path.to_owned(),
            }),
        }
    }
}

/// Under another name first: a start that is cut off leaves no half a key.
fn make(path: &Path) -> Result<(), KeyError> {
    let failed = |source| failed("make", path, source);
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| failed(io::Error::other(error)))?;
    let unfinished = path.with_extension("new");
    let _ = std::fs::remove_file(&unfinished);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(failed)?;
    file.write_all(format!("{}\n", hex::encode(bytes)).as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&unfinished, path))
        .map_err(failed)
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> KeyError {
    KeyError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.redact.key");
        let made = Key::read_or_make(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        let read = Key::read_or_make(&path).unwrap();
        assert_eq!(made.bytes(), read.bytes());
        assert!(!format!("{made:?}").contains(&hex::encode(made.bytes())[..8]));
        let other = Key::read_or_make(&dir.path().join("other")).unwrap();
        assert_ne!(made.bytes(), other.bytes());
    }

    #[test]
    fn what_is_no_key_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        Key::read_or_make(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = Key::read_or_make(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        std::fs::remove_file(&path).unwrap();
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .unwrap();
        file.write_all(b"0123").unwrap();
        let error = Key::read_or_make(&path).unwrap_err().to_string();
        assert!(error.contains("64 hexadecimal digits"), "{error}");
        let error = Key::read_or_make(&path.join("x")).unwrap_err().to_string();
        assert!(error.contains("cannot"), "{error}");
    }
}
