//! Compares this store with others that have the same slots: at the same position, the roots of
//! their trees are the same, or something was lost or changed in one of them.

use std::time::Duration;

use tsunagi_bus::port::ReadError;
use tsunagi_bus::{Cursor, Log as _, Position, RemoteStore, Slot};

use crate::evidence::roots;
use crate::store::{Store, off_the_runtime};
use crate::troubles::Trouble;

/// Compares with another store again and again.
pub async fn watch(store: Store, other: RemoteStore, url: String, every: Duration) {
    other.is_known().await;
    loop {
        match differing(&store, &other).await {
            Ok(slots) => {
                let trouble = Trouble::Differs(url.clone());
                if slots.is_empty() {
                    if store.troubles().end(&trouble) {
                        tracing::info!(url, "the other store has the same history again");
                    }
                } else {
                    store.troubles().begin(trouble);
                }
                for Position { slot, n } in slots {
                    tracing::error!(
                        url,
                        slot = slot.0,
                        n,
                        "another store of the same slot has another history: begin a third one, in a folder with region.toml alone, and make the one anew that differs from it"
                    );
                }
            }
            Err(error) => tracing::warn!(url, %error, "another store could not be compared with"),
        }
        tokio::time::sleep(every).await;
    }
}

/// The slots whose histories differ, at the positions that both have.
async fn differing(store: &Store, other: &RemoteStore) -> Result<Vec<Position>, ReadError> {
    let (ours, theirs) = (store.end(), other.end());
    let mut common = Cursor::start();
    for Position { slot, n } in ours.positions() {
        let n = n.min(theirs.seen(slot));
        if n > 0 {
            common.advance(Position { slot, n });
        }
    }
    let theirs = other.roots(&common).await?;
    let (of_store, at) = (store.clone(), common.clone());
    let ours = off_the_runtime(move || roots::at(&of_store, &at)).await?;
    let differs = |root: &tsunagi_proto::v1::SlotRoot| {
        let slot = u16::try_from(root.slot).ok()?;
        let n = common.seen(Slot(slot));
        let is_other = ours.get(&slot).is_some_and(|ours| ours.as_slice() != root.root);
        (is_other && root.n == n).then_some(Position { slot: Slot(slot), n })
    };
    Ok(theirs.iter().filter_map(differs).collect())
}
