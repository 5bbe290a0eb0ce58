//! A proof that the log only grew: that what was signed now begins with what was signed then.
//! For somebody who keeps checkpoints and has neither server nor data folder.
//!
//! For each slot of the checkpoints that were kept, one behind the other (the form in which
//! <https://c2sp.org/tlog-witness> has witnesses told of a new checkpoint):
//!
//! ```text
//! old <size of the checkpoint that was kept>
//! <hashes of the consistency proof (RFC 9162, 2.1.4), in base64, one a line>
//!
//! <the newest checkpoint, with its signature>
//! ```

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::checkpoint::Checkpoint;
use super::checkpoint_file;
use super::merkle::{Hash, is_consistent};
use super::note::{NoteError, PublicKey, SIGNATURE};

/// The proof for one slot, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    pub old: u64,
    pub path: Vec<Hash>,
    pub note: String,
}

/// Why it is not proved that the log only grew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrowthError {
    #[error("this is not a proof as `tsunagi prove --since` writes it")]
    Malformed,
    #[error("a checkpoint is not to be believed")]
    Checkpoint(#[from] NoteError),
    #[error("nothing is proved of slot {0}, which a checkpoint was kept of")]
    NotProved(u16),
    #[error("slot {0} does not begin with what was signed then: its history was rewritten")]
    Rewritten(u16),
}

/// The newest checkpoint of each slot in a text of checkpoints, all of which `key` has signed.
pub fn newest(text: &[u8], key: &PublicKey) -> Result<BTreeMap<u16, Checkpoint>, GrowthError> {
    let contents = checkpoint_file::read(text);
    if !contents.bad.is_empty() || contents.signed.is_empty() {
        return Err(GrowthError::Checkpoint(NoteError::Malformed));
    }
    let mut newest: BTreeMap<u16, Checkpoint> = BTreeMap::new();
    for signed in contents.signed {
        key.verify(&signed.note)?;
        let one = newest.entry(signed.checkpoint.slot).or_insert(signed.checkpoint);
        if signed.checkpoint.size > one.size {
            *one = signed.checkpoint;
        }
    }
    Ok(newest)
}

impl Growth {
    pub fn to_text(&self) -> String {
        let hash = |hash: &Hash| format!("{}\n", BASE64_STANDARD.encode(hash));
        let path: String = self.path.iter().map(hash).collect();
        format!("old {}\n{path}\n{}", self.old, self.note)
    }

    fn from_text(text: &str) -> Option<Self> {
        let (proof, note) = text.split_once("\n\n")?;
        let mut lines = proof.lines();
        let old = lines.next()?.strip_prefix("old ")?.parse().ok()?;
        let hash = |line| BASE64_STANDARD.decode(line).ok()?.try_into().ok();
        let path = lines.map(hash).collect::<Option<Vec<Hash>>>()?;
        Some(Self { old, path, note: note.to_owned() })
    }

    fn check(&self, old: &Checkpoint, new: &Checkpoint) -> Result<(), GrowthError> {
        let from = (old.size, old.root);
        let is_grown = self.old == old.size && old.region == new.region;
        if is_grown && is_consistent(from, (new.size, new.root), &self.path) {
            return Ok(());
        }
        Err(GrowthError::Rewritten(old.slot))
    }
}

/// Checks the proofs of a file against checkpoints that were kept. Of each slot, what was signed
/// then, and what is signed now.
pub fn check(
    text: &str,
    kept: &[u8],
    key: &PublicKey,
) -> Result<Vec<(Checkpoint, Checkpoint)>, GrowthError> {
    let mut proofs = BTreeMap::new();
    for one in divide(text) {
        let proof = Growth::from_text(one).ok_or(GrowthError::Malformed)?;
        let checkpoint = Checkpoint::from_text(key.verify(&proof.note)?);
        let checkpoint = checkpoint.ok_or(GrowthError::Malformed)?;
        proofs.insert(checkpoint.slot, (proof, checkpoint));
    }
    let mut grown = Vec::new();
    for (slot, old) in newest(kept, key)? {
        let (proof, new) = proofs.get(&slot).ok_or(GrowthError::NotProved(slot))?;
        proof.check(&old, new)?;
        grown.push((old, *new));
    }
    Ok(grown)
}

/// Each proof ends with the line of its checkpoint's signature.
fn divide(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut begin, mut end) = (0, 0);
    for line in text.split_inclusive('\n') {
        end += line.len();
        if line.starts_with(SIGNATURE) {
            parts.extend(text.get(begin..end));
            begin = end;
        }
    }
    parts.extend(text.get(begin..).filter(|rest| !rest.is_empty()));
    parts
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::super::checkpoint::region_name;
    use super::super::merkle::{Subtrees, leaf_hash};
    use super::super::note::SigningKey;
    use super::*;

    fn signed(tree: &Subtrees, slot: u16, size: u64) -> String {
        let (region, made_at, sealed) = (Uuid::nil(), Timestamp::UNIX_EPOCH, None);
        let root = tree.root(size).unwrap();
        let checkpoint = Checkpoint { region, slot, size, root, made_at, sealed };
        key().sign(&checkpoint.to_text())
    }

    fn key() -> SigningKey {
        SigningKey::new(region_name(Uuid::nil()), &[7; 32])
    }

    fn tree(salt: u8) -> Subtrees {
        let leaves = (0..20u8).map(|at| (at.into(), leaf_hash(&[&[salt, at]])));
        Subtrees { chunks: Vec::new(), leaves: leaves.collect() }
    }

    fn grown(tree: &Subtrees, slot: u16, old: u64) -> String {
        let path = tree.consistency_proof(old, 20).unwrap();
        Growth { old, path, note: signed(tree, slot, 20) }.to_text()
    }

    #[test]
    fn growth_is_proved_for_every_slot_that_was_kept() {
        let (one, other, key) = (tree(1), tree(2), key().public());
        let kept = signed(&one, 0, 4) + &signed(&one, 0, 7) + &signed(&other, 1, 20);
        let text = grown(&one, 0, 7) + &grown(&other, 1, 20);
        let sizes = check(&text, kept.as_bytes(), &key).unwrap();
        let sizes: Vec<_> = sizes.iter().map(|(old, new)| (old.slot, old.size, new.size)).collect();
        assert_eq!(sizes, [(0, 7, 20), (1, 20, 20)]);
        let first = grown(&one, 0, 7);
        assert_eq!(check(&first, kept.as_bytes(), &key), Err(GrowthError::NotProved(1)));
        let cut = first.trim_end();
        assert!(check(cut, kept.as_bytes(), &key).is_err());
    }

    #[test]
    fn another_history_is_no_growth() {
        let (one, other, key) = (tree(1), tree(2), key().public());
        let kept = signed(&one, 0, 7);
        let rewritten = Err(GrowthError::Rewritten(0));
        assert_eq!(check(&grown(&other, 0, 7), kept.as_bytes(), &key), rewritten);
        assert_eq!(check(&grown(&one, 0, 6), kept.as_bytes(), &key), rewritten);
        let forged = grown(&one, 0, 7).replace("\n20\n", "\n21\n");
        let is_forged = Err(GrowthError::Checkpoint(NoteError::Forged));
        assert_eq!(check(&forged, kept.as_bytes(), &key), is_forged);
    }
}
