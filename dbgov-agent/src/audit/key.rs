//! The key that signs the journal: Ed25519 (RFC 8032), as PKCS#8 PEM (RFC 5958) beside the journal's directory. Who has
//! a copy of the directory can check it and cannot sign; the public key goes out as SubjectPublicKeyInfo (RFC 8410).

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
};
use ed25519_dalek::{SECRET_KEY_LENGTH, Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

/// Digits of a key's id: 64 bits more than anybody could search for a collision with one key of theirs.
pub const KEY_ID_HEX_BYTES: usize = 32;
/// An Ed25519 key in PEM takes 120 bytes; whatever is longer than this is none.
const KEY_FILE_BYTES_MAX: u64 = 16 * 1024;
const KEY_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;
/// Permissions nobody but the owner may have.
const OTHERS: u32 = 0o077;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot {action} the journal's key {path}: {source}; set another file as [audit] key")]
    Io {
        path: PathBuf,
        action: &'static str,
        source: io::Error,
    },
    #[error(
        "others than its owner may use the journal's key {path} (mode {mode:03o}): chmod 600 {path}, and if it may have \
         been copied, move it away: dbgov makes a new one"
    )]
    Permissions { path: PathBuf, mode: u32 },
    #[error(
        "{path} is no Ed25519 private key in PKCS#8 PEM: give one as [audit] key (`openssl genpkey -algorithm ed25519 \
         -out {path}` makes one), or move the file away: dbgov makes a new one"
    )]
    NotAPrivateKey { path: PathBuf },
    #[error("{path} is no Ed25519 public key in PEM: give what `dbgov audit key` prints")]
    NotAPublicKey { path: PathBuf },
    #[error("there is no key {path} yet: dbgov makes it when it is first started")]
    Missing { path: PathBuf },
    #[error("the system gives no random numbers for a key: {0}")]
    Random(getrandom::Error),
}

impl KeyError {
    fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| KeyError::Io {
            path,
            action,
            source,
        }
    }
}

/// What checks a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    id: Box<str>,
}

impl PublicKey {
    fn new(key: VerifyingKey) -> Self {
        // Twelve bytes that say "Ed25519" before the key itself; they can always be written.
        let spki = key.to_public_key_der();
        let spki = spki.as_ref().map_or(&[][..], |spki| spki.as_bytes());
        let mut id = hex::encode(Sha256::digest(spki));
        id.truncate(KEY_ID_HEX_BYTES);
        PublicKey { key, id: id.into() }
    }

    /// From the 64 digits in a segment's header.
    pub fn from_hex(digits: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        VerifyingKey::from_bytes(&bytes).ok().map(PublicKey::new)
    }

    /// The public part in a file, whether that holds the public or the private key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = read_text(path)?;
        let private = SigningKey::from_pkcs8_pem(&text).map(|key| key.verifying_key());
        private
            .or_else(|_| VerifyingKey::from_public_key_pem(&text))
            .map(PublicKey::new)
            .map_err(|_| KeyError::NotAPublicKey {
                path: path.to_owned(),
            })
    }

    /// The beginning of SHA-256 over SubjectPublicKeyInfo in DER, in hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The 32 bytes of the key in hexadecimal digits.
    pub fn to_hex(&self) -> String {
        hex::encode(self.key.as_bytes())
    }

    pub fn to_pem(&self) -> String {
        self.key
            .to_public_key_pem(LineEnding::LF)
            .unwrap_or_default()
    }

    /// `signature`: 128 hexadecimal digits.
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        let mut bytes = [0; Signature::BYTE_SIZE];
        if hex::decode_to_slice(signature, &mut bytes).is_err() {
            return false;
        }
        // Strict: no other signature passes for the same message, and no weak key for all of them.
        let signature = Signature::from_bytes(&bytes);
        self.key.verify_strict(message, &signature).is_ok()
    }
}

/// What signs.
pub struct PrivateKey {
    key: SigningKey,
    public: PublicKey,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({})", self.public.id)
    }
}

impl PrivateKey {
    fn new(key: SigningKey) -> Self {
        let public = PublicKey::new(key.verifying_key());
        PrivateKey { key, public }
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// 128 hexadecimal digits.
    pub fn sign(&self, message: &[u8]) -> String {
        hex::encode(self.key.sign(message).to_bytes())
    }

    /// The key in the file, which is made where it is not there.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        match PrivateKey::load(path) {
            Err(KeyError::Missing { .. }) => {}
            other => return other,
        }
        let mut secret = [0; SECRET_KEY_LENGTH];
        getrandom::fill(&mut secret).map_err(KeyError::Random)?;
        let key = PrivateKey::new(SigningKey::from_bytes(&secret));
        key.create(path)?;
        tracing::info!(path = %path.display(), id = key.public.id(), "made the key that signs the journal");
        // Not the one just made, where somebody else was quicker.
        PrivateKey::load(path)
    }

    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = read_text(path)?;
        let mode = std::fs::metadata(path)
            .map_err(KeyError::io(path, "look at"))?
            .permissions()
            .mode()
            & 0o777;
        let path = path.to_owned();
        if mode & OTHERS != 0 {
            return Err(KeyError::Permissions { path, mode });
        }
        SigningKey::from_pkcs8_pem(&text)
            .map(PrivateKey::new)
            .map_err(|_| KeyError::NotAPrivateKey { path })
    }

    /// Under another name first: a key is there whole and durable, or not at all, and never in another's place.
    fn create(&self, path: &Path) -> Result<(), KeyError> {
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        DirBuilder::new()
            .recursive(true)
            .mode(DIR_MODE)
            .create(dir)
            .map_err(KeyError::io(dir, "make the directory of"))?;
        let mut new = path.as_os_str().to_owned();
        new.push(format!(".new-{}", std::process::id()));
        let new = PathBuf::from(new);
        // Left by a process of this number that was killed here.
        let _ = std::fs::remove_file(&new);
        let linked = self
            .write(&new)
            .and_then(|()| std::fs::hard_link(&new, path));
        let _ = std::fs::remove_file(&new);
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(KeyError::io(path, "make")(error))
            }
            _ => File::open(dir)
                .and_then(|dir| dir.sync_all())
                .map_err(KeyError::io(path, "make")),
        }
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        // Without the public key in it (version 1), as OpenSSL wants it.
        let bytes = KeypairBytes {
            secret_key: self.key.to_bytes(),
            public_key: None,
        };
        let pem = bytes
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(io::Error::other)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(KEY_MODE)
            .open(path)?;
        file.write_all(pem.as_bytes())?;
        file.sync_all()
    }
}

fn read_text(path: &Path) -> Result<String, KeyError> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => KeyError::Missing {
            path: path.to_owned(),
        },
        _ => KeyError::io(path, "open")(error),
    })?;
    let mut text = Vec::new();
    file.take(KEY_FILE_BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(KeyError::io(path, "read"))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lib/dbgov/audit.key");
        let key = PrivateKey::load_or_create(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        let again = PrivateKey::load_or_create(&path).unwrap();
        assert_eq!(key.public(), again.public());
        let names = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(names, 1, "nothing left beside it");

        let signature = key.sign(b"message");
        let public = PublicKey::read(&path).unwrap();
        assert!(public.verifies(b"message", &signature));
        assert!(!public.verifies(b"massage", &signature));
        assert!(!public.verifies(b"message", &signature[2..]));
        assert!(!public.verifies(b"message", &"0".repeat(128)));
        assert_eq!(PublicKey::from_hex(&public.to_hex()).unwrap(), public);
        assert_eq!(public.id().len(), KEY_ID_HEX_BYTES);
        let other = PrivateKey::load_or_create(&dir.path().join("other.key")).unwrap();
        assert_ne!(other.public(), key.public());
        assert!(!other.public().verifies(b"message", &signature));
    }

    #[test]
    fn the_public_key_goes_out_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (private, public) = (dir.path().join("audit.key"), dir.path().join("audit.pub"));
        let key = PrivateKey::load_or_create(&private).unwrap();
        std::fs::write(&public, key.public().to_pem()).unwrap();
        assert_eq!(PublicKey::read(&public).unwrap(), *key.public());
        assert!(
            key.public()
                .to_pem()
                .starts_with("-----BEGIN PUBLIC KEY-----\n")
        );
        assert!(!key.public().to_pem().contains("PRIVATE"));
        assert!(matches!(
            PrivateKey::load(&public),
            Err(KeyError::Permissions { .. })
        ));
    }

    #[test]
    fn what_others_may_read_or_is_no_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.key");
        PrivateKey::load_or_create(&path).unwrap();
        for mode in [0o640, 0o604, 0o610, 0o666] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let error = PrivateKey::load_or_create(&path).unwrap_err();
            assert!(matches!(error, KeyError::Permissions { .. }), "{error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o400)).unwrap();
        PrivateKey::load(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        for content in [
            "",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            let error = PrivateKey::load_or_create(&path).unwrap_err();
            assert!(matches!(error, KeyError::NotAPrivateKey { .. }), "{error}");
            assert_eq!(
                std::fs::read_to_string(&path).unwrap(),
                content,
                "untouched"
            );
        }
        assert!(matches!(
            PrivateKey::load(&dir.path().join("none")),
            Err(KeyError::Missing { .. })
        ));
    }
}
