//! Feeds: catch-up, then live, without a gap and without a repeat, from every cursor.

use std::collections::BTreeMap;

use tsunagi_bus::{Bus as _, Cursor, Delivery, Feed, Slot, Stored};
use tsunagi_chassis::Config;
use tsunagi_event_store::Store;

use crate::support::{config, draft, folder, handed, open, poll_some, publish, sixty_events};

/// Takes events until the feed is caught up.
async fn to_the_end(feed: &mut Box<dyn Feed>) -> Vec<Stored> {
    let (events, unreadable) = handed(feed).await;
    assert_eq!(unreadable, []);
    events
}

/// Every slot's positions must be 1, 2, 3, ... from where the reader began.
fn assert_dense(events: &[Stored], from: &Cursor) {
    let mut next: BTreeMap<Slot, u64> = BTreeMap::new();
    for stored in events {
        let position = stored.placed.position;
        let expected = next.entry(position.slot).or_insert_with(|| from.seen(position.slot) + 1);
        assert_eq!(position.n, *expected);
        *expected += 1;
    }
}

#[tokio::test]
async fn a_feed_goes_on_from_every_cursor() {
    let folder = folder();
    let store = open(&folder);
    sixty_events(&store).await;
    let all = to_the_end(&mut store.follow(Cursor::start())).await;
    assert_eq!(all.len(), 60);
    assert_dense(&all, &Cursor::start());
    let mut cursor = Cursor::start();
    for (seen, stored) in (1..).zip(&all) {
        cursor.advance(stored.placed.position);
        let rest = to_the_end(&mut store.follow(cursor.clone())).await;
        assert_eq!(rest.len(), 60 - seen);
        assert_dense(&rest, &cursor);
    }
}

#[tokio::test]
async fn a_feed_that_is_caught_up_goes_on_live() {
    let folder = folder();
    let store = open(&folder);
    publish(&store, 0, vec![draft(0, "first")]).await.unwrap();
    let mut feed = store.follow(Cursor::start());
    assert_eq!(to_the_end(&mut feed).await.len(), 1);
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for number in 1..200 {
                publish(&store, number % 5, vec![draft(number, "more")]).await.unwrap();
            }
        }
    });
    let mut live = Vec::new();
    while live.len() < 199 {
        if let Delivery::Events(events) = feed.next().await.unwrap() {
            live.extend(events);
        }
    }
    writer.await.unwrap();
    let all = to_the_end(&mut store.follow(Cursor::start())).await;
    assert_eq!(all[1..], live);
}

#[tokio::test]
async fn a_cancelled_wait_loses_nothing() {
    let folder = folder();
    let store = open(&folder);
    let mut feed = store.follow(Cursor::start());
    assert!(to_the_end(&mut feed).await.is_empty());
    let (mut handed_over, mut cancelled) = (0, 0);
    for number in 0..200 {
        // Dropped while it waits, or hands over what was published before.
        let next = async {
            if let Delivery::Events(events) = feed.next().await.unwrap() {
                handed_over += events.len();
            }
        };
        cancelled += usize::from(!poll_some(next, 1).await);
        publish(&store, 0, vec![draft(number, "x")]).await.unwrap();
    }
    assert!(cancelled > 0, "none was cancelled");
    assert_eq!(handed_over + to_the_end(&mut feed).await.len(), 200);
}

#[tokio::test]
async fn slots_of_a_cursor_that_are_ahead_of_others_are_not_sent_again() {
    let folder = folder();
    let store = open(&folder);
    for number in 0..40 {
        publish(&store, number, vec![draft(number, "x")]).await.unwrap();
    }
    let all = to_the_end(&mut store.follow(Cursor::start())).await;
    let mut cursor = Cursor::start();
    let ahead = all.iter().filter(|stored| stored.placed.position.slot == Slot(0));
    for stored in ahead {
        cursor.advance(stored.placed.position);
    }
    let rest = to_the_end(&mut store.follow(cursor.clone())).await;
    assert!(rest.iter().all(|stored| stored.placed.position.slot != Slot(0)));
    assert_dense(&rest, &cursor);
}

#[tokio::test]
async fn a_feed_is_caught_up_when_everything_was_handed_over_and_not_before() {
    let folder = folder();
    // Read in pieces of which some hold nothing that is new to the reader.
    let config = Config { subscribe_batch: 4, ..config(folder.path()) };
    let store = Store::open(&config).unwrap();
    let mut seen = Cursor::start();
    let first = publish(&store, 0, vec![draft(0, "x")]).await.unwrap()[0].position;
    let mut others = 0;
    for number in 1..60 {
        let placed = publish(&store, number, vec![draft(number, "x")]).await.unwrap()[0];
        if placed.position.slot == first.slot {
            others += 1;
        } else if number < 50 {
            seen.advance(placed.position);
        } else {
            others += 1;
        }
    }
    let rest = to_the_end(&mut store.follow(seen.clone())).await;
    assert_eq!(rest.len(), others + 1);
    assert_dense(&rest, &seen);
}
