//! What of a storage is told to whoever runs the server: once, as long as it stays as it is, and not
//! at every sweep.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::storage::mixed;

/// So many things are told at a time. Of more, that there are more.
const TOLD_MAX: usize = 1_000;

/// What was told, by paths and reasons.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<Sweeps>);

#[derive(Debug, Default)]
struct Sweeps {
    last: HashSet<u64>,
    now: HashSet<u64>,
    says_more: bool,
}

impl Told {
    /// Begins a sweep. What the last one did not meet is forgotten.
    pub(super) fn begin(&self) {
        let sweeps = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sweeps.last = std::mem::take(&mut sweeps.now);
        sweeps.says_more &= sweeps.last.len() >= TOLD_MAX;
    }

    /// Whether this is to be told of a path: it was not in the last sweep, nor in this one.
    pub(super) fn is_news(&self, path: &Path, why: &str) -> bool {
        let bytes = path.as_os_str().as_bytes().iter().chain(b"\n").chain(why.as_bytes());
        let one = mixed(bytes.copied());
        let sweeps = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !sweeps.last.contains(&one) && !sweeps.now.contains(&one);
        if sweeps.now.len() < TOLD_MAX {
            sweeps.now.insert(one);
            return is_new;
        }
        if is_new && !std::mem::replace(&mut sweeps.says_more, true) {
            tracing::warn!(
                told = TOLD_MAX,
                "more of the SS-MIX2 storage is passed over than is told one by one"
            );
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_odd_is_told_once_as_long_as_it_is_there() {
        let told = Told::default();
        let (one, other) = (Path::new("one"), Path::new("other"));
        told.begin();
        assert!(told.is_news(one, "a link leads nowhere") && told.is_news(other, "it is no file"));
        assert!(!told.is_news(one, "a link leads nowhere"), "by another way");
        assert!(told.is_news(one, "it is no file"), "it is another matter now");
        for _ in 0..3 {
            told.begin();
            assert!(!told.is_news(one, "a link leads nowhere"));
        }
        assert!(told.is_news(other, "it is no file"), "it had gone, and is there again");
    }

    #[test]
    fn no_more_is_kept_in_memory_than_the_limit() {
        let told = Told::default();
        for _ in 0..2 {
            told.begin();
            for number in 0..TOLD_MAX + 7 {
                told.is_news(Path::new(&number.to_string()), "it is no file");
            }
            let sweeps = told.0.lock().unwrap();
            assert_eq!((sweeps.now.len(), sweeps.says_more), (TOLD_MAX, true));
        }
    }
}
