//! Reads sealed segments again and again, slowly, to find what the disk has damaged before
//! somebody needs it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tsunagi_bus::port::ReadError;

use crate::log::scan::Scanner;
use crate::log::segment::SEGMENT_HEADER_BYTES;
use crate::log::{Location, LogError};
use crate::store::{Store, off_the_runtime};

/// Bytes that are read at a time.
const PIECE_BYTES: u32 = 1 << 18;

/// Scrubs until told to stop, at `bytes_per_second` at most; not at all if that is 0. Damage is
/// logged with its file and offset, and counted.
pub async fn run(store: Store, bytes_per_second: u32, stop: CancellationToken) {
    if bytes_per_second == 0 {
        return;
    }
    let pause = Duration::from_secs_f64(f64::from(PIECE_BYTES) / f64::from(bytes_per_second));
    let mut next = Location::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            // Safe to cancel: nothing was begun.
            () = tokio::time::sleep(pause) => {}
        }
        next = match piece(&store, next).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%error, "the scrub could not go on, and begins again");
                Location::default()
            }
        };
    }
}

/// Reads one piece, and says where the next begins.
pub async fn piece(store: &Store, from: Location) -> Result<Location, ReadError> {
    let of_piece = store.clone();
    off_the_runtime(move || read_piece(&of_piece, from)).await
}

fn read_piece(store: &Store, from: Location) -> Result<Location, LogError> {
    let begin_of = |segment| Location { segment, offset: SEGMENT_HEADER_BYTES };
    let from = if from.segment == 0 { begin_of(1) } else { from };
    let Some((segment, end)) = store.sealed_segment(from.segment)? else {
        // All that is sealed was read: from the first on again.
        return Ok(begin_of(1));
    };
    let mut at = from.offset;
    let mut scanner = Scanner::new(&segment, at, end);
    while at < end.min(from.offset.saturating_add(PIECE_BYTES)) {
        match scanner.read_frame() {
            Ok(Some(frame)) => at = frame.end(),
            Ok(None) => break,
            Err(error) => {
                store.note_damage(&error);
                // Where the next frame begins is not known behind a broken one.
                return Ok(begin_of(from.segment + 1));
            }
        }
    }
    if at < end {
        return Ok(Location { segment: from.segment, offset: at });
    }
    // The header was read when the log was opened, and is needed when it is opened again.
    if let Err(error) = store.read_again(from.segment) {
        store.note_damage(&error);
    }
    Ok(begin_of(from.segment + 1))
}
