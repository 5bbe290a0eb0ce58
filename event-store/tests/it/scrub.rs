//! The scrub: finds damage in what is sealed, and names it.

use tsunagi_event_store::log::Location;
use tsunagi_event_store::{Store, scrub};

use crate::support::{draft, folder, open, publish};

/// Reads everything that is sealed once.
async fn once(store: &Store) {
    let mut at = Location::default();
    loop {
        let next = scrub::piece(store, at).await.unwrap();
        if next.segment < at.segment {
            return;
        }
        at = next;
    }
}

#[tokio::test]
async fn damage_in_sealed_segments_is_found_and_nothing_else_is_taken_for_it() {
    let folder = folder();
    let store = open(&folder);
    for number in 0..200 {
        publish(&store, 0, vec![draft(number, &"x".repeat(2_000))]).await.unwrap();
    }
    once(&store).await;
    assert_eq!(store.damage_found(), 0);
    let places = [("0000000002.seg", 200), ("0000000003.seg", 3_000), ("0000000004.seg", 20)];
    for ((name, offset), found) in places.into_iter().zip(1..) {
        let path = folder.path().join("log").join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[offset] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let before = store.damage_found();
        once(&store).await;
        assert_eq!(store.damage_found() - before, found, "{name}");
    }
}
