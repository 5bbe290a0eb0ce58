//! The engine against a simple model in memory: appends, conflicts, repeats, reads, reopens.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use tsunagi_bus::{Bus as _, Draft, Expected, Publication, PublishError, StreamId};
use tsunagi_event_store::Store;

use crate::support::{event, folder, open, stream};

/// What the model does next.
#[derive(Debug, Clone)]
enum Step {
    /// So many events for a stream, `again` if they were sent before. `expected` is how far the
    /// expected version is off, if one is given.
    Publish {
        stream: u128,
        events: usize,
        bytes: usize,
        expected: Option<u64>,
        again: bool,
    },
    Reopen {
        in_order: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let expected = prop_oneof![2 => Just(None), 2 => Just(Some(0)), 1 => Just(Some(1))];
    let publish = (0..3u128, 1..4usize, 1..3000usize, expected, any::<bool>()).prop_map(
        |(stream, events, bytes, expected, again)| Step::Publish {
            stream,
            events,
            bytes,
            expected,
            again,
        },
    );
    prop_oneof![12 => publish, 1 => any::<bool>().prop_map(|in_order| Step::Reopen { in_order })]
}

/// What should be stored.
#[derive(Default)]
struct Model {
    streams: BTreeMap<StreamId, Vec<Draft>>,
    next_event: u128,
}

impl Model {
    fn drafts(&mut self, to: StreamId, events: usize, bytes: usize, again: bool) -> Vec<Draft> {
        let stored = self.streams.get(&to).and_then(|drafts| drafts.last()).cloned();
        if let (true, Some(draft)) = (again, stored) {
            return vec![draft];
        }
        let mut new = || {
            self.next_event += 1;
            let fill = u8::try_from(self.next_event % 251).unwrap();
            Draft { event: event(self.next_event), record: Bytes::from(vec![fill; bytes]) }
        };
        (0..events).map(|_| new()).collect()
    }

    async fn publish(&mut self, store: &Store, step: (u128, usize, usize, Option<u64>, bool)) {
        let (number, events, bytes, wrong_by, again) = step;
        let to = stream(number);
        let drafts = self.drafts(to, events, bytes, again);
        let stored = self.streams.entry(to).or_default();
        let version = u64::try_from(stored.len()).unwrap();
        let expected = wrong_by.map_or(Expected::Any, |by| Expected::Version(version + by));
        let is_repeat = stored.iter().any(|known| known.event == drafts[0].event);
        let publication = Publication { stream: to, expected, drafts: drafts.clone() };
        match store.publish(publication).await {
            Ok(placed) => {
                assert!(!is_repeat && wrong_by.unwrap_or(0) == 0);
                assert_eq!(placed.len(), drafts.len());
                assert_eq!(placed[0].version, version + 1);
                stored.extend(drafts);
            }
            Err(PublishError::Repeated { stored: before }) => {
                assert!(is_repeat);
                assert_eq!(before[0].record, drafts[0].record);
            }
            Err(PublishError::Conflict { version: actual }) => {
                assert!(!is_repeat && wrong_by.unwrap_or(0) > 0);
                assert_eq!(actual, version);
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn check(&self, store: &Store) {
        for (stream, drafts) in &self.streams {
            let mut after = 0;
            let mut read = Vec::new();
            loop {
                let page = store.read(*stream, after).await.unwrap();
                let Some(last) = page.last() else { break };
                after = last.placed.version;
                read.extend(page);
            }
            let read: Vec<_> = read.iter().map(|stored| (stored.event, &stored.record)).collect();
            let wanted: Vec<_> = drafts.iter().map(|draft| (draft.event, &draft.record)).collect();
            assert_eq!(read, wanted);
            if let Some(last) = drafts.last() {
                let found = store.find(*stream, last.event).await.unwrap().unwrap();
                assert_eq!(found.record, last.record);
                assert_eq!(found.placed.version, u64::try_from(drafts.len()).unwrap());
            }
        }
    }
}

async fn run(steps: Vec<Step>) {
    let folder = folder();
    let mut store = open(&folder);
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Publish { stream, events, bytes, expected, again } => {
                model.publish(&store, (stream, events, bytes, expected, again)).await;
            }
            Step::Reopen { in_order } => {
                if in_order {
                    store.close().unwrap();
                }
                drop(store);
                store = open(&folder);
                model.check(&store).await;
            }
        }
    }
    model.check(&store).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(steps in vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
