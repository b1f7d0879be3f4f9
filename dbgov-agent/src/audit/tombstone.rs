//! What stands for segments that were removed: a signed file, so that the chain of those that are left has a beginning.
//! There is one, for all that was ever removed.

use serde::{Deserialize, Serialize};

use super::key::{PrivateKey, PublicKey};

pub const TOMBSTONE_NAME: &str = "tombstone.json";
/// The file has some 700 bytes and the node's name.
pub(super) const TOMBSTONE_BYTES_MAX: u64 = 64 * 1024;
/// Begins what is signed, so that a signature of another kind never passes for one.
const DOMAIN: &str = "dbgov tombstone 1";

/// The file, as canonical JSON and a newline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    /// Of the files that were removed.
    pub bytes: u64,
    /// Number of the first record that is gone.
    pub first_seq: u64,
    pub key: String,
    /// `chain.hash` of the last record that is gone.
    pub last_hash: String,
    pub last_seq: u64,
    pub node: String,
    /// The key's 32 bytes in hexadecimal digits.
    pub public_key: String,
    pub segments: u64,
    /// Ed25519, 128 hexadecimal digits.
    pub signature: String,
    /// When the last of them were removed, as in a record.
    pub time: String,
    /// Of this format: 1.
    pub v: u32,
}

impl Tombstone {
    /// The bytes that are signed: lines, the node last since only its name may hold a newline.
    fn message(&self) -> Vec<u8> {
        let Tombstone {
            bytes,
            first_seq,
            key,
            last_hash,
            last_seq,
            node,
            segments,
            time,
            ..
        } = self;
        format!(
            "{DOMAIN}\n{key}\n{first_seq}\n{last_seq}\n{last_hash}\n{segments}\n{bytes}\n{time}\n{node}"
        )
        .into_bytes()
    }

    pub(super) fn signed(mut self, key: &PrivateKey) -> Self {
        self.v = 1;
        self.key = key.public().id().to_owned();
        self.public_key = key.public().to_hex();
        self.signature = key.sign(&self.message());
        self
    }

    pub(super) fn is_signed(&self, key: &PublicKey) -> bool {
        self.key == key.id() && key.verifies(&self.message(), &self.signature)
    }

    /// The key it names; `None` where that is none, or another than its id says.
    pub(super) fn public_key(&self) -> Option<PublicKey> {
        PublicKey::from_hex(&self.public_key).filter(|key| key.id() == self.key)
    }

    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let tombstone: Tombstone =
            serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if tombstone.v != 1 {
            return Err(format!(
                "it has version {}, and this dbgov knows 1",
                tombstone.v
            ));
        }
        if tombstone.first_seq > tombstone.last_seq {
            return Err("its last record comes before its first".to_owned());
        }
        Ok(tombstone)
    }

    pub(super) fn to_text(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_is_signed() {
        let dir = tempfile::tempdir().unwrap();
        let key = PrivateKey::load_or_create(&dir.path().join("k")).unwrap();
        let tombstone = Tombstone {
            bytes: 1000,
            first_seq: 1,
            key: String::new(),
            last_hash: "aa".repeat(32),
            last_seq: 99,
            node: "host-1".to_owned(),
            public_key: String::new(),
            segments: 2,
            signature: String::new(),
            time: "2026-11-22T23:59:59.123456789Z".to_owned(),
            v: 1,
        }
        .signed(&key);
        let text = String::from_utf8(tombstone.to_text().unwrap()).unwrap();
        let read = Tombstone::parse(text.as_bytes()).unwrap();
        assert_eq!(read, tombstone);
        assert!(read.is_signed(&read.public_key().unwrap()));
        for (from, to) in [
            ("\"bytes\":1000", "\"bytes\":1001"),
            ("\"first_seq\":1", "\"first_seq\":2"),
            ("aaaa", "aaab"),
            ("\"last_seq\":99", "\"last_seq\":98"),
            ("host-1", "host-2"),
            ("\"segments\":2", "\"segments\":3"),
            ("59.123", "59.124"),
        ] {
            let forged = Tombstone::parse(text.replacen(from, to, 1).as_bytes()).unwrap();
            assert_ne!(forged, tombstone);
            assert!(!forged.is_signed(key.public()), "{from}");
        }
        for wrong in [
            text.replace("\"v\":1", "\"v\":2"),
            text.replace("\"last_seq\":99", "\"last_seq\":0"),
            text.replace("{", "{\"also\":1,"),
            text[1..].to_owned(),
        ] {
            assert!(Tombstone::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
