//! Turns: what commands about one patient or topic are decided on is kept in memory for those
//! that were written about lately, and one command after the other has it.

use std::future::Future;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use lru::LruCache;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// What is in memory, by its key. That two have the same at a time, because it was forgotten
/// meanwhile, harms nobody: nobody else wrote if the expected version is right.
pub(crate) struct Turns<K, T> {
    in_memory: Mutex<LruCache<K, Arc<AsyncMutex<T>>>>,
}

/// A place in the queue. Turns are taken in the order in which they are given.
pub struct Turn<T>(State<T>);

enum State<T> {
    Come(OwnedMutexGuard<T>),
    Waiting(Pin<Box<dyn Future<Output = OwnedMutexGuard<T>> + Send>>),
}

impl<K: Hash + Eq, T: Send + 'static> Turns<K, T> {
    pub(crate) fn new(in_memory_max: NonZeroUsize) -> Self {
        Self { in_memory: Mutex::new(LruCache::new(in_memory_max)) }
    }

    /// Queues up for what `key` names; `unread` is what is known of it if it is not in memory.
    pub(crate) fn turn(&self, key: K, unread: impl FnOnce() -> T) -> Turn<T> {
        let kept = {
            let mut in_memory = self.in_memory.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(in_memory.get_or_insert(key, || Arc::new(AsyncMutex::new(unread()))))
        };
        if let Ok(guard) = Arc::clone(&kept).try_lock_owned() {
            return Turn(State::Come(guard));
        }
        // The first poll takes the place in the queue; the waker of the await replaces this one.
        let mut waiting = Box::pin(kept.lock_owned());
        match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(guard) => Turn(State::Come(guard)),
            Poll::Pending => Turn(State::Waiting(waiting)),
        }
    }
}

impl<T> Turn<T> {
    pub async fn come(self) -> OwnedMutexGuard<T> {
        match self.0 {
            State::Come(guard) => guard,
            State::Waiting(waiting) => waiting.await,
        }
    }
}
