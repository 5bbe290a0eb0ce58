//! A proof that an event is in the log, as a file that can be checked with nothing but the
//! region's public key (<https://c2sp.org/tlog-proof>).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <the leaf, in base64; see `leaf`. The event's record is in it>
//! index <the leaf's place in its slot's tree, from 0>
//! <hashes beside the leaf's way to the root, in base64, one a line>
//!
//! <the checkpoint, with its signature>
//! ```

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::checkpoint::{Checkpoint, region_name};
use super::leaf::Leaf;
use super::merkle::{self, Hash};
use super::note::{NoteError, PublicKey};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// A proof, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub leaf: Vec<u8>,
    pub index: u64,
    pub path: Vec<Hash>,
    pub note: String,
}

/// What a proof has proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    pub leaf: Leaf,
    pub checkpoint: Checkpoint,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("this is not a proof as `tsunagi prove` writes it")]
    Malformed,
    #[error("its checkpoint is not to be believed")]
    Checkpoint(#[from] NoteError),
    #[error("the event is not what was signed: the event or the proof was changed")]
    NotIncluded,
}

impl Proof {
    pub fn to_text(&self) -> String {
        let leaf = BASE64_STANDARD.encode(&self.leaf);
        let hash = |hash: &Hash| format!("{}\n", BASE64_STANDARD.encode(hash));
        let path: String = self.path.iter().map(hash).collect();
        let Self { index, note, .. } = self;
        format!("{FIRST_LINE}\nextra {leaf}\nindex {index}\n{path}\n{note}")
    }

    pub fn from_text(text: &str) -> Result<Self, ProofError> {
        Self::read(text).ok_or(ProofError::Malformed)
    }

    fn read(text: &str) -> Option<Self> {
        let (proof, note) = text.split_once("\n\n")?;
        let mut lines = proof.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let leaf = BASE64_STANDARD.decode(lines.next()?.strip_prefix("extra ")?).ok()?;
        let index = lines.next()?.strip_prefix("index ")?.parse().ok()?;
        let hash = |line| BASE64_STANDARD.decode(line).ok()?.try_into().ok();
        let path = lines.map(hash).collect::<Option<Vec<Hash>>>()?;
        let read = Self { leaf, index, path, note: note.to_owned() };
        // What can be written in two ways could be changed without being another proof.
        (read.to_text() == text).then_some(read)
    }

    /// Checks the signature, the way to the root, and that the leaf is where it says it is.
    pub fn check(&self, key: &PublicKey) -> Result<Proved, ProofError> {
        let text = key.verify(&self.note)?;
        let checkpoint = Checkpoint::from_text(text).ok_or(ProofError::Malformed)?;
        let leaf = Leaf::decode(&self.leaf).ok_or(ProofError::Malformed)?;
        let hash = merkle::leaf_hash(&[&self.leaf]);
        let root = merkle::included_root(hash, self.index, checkpoint.size, &self.path);
        let is_its_place =
            leaf.slot == checkpoint.slot && leaf.n.checked_sub(1) == Some(self.index);
        let is_its_region = key.name() == region_name(checkpoint.region);
        if root != Some(checkpoint.root) || !is_its_place || !is_its_region {
            return Err(ProofError::NotIncluded);
        }
        Ok(Proved { leaf, checkpoint })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::super::merkle::Subtrees;
    use super::super::note::SigningKey;
    use super::super::{leaf, merkle};
    use super::*;
    use crate::log::frame::Header;

    fn key(name: &str) -> SigningKey {
        SigningKey::new(name.to_owned(), &[7; 32])
    }

    fn leaf_at(n: u64) -> Vec<u8> {
        let header = Header {
            record_bytes: 5,
            record_crc: 0,
            is_batch_end: true,
            stream_kind: 1,
            slot: 2,
            batch_distance: 0,
            n,
            recorded_at_us: 1,
            version: 1,
            stream_key: [1; 16],
            event: [2; 16],
        };
        leaf::encode(&header, b"hello")
    }

    fn proof() -> (Proof, PublicKey) {
        let leaves = (0..7).map(|at| (at, merkle::leaf_hash(&[&leaf_at(at + 1)]))).collect();
        let tree = Subtrees { chunks: Vec::new(), leaves };
        let region = Uuid::from_u128(1);
        let (slot, made_at, sealed) = (2, Timestamp::UNIX_EPOCH, None);
        let root = tree.root(7).unwrap();
        let checkpoint = Checkpoint { region, slot, size: 7, root, made_at, sealed };
        let key = key(&region_name(region));
        let path = tree.inclusion_proof(4, 7).unwrap();
        let note = key.sign(&checkpoint.to_text());
        (Proof { leaf: leaf_at(5), index: 4, path, note }, key.public())
    }

    #[test]
    fn a_proof_proves_its_event() {
        let (proof, key) = proof();
        let read = Proof::from_text(&proof.to_text()).unwrap();
        assert_eq!(read, proof);
        let proved = read.check(&key).unwrap();
        assert_eq!((proved.leaf.n, proved.leaf.record), (5, Bytes::from("hello")));
    }

    #[test]
    fn a_changed_byte_anywhere_is_refused() {
        let (proof, key) = proof();
        let text = proof.to_text();
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            let proved = String::from_utf8(changed)
                .ok()
                .and_then(|text| Proof::from_text(&text).ok())
                .map(|proof| proof.check(&key));
            assert!(!matches!(proved, Some(Ok(_))), "byte {at}");
        }
    }

    #[test]
    fn another_region_s_key_is_refused() {
        let (proof, _) = proof();
        let other = key("tsunagi/other").public();
        assert_eq!(proof.check(&other), Err(ProofError::Checkpoint(NoteError::OtherKey)));
    }
}
