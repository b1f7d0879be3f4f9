//! What is signed: the record's number and the hash of the record before, which stands for all before it.

use serde::Deserialize;

use super::key::{PrivateKey, PublicKey};
use super::record::CheckpointBlock;

/// Begins every message of this kind, so that a signature of another kind never passes for one.
const DOMAIN: &str = "dbgov checkpoint 1";

/// All that a checkpoint record says but for `v`, `kind` and its own hash.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statement<'a> {
    pub(super) node: &'a str,
    pub(super) seq: u64,
    /// `chain.prev` of the record.
    pub(super) prev: &'a str,
    /// As in the record.
    pub(super) time: &'a str,
    pub(super) reason: &'a str,
    pub(super) records: u64,
}

impl Statement<'_> {
    /// The bytes that are signed: lines, the node last since only its name may hold a newline.
    fn message(&self, key: &str) -> Vec<u8> {
        let Statement {
            node,
            seq,
            prev,
            time,
            reason,
            records,
        } = self;
        format!("{DOMAIN}\n{key}\n{seq}\n{prev}\n{time}\n{reason}\n{records}\n{node}").into_bytes()
    }

    pub(super) fn sign(&self, key: &PrivateKey, reason: &'static str) -> CheckpointBlock {
        let id = key.public().id();
        CheckpointBlock {
            key: id.to_owned(),
            reason,
            records: self.records,
            signature: key.sign(&self.message(id)),
        }
    }

    pub(super) fn is_signed(&self, key: &PublicKey, signature: &str) -> bool {
        key.verifies(&self.message(key.id()), signature)
    }
}

/// The block as it is read back. Nothing else may stand in it: only what is here is covered by the signature.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadCheckpoint {
    pub(super) key: String,
    pub(super) reason: String,
    pub(super) records: u64,
    pub(super) signature: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_is_signed() {
        let dir = tempfile::tempdir().unwrap();
        let key = PrivateKey::load_or_create(&dir.path().join("k")).unwrap();
        let statement = Statement {
            node: "host-1",
            seq: 7,
            prev: "aa",
            time: "2026-11-22T23:59:59.123456789Z",
            reason: "time",
            records: 6,
        };
        let block = statement.sign(&key, "time");
        assert_eq!(block.key, key.public().id());
        assert!(statement.is_signed(key.public(), &block.signature));
        for changed in [
            Statement {
                node: "host-2",
                ..statement
            },
            Statement {
                seq: 8,
                ..statement
            },
            Statement {
                prev: "ab",
                ..statement
            },
            Statement {
                time: "2026",
                ..statement
            },
            Statement {
                reason: "stop",
                ..statement
            },
            Statement {
                records: 7,
                ..statement
            },
            // What is at the end of one line cannot go to the beginning of the next.
            Statement {
                node: "6\nhost-1",
                ..statement
            },
        ] {
            assert!(
                !changed.is_signed(key.public(), &block.signature),
                "{changed:?}"
            );
        }
    }
}
