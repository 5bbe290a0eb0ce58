//! Data folders whose files hold anything: no panic, nothing served that was not written, and
//! whatever is found wrong is named with its file.
//!
//! The same rounds each time, and few. For a long run, with another beginning:
//!
//! ```text
//! FUZZ_SECONDS=3600 FUZZ_SEED=7 cargo test -p tsunagi-event-store --test it fuzz -- --nocapture
//! ```
//!
//! A failure says its seed and round: `FUZZ_SEED` with that seed comes to it again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tsunagi_event_store::backup::{backup, restore};
use tsunagi_event_store::evidence::audit::{Options, Problem, public_key, verify};
use tsunagi_event_store::evidence::prove::prove;
use tsunagi_event_store::log::LogError;
use tsunagi_event_store::{Patients, Store};

use crate::flips::{Written, assert_only, sealed_log};
use crate::support::{config, event, folder, records};

/// Rounds where no time is given.
const ROUNDS: u64 = 24;

/// The files of a folder, by their names in it.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Splitmix64: the same numbers from the same seed for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

fn read(folder: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                files.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    files
}

fn write(folder: &Path, files: &Files) {
    for (name, bytes) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// Where something is written in a file, and not only zeros.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Does one thing to one of the files, or to two; `others` are of another folder.
fn spoil(files: &mut Files, others: &Files, random: &mut Random) {
    let names: Vec<PathBuf> = files.keys().cloned().collect();
    let name = names[random.below(names.len())].clone();
    let second = names[random.below(names.len())].clone();
    let of_second = files[&second].clone();
    let bytes = files.get_mut(&name).unwrap();
    let end = used(bytes).max(1);
    let at = random.below(end);
    let length = random.below(200) + 1;
    match random.below(12) {
        0..3 if !bytes.is_empty() => bytes[at.min(end - 1)] ^= 1 << random.below(8),
        3 => {
            let new = random.bytes(length);
            let behind = bytes.len().min(at + length);
            bytes.splice(at.min(behind)..behind, new);
        }
        4 => {
            let behind = bytes.len().min(at + length);
            bytes[at.min(behind)..behind].fill(0);
        }
        5 => bytes.truncate(at),
        6 => bytes.extend(random.bytes(length)),
        // Part of a file over, or into, another one.
        7 => {
            let from = random.below(of_second.len().max(1));
            let part = &of_second[from..of_second.len().min(from + 20 * length)];
            let behind =
                bytes.len().min(at + if length.is_multiple_of(2) { part.len() } else { 0 });
            bytes.splice(at.min(behind)..behind, part.iter().copied());
        }
        8 => {
            let whole = std::mem::replace(bytes, of_second);
            files.insert(second, whole);
        }
        // From another region, or from another time of this one.
        9 | 10 => {
            if let Some(other) = others.get(&name) {
                bytes.clone_from(other);
            }
        }
        _ => drop(files.remove(&name)),
    }
}

/// Whether the segments hold what they held, whatever may lie behind it.
fn is_log(files: &Files, whole: &Files) -> bool {
    let is_segment = |name: &Path| name.extension().is_some_and(|end| end == "seg");
    whole.iter().filter(|(name, _)| is_segment(name)).all(|(name, bytes)| {
        files.get(name).is_some_and(|found| found.starts_with(&bytes[..used(bytes)]))
    })
}

/// Verifies a folder: a log that was changed is never called good, and what is wrong is named.
fn audit(data: &Path, is_whole: bool) {
    match verify(data, &Options::default()) {
        Ok(report) => {
            assert!(is_whole || !report.problems.is_empty(), "a changed log was called good");
            for problem in &report.problems {
                let said = problem.to_string();
                assert!(said.len() > 20, "{said}");
                if let Problem::Log(LogError::Damaged { path, offset, .. }) = problem {
                    let is_named = said.contains(path.to_str().unwrap());
                    assert!(is_named && said.contains(&format!("offset {offset}")), "{said}");
                }
            }
        }
        Err(error) => assert!(is_named(data, &error), "{error}"),
    }
}

/// Whether an error says which file it is about.
fn is_named(data: &Path, error: &dyn std::error::Error) -> bool {
    let said = error.to_string();
    said.contains(data.to_str().unwrap()) || said.contains("the data folder was created with")
}

/// Copies a folder, and restores the copy: nothing comes of it that was not written.
async fn copy(data: &Path, written: &Written) {
    let copies = folder();
    let (to, restored) = (copies.path().join("copy"), copies.path().join("data"));
    match backup(data, &to) {
        Ok(_) => {
            restore(&to, &restored).unwrap();
            let store = Store::open(&config(&restored)).unwrap();
            assert_eq!(assert_only(&store, written).await, 0, "a copy is whole");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Serves a folder, if it can be opened.
async fn serve(data: &Path, written: &Written) {
    match Store::open(&config(data)) {
        Ok(store) => {
            assert_only(&store, written).await;
            let patients = Patients::open(records(&store, data), data).unwrap();
            if let Ok((rows, _)) = patients.list(None, 100, |_| true) {
                assert!(rows.len() <= 3, "of patients that are there");
            }
            drop(patients);
            store.close().unwrap();
        }
        Err(error) => assert!(is_named(data, &error), "{error}"),
    }
}

fn proof(data: &Path, number: u128) {
    let id = event(number).uuid().into_bytes();
    if let (Ok(proof), Ok(key)) = (prove(data, id, None), public_key(data)) {
        // A key that was exchanged does not check what the other one signed.
        drop(proof.check(&key));
    }
}

#[expect(clippy::disallowed_methods, reason = "for whoever runs this for long, not a setting")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Panics of the store's own threads would otherwise be logged, and no more.
fn count_panics() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        if thread.name().is_some_and(|name| name.starts_with("log-")) {
            PANICS.fetch_add(1, Ordering::Relaxed);
        }
        tell(panic);
    }));
}

/// A folder of which all files are there: closed, signed, with rows.
async fn whole() -> (TempDir, Files, Written) {
    let (folder, written) = sealed_log().await;
    let store = Store::open(&config(folder.path())).unwrap();
    let patients = Patients::open(records(&store, folder.path()), folder.path()).unwrap();
    drop(patients);
    store.close().unwrap();
    drop(store);
    let files = read(folder.path());
    (folder, files, written)
}

#[test]
#[expect(clippy::print_stdout, reason = "a round that fails must be found again")]
fn whatever_a_folder_holds_nothing_panics_and_nothing_else_is_served() {
    count_panics();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_kept, files, written) = runtime.block_on(whole());
    let (_other, others, _) = runtime.block_on(whole());
    let seed = setting("FUZZ_SEED").unwrap_or(1);
    let until = setting("FUZZ_SECONDS").map(|left| Instant::now() + Duration::from_secs(left));
    let goes_on = |round| until.map_or(round < ROUNDS, |until| Instant::now() < until);
    for round in (0..).take_while(|round| goes_on(*round)) {
        let mut random = Random(seed.wrapping_mul(0x1_0000_0001).wrapping_add(round));
        let mut spoilt = files.clone();
        for _ in 0..=random.below(3) {
            spoil(&mut spoilt, &others, &mut random);
        }
        let data = folder();
        write(data.path(), &spoilt);
        // Said only if the round fails: then it is what is looked for.
        println!("seed {seed} round {round}");
        audit(data.path(), is_log(&spoilt, &files));
        proof(data.path(), u128::from(round % 60));
        runtime.block_on(copy(data.path(), &written));
        runtime.block_on(serve(data.path(), &written));
        assert_eq!(PANICS.load(Ordering::Relaxed), 0, "a thread of the store panicked");
    }
}
