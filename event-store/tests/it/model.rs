//! The engine against a simple model in memory: appends, conflicts, repeats, reads, reopens.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;
use tsunagi_bus::{
    Bus as _, Cursor, Delivery, Draft, Expected, Position, Publication, PublishError, StreamId,
};
use tsunagi_domain::EventId;
use tsunagi_event_store::Store;
use tsunagi_event_store::log::segment::SEGMENT_HEADER_BYTES;

use crate::support::{draft, event, folder, open, publish, stream};

/// What the model does next.
#[derive(Debug, Clone)]
enum Step {
    /// So many events for a stream, `again` if they were sent before. `expected` is how far the
    /// expected version is off, if one is given.
    Publish { stream: u128, events: usize, bytes: usize, expected: Option<u64>, again: bool },
    /// Reads what a stream has after so many events.
    Read { stream: u128, after: usize },
    /// Follows from a cursor that has seen so many events.
    Follow { seen: usize },
    Reopen {
        in_order: bool,
        /// A batch that was being written, cut at any byte or not: the process was killed.
        torn: Option<prop::sample::Index>,
        /// Which index files are missing then, one bit for each.
        without: u32,
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
    let read = (0..3u128, 0..80usize).prop_map(|(stream, after)| Step::Read { stream, after });
    let follow = (0..150usize).prop_map(|seen| Step::Follow { seen });
    let torn = prop::option::of(any::<prop::sample::Index>());
    let reopen = (any::<bool>(), torn, any::<u32>())
        .prop_map(|(in_order, torn, without)| Step::Reopen { in_order, torn, without });
    prop_oneof![24 => publish, 4 => read, 2 => follow, 2 => reopen]
}

/// What should be stored.
#[derive(Default)]
struct Model {
    streams: BTreeMap<StreamId, Vec<Draft>>,
    /// All events, in the order in which they were stored.
    order: Vec<(EventId, Position)>,
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
                let positions = placed.iter().map(|placed| placed.position);
                self.order.extend(drafts.iter().map(|draft| draft.event).zip(positions));
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

    async fn read(&self, store: &Store, number: u128, after: usize) {
        let stored = self.streams.get(&stream(number)).map_or(&[][..], Vec::as_slice);
        let read = store.read(stream(number), u64::try_from(after).unwrap()).await.unwrap();
        let wanted = stored.get(after..).unwrap_or_default();
        assert_eq!(read.is_empty(), wanted.is_empty());
        for (read, wanted) in read.iter().zip(wanted) {
            assert_eq!((read.event, &read.record), (wanted.event, &wanted.record));
        }
    }

    async fn follow(&self, store: &Store, seen: usize) {
        let seen = seen.min(self.order.len());
        let mut cursor = Cursor::start();
        for (_, position) in &self.order[..seen] {
            cursor.advance(*position);
        }
        let mut feed = store.follow(cursor);
        let mut followed = Vec::new();
        while let Delivery::Events(events) = feed.next().await.unwrap() {
            followed.extend(events.iter().map(|stored| (stored.event, stored.placed.position)));
        }
        assert_eq!(followed, self.order[seen..]);
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

/// Writes a batch that the model does not have, and cuts it within.
async fn tear(folder: &TempDir, store: &Store, cut: prop::sample::Index) {
    let last = || {
        let log = std::fs::read_dir(folder.path().join("log")).unwrap();
        let paths = log.map(|file| file.unwrap().path());
        let path = paths.filter(|path| path.extension().is_some_and(|end| end == "seg")).max();
        let bytes = std::fs::read(path.as_ref().unwrap()).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        (path.unwrap(), bytes, end)
    };
    let (path, _, begin) = last();
    let drafts = (1..4).map(|number| draft(u128::MAX - 1 - number, "never answered")).collect();
    publish(store, 0, drafts).await.unwrap();
    let (written, mut bytes, end) = last();
    // Of a batch in a new segment, nothing but the header is older.
    let begin = if written == path { begin } else { SEGMENT_HEADER_BYTES.try_into().unwrap() };
    // One byte at least is cut.
    let cut = begin + cut.index(end - begin);
    bytes[cut..].fill(0);
    std::fs::write(written, bytes).unwrap();
}

fn remove_index_files(folder: &TempDir, without: u32) {
    let index = std::fs::read_dir(folder.path().join("log/index")).unwrap();
    for (number, file) in (0..32).zip(index) {
        if without >> number & 1 == 1 {
            std::fs::remove_file(file.unwrap().path()).unwrap();
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
            Step::Read { stream, after } => model.read(&store, stream, after).await,
            Step::Follow { seen } => model.follow(&store, seen).await,
            Step::Reopen { in_order, torn, without } => {
                let checkpoints = folder.path().join("checkpoints.txt");
                let signed = std::fs::read(&checkpoints).unwrap();
                if in_order {
                    store.close().unwrap();
                } else if let Some(cut) = torn {
                    tear(&folder, &store, cut).await;
                }
                drop(store);
                if !in_order && torn.is_some() {
                    // What was not flushed was not signed either.
                    std::fs::write(&checkpoints, signed).unwrap();
                }
                remove_index_files(&folder, without);
                store = open(&folder);
                model.check(&store).await;
                model.follow(&store, 0).await;
            }
        }
    }
    model.check(&store).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(steps in vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
