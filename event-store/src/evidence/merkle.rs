//! The Merkle tree of RFC 9162 (hashed as in RFC 6962: SHA-256, `0x00` before a leaf, `0x01`
//! before two nodes): roots, proofs, and their checks.
//!
//! Own code, because a tree here is never in memory: while it grows, only its `Frontier` is
//! known, and for a proof only the `Subtrees` that the proof needs. Checked against the vectors
//! that Certificate Transparency's implementations share.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

pub type Hash = [u8; 32];

/// Leaves of the smallest subtrees whose hashes are kept on disk.
pub const CHUNK_LEAVES: u64 = 1 << CHUNK_LEVEL;
const CHUNK_LEVEL: u32 = 8;

/// The hash of a leaf whose bytes are these parts, one after the other.
pub fn leaf_hash(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new_with_prefix([0]);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new_with_prefix([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of a tree without leaves.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// All that a growing tree needs to know of itself: the hashes of its complete subtrees, the
/// largest first, one for each bit of its size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// None if a tree of this size has another number of subtrees.
    pub fn new(size: u64, subtrees: Vec<Hash>) -> Option<Self> {
        (u32::try_from(subtrees.len()) == Ok(size.count_ones())).then_some(Self { size, subtrees })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn subtrees(&self) -> &[Hash] {
        &self.subtrees
    }

    /// Adds a leaf. The hash of the subtree of `CHUNK_LEAVES` leaves that it completes, if it
    /// does.
    pub fn push(&mut self, leaf: Hash) -> Option<Hash> {
        let mut hash = leaf;
        let mut chunk = None;
        for level in 1..=self.size.trailing_ones() {
            let left = self.subtrees.pop().unwrap_or_default();
            hash = node_hash(&left, &hash);
            if level == CHUNK_LEVEL {
                chunk = Some(hash);
            }
        }
        self.subtrees.push(hash);
        self.size += 1;
        chunk
    }

    pub fn root(&self) -> Hash {
        let smallest_first = self.subtrees.iter().rev().copied();
        smallest_first.reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }
}

/// What is known of a tree to make proofs of it: complete chunks from the first on, and leaves.
/// Questions that need more are answered with none.
#[derive(Debug, Default)]
pub struct Subtrees {
    pub chunks: Vec<Hash>,
    pub leaves: BTreeMap<u64, Hash>,
}

impl Subtrees {
    /// The root of the tree when it had `size` leaves.
    pub fn root(&self, size: u64) -> Option<Hash> {
        if size == 0 { Some(empty_root()) } else { self.hash(0, size) }
    }

    /// That the leaf at `index` is in the tree of `size` leaves: the hashes beside its way to
    /// the root, from the leaf up.
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        if index >= size {
            return None;
        }
        let (mut begin, mut end) = (0, size);
        let mut path = Vec::new();
        while end - begin > 1 {
            let middle = split(begin, end);
            if index < middle {
                path.push(self.hash(middle, end)?);
                end = middle;
            } else {
                path.push(self.hash(begin, middle)?);
                begin = middle;
            }
        }
        path.reverse();
        Some(path)
    }

    /// That the tree of `new` leaves begins with the tree of `old` leaves.
    pub fn consistency_proof(&self, old: u64, new: u64) -> Option<Vec<Hash>> {
        if old > new {
            return None;
        }
        if old == 0 {
            return Some(Vec::new());
        }
        let (mut begin, mut end) = (0, new);
        let mut path = Vec::new();
        while old != end {
            let middle = split(begin, end);
            if old <= middle {
                path.push(self.hash(middle, end)?);
                end = middle;
            } else {
                path.push(self.hash(begin, middle)?);
                begin = middle;
            }
        }
        // The old tree's own root is known to whoever has the old tree.
        if begin > 0 {
            path.push(self.hash(begin, end)?);
        }
        path.reverse();
        Some(path)
    }

    /// The hash over the leaves from `begin` to before `end`.
    fn hash(&self, begin: u64, end: u64) -> Option<Hash> {
        if end - begin == CHUNK_LEAVES
            && let Some(chunk) = self.chunks.get(usize::try_from(begin / CHUNK_LEAVES).ok()?)
        {
            return Some(*chunk);
        }
        if end - begin == 1 {
            return self.leaves.get(&begin).copied();
        }
        let middle = split(begin, end);
        Some(node_hash(&self.hash(begin, middle)?, &self.hash(middle, end)?))
    }
}

/// Where a subtree of more than one leaf divides: the left part is the largest power of two that
/// leaves something to the right.
fn split(begin: u64, end: u64) -> u64 {
    begin + (1 << (end - begin - 1).ilog2())
}

/// The root that an inclusion proof leads to (RFC 9162, 2.1.3.2); none if it is not one of a
/// leaf at `index` in a tree of `size` leaves.
pub fn included_root(leaf: Hash, index: u64, size: u64, proof: &[Hash]) -> Option<Hash> {
    let mut at = Climb { place: index, last: size.checked_sub(1)? };
    if index >= size {
        return None;
    }
    let mut root = leaf;
    for beside in proof {
        root = match at.step()? {
            Side::Left => node_hash(beside, &root),
            Side::Right => node_hash(&root, beside),
        };
    }
    (at.last == 0).then_some(root)
}

/// Whether a consistency proof leads from one tree to another (RFC 9162, 2.1.4.2).
pub fn is_consistent(old: (u64, Hash), new: (u64, Hash), proof: &[Hash]) -> bool {
    if old.0 == 0 || old.0 >= new.0 {
        let is_same = old == new || old == (0, empty_root());
        return is_same && proof.is_empty();
    }
    let mut at = Climb { place: old.0 - 1, last: new.0 - 1 };
    at.up(at.place.trailing_ones());
    // The old tree is itself a subtree of the new one if its size is a power of two.
    let (first, rest) = if old.0.is_power_of_two() {
        (old.1, proof)
    } else {
        let Some((first, rest)) = proof.split_first() else { return false };
        (*first, rest)
    };
    let mut roots = (first, first);
    for beside in rest {
        roots = match at.step() {
            Some(Side::Left) => (node_hash(beside, &roots.0), node_hash(beside, &roots.1)),
            Some(Side::Right) => (roots.0, node_hash(&roots.1, beside)),
            None => return false,
        };
    }
    at.last == 0 && roots == (old.1, new.1)
}

/// The way from a leaf up to the root, and the way of the last leaf beside it.
struct Climb {
    place: u64,
    last: u64,
}

/// On which side of the way the next hash lies.
enum Side {
    Left,
    Right,
}

impl Climb {
    fn up(&mut self, levels: u32) {
        self.place = self.place.checked_shr(levels).unwrap_or(0);
        self.last = self.last.checked_shr(levels).unwrap_or(0);
    }

    /// Goes up past the next hash; none at the root.
    fn step(&mut self) -> Option<Side> {
        if self.last == 0 {
            return None;
        }
        let is_right = self.place % 2 == 1;
        if !is_right && self.place < self.last {
            self.up(1);
            return Some(Side::Right);
        }
        // The last of its level has nothing to its right until it is itself a right child.
        let lonely = if is_right || self.place == 0 { 0 } else { self.place.trailing_zeros() };
        self.up(lonely + 1);
        Some(Side::Left)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Hash {
        let digits: Vec<_> = text.chars().map(|c| u8::try_from(c.to_digit(16).unwrap())).collect();
        let digits: Vec<u8> = digits.into_iter().map(Result::unwrap).collect();
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        bytes.try_into().unwrap()
    }

    /// The leaves of the vectors that Certificate Transparency's implementations share.
    fn shared_leaves() -> Vec<Hash> {
        let leaves: [&[u8]; 8] = [
            b"",
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[
                0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d,
                0x6e, 0x6f,
            ],
        ];
        leaves.iter().map(|leaf| leaf_hash(&[leaf])).collect()
    }

    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn subtrees(leaves: &[Hash]) -> Subtrees {
        Subtrees { chunks: Vec::new(), leaves: (0..).zip(leaves.iter().copied()).collect() }
    }

    /// The definition, word for word (RFC 9162, 2.1.1).
    fn defined_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            more => {
                let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
                node_hash(&defined_root(left), &defined_root(right))
            }
        }
    }

    fn random_leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|number| leaf_hash(&[&number.to_be_bytes()])).collect()
    }

    #[test]
    fn roots_are_those_of_the_shared_vectors() {
        let leaves = shared_leaves();
        let mut frontier = Frontier::default();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(frontier.root(), hex(empty));
        for ((leaf, root), size) in leaves.iter().zip(ROOTS).zip(1..) {
            frontier.push(*leaf);
            assert_eq!(frontier.root(), hex(root), "{size} leaves");
            assert_eq!(subtrees(&leaves).root(size), Some(hex(root)));
        }
    }

    #[test]
    fn proofs_are_those_of_the_shared_vectors() {
        let tree = subtrees(&shared_leaves());
        let h0 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
        let h23 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
        let h47 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
        assert_eq!(tree.inclusion_proof(0, 8), Some(vec![hex(h0), hex(h23), hex(h47)]));
        let h4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
        let h03 = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7";
        assert_eq!(tree.inclusion_proof(5, 6).unwrap(), [hex(h4), hex(h03)]);
        assert_eq!(tree.consistency_proof(1, 1), Some(Vec::new()));
        assert_eq!(tree.consistency_proof(1, 8).unwrap()[1..], [hex(h23), hex(h47)]);
        let h67 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
        assert_eq!(tree.consistency_proof(6, 8).unwrap()[1..], [hex(h67), hex(h03)]);
    }

    #[test]
    fn a_tree_says_its_chunks_as_they_are_complete() {
        let leaves = random_leaves(3 * CHUNK_LEAVES + 10);
        let mut frontier = Frontier::default();
        let chunks: Vec<_> = leaves.iter().filter_map(|leaf| frontier.push(*leaf)).collect();
        assert_eq!(chunks.len(), 3);
        let whole = usize::try_from(CHUNK_LEAVES).unwrap();
        for (chunk, leaves) in chunks.iter().zip(leaves.chunks(whole)) {
            assert_eq!(*chunk, defined_root(leaves));
        }
        // A proof needs the leaves of its own chunk and of the last one alone.
        let (size, index) = (frontier.size(), CHUNK_LEAVES + 7);
        let mut known = subtrees(&leaves);
        let path = known.inclusion_proof(index, size).unwrap();
        known.chunks = chunks;
        known.leaves.retain(|at, _| at / CHUNK_LEAVES == 1 || at / CHUNK_LEAVES == 3);
        assert_eq!(known.inclusion_proof(index, size), Some(path));
        assert_eq!(known.root(size), Some(frontier.root()));
        assert_eq!(known.inclusion_proof(0, size), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn every_leaf_is_proved_and_no_other(size in 1..70u64, wrong in any::<u64>()) {
            let leaves = random_leaves(size);
            let tree = subtrees(&leaves);
            let root = tree.root(size);
            prop_assert_eq!(root, Some(defined_root(&leaves)));
            for (index, leaf) in (0..).zip(&leaves) {
                let path = tree.inclusion_proof(index, size).unwrap();
                prop_assert_eq!(included_root(*leaf, index, size, &path), root);
                let other = wrong % size;
                if other != index {
                    let at_other = included_root(*leaf, other, size, &path);
                    prop_assert_ne!(at_other, root);
                    let of_other = leaves[usize::try_from(other).unwrap()];
                    prop_assert_ne!(included_root(of_other, index, size, &path), root);
                }
                prop_assert_eq!(included_root(*leaf, size + index, size, &path), None);
                let mut longer = path.clone();
                longer.push([0; 32]);
                prop_assert_eq!(included_root(*leaf, index, size, &longer), None);
                if let Some((_, shorter)) = path.split_last() {
                    prop_assert_eq!(included_root(*leaf, index, size, shorter), None);
                }
                let mut changed = path;
                if let Some(hash) = changed.first_mut() {
                    hash[0] ^= 1;
                    prop_assert_ne!(included_root(*leaf, index, size, &changed), root);
                }
            }
        }

        #[test]
        fn every_earlier_tree_is_proved_and_no_other(new in 1..70u64, flip in 0..32usize) {
            let leaves = random_leaves(new);
            let tree = subtrees(&leaves);
            let new_root = tree.root(new).unwrap();
            for old in 0..=new {
                let old_root = tree.root(old).unwrap();
                let path = tree.consistency_proof(old, new).unwrap();
                prop_assert!(is_consistent((old, old_root), (new, new_root), &path));
                let mut other_root = old_root;
                other_root[flip] ^= 1;
                prop_assert!(!is_consistent((old, other_root), (new, new_root), &path));
                if old > 0 {
                    let mut other_root = new_root;
                    other_root[flip] ^= 1;
                    prop_assert!(!is_consistent((old, old_root), (new, other_root), &path));
                    prop_assert!(!is_consistent((old - 1, old_root), (new, new_root), &path));
                }
                let mut longer = path.clone();
                longer.push([0; 32]);
                prop_assert!(!is_consistent((old, old_root), (new, new_root), &longer));
                for at in 0..path.len() {
                    let mut changed = path.clone();
                    changed[at][flip] ^= 1;
                    prop_assert!(!is_consistent((old, old_root), (new, new_root), &changed));
                }
            }
            prop_assert_eq!(tree.consistency_proof(new + 1, new), None);
        }
    }
}
