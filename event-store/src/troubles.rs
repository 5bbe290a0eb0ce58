//! What keeps a store from telling all that it should, as long as it lasts: health says so.

use std::collections::BTreeSet;

use tokio::sync::watch;
use tsunagi_bus::Slot;

/// One of these things.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A slot's stream is not taken in.
    Stopped(Slot),
    /// The store at this address has another history of the same slots.
    Differs(String),
}

/// All that there are now.
#[derive(Debug, Default)]
pub struct Troubles(watch::Sender<BTreeSet<Trouble>>);

impl Troubles {
    /// Tells whenever there are others.
    pub fn watch(&self) -> watch::Receiver<BTreeSet<Trouble>> {
        self.0.subscribe()
    }

    /// True if it had not begun.
    pub(crate) fn begin(&self, trouble: Trouble) -> bool {
        self.0.send_if_modified(|troubles| troubles.insert(trouble))
    }

    /// True if it had not ended.
    pub(crate) fn end(&self, trouble: &Trouble) -> bool {
        self.0.send_if_modified(|troubles| troubles.remove(trouble))
    }
}
