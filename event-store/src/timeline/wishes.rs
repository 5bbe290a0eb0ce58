//! Which of a person's wishes were said in the place of others.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

/// The wishes in whose place others were said, by what the others say of themselves (`newer_of`).
/// Of those that records which were merged say in each other's place, the one that was `said` last
/// holds.
pub(super) fn replaced(newer_of: &BTreeMap<Uuid, Uuid>, said: &[Uuid]) -> BTreeSet<Uuid> {
    let place: BTreeMap<&Uuid, usize> = said.iter().zip(0..).collect();
    let mut replaced: BTreeSet<Uuid> = newer_of.keys().copied().collect();
    let mut seen = BTreeSet::new();
    for first in newer_of.keys() {
        let (mut chain, mut next) = (Vec::new(), Some(first));
        while let Some(wish) = next.filter(|wish| seen.insert(**wish)) {
            chain.push(wish);
            next = newer_of.get(wish);
        }
        // Where it comes back to itself, a circle begins.
        let circle = chain.iter().position(|wish| Some(*wish) == next);
        let circle = circle.and_then(|start| chain.get(start..)).unwrap_or_default();
        if let Some(last) = circle.iter().max_by_key(|wish| place.get(*wish)) {
            replaced.remove(last);
        }
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    /// Of wishes that were said in this order, and newer ones of older ones.
    fn of(said: &[u128], newer_of: &[(u128, u128)]) -> Vec<u128> {
        let newer_of = newer_of.iter().map(|(older, newer)| (wish(*older), wish(*newer))).collect();
        let said: Vec<Uuid> = said.iter().copied().map(wish).collect();
        replaced(&newer_of, &said).iter().map(Uuid::as_u128).collect()
    }

    #[test]
    fn of_a_chain_the_newest_holds() {
        assert_eq!(of(&[1, 2, 3], &[(1, 2), (2, 3)]), [1, 2]);
        assert_eq!(of(&[3, 2, 1], &[(2, 3), (1, 2)]), [1, 2], "in whichever order they were told");
        assert_eq!(of(&[1], &[(1, 9)]), [1], "also by one that is not known");
    }

    #[test]
    fn of_a_circle_the_one_said_last_holds() {
        assert_eq!(of(&[1, 2, 3], &[(1, 2), (2, 3), (3, 1)]), [1, 2]);
        assert_eq!(of(&[3, 1, 2], &[(1, 2), (2, 3), (3, 1)]), [1, 3]);
        assert_eq!(of(&[1, 2, 3, 4], &[(4, 1), (1, 2), (2, 1)]), [1, 4], "whatever leads to it");
        assert_eq!(of(&[1], &[(1, 1)]), [], "itself is no other");
    }
}
