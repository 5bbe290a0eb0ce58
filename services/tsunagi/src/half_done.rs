//! Merges and moves that were left half done, because a process was killed between the two records
//! that have to know: settled when one starts. Until then, and where that fails, any call that meets
//! a half merge settles it, and the same call again a half move.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tsunagi_bus::{Cursor, Handler};
use tsunagi_event_store::Patients;

/// Begins to settle those of which the rows tell when they have seen all up to `end`.
pub(crate) fn begin(
    handler: &Arc<Handler>,
    patients: &Patients,
    end: Cursor,
    stop: &CancellationToken,
) {
    let (handler, patients, stop) = (Arc::clone(handler), patients.clone(), stop.clone());
    tokio::spawn(async move {
        // What is cancelled half way is settled the next time.
        let settling = Box::pin(settle_all(&handler, &patients, &end));
        let settled = stop.run_until_cancelled(settling).await;
        if let Some(Err(error)) = settled {
            tracing::warn!(%error, "merges and moves that are half done were not looked for");
        }
    });
}

async fn settle_all(handler: &Handler, patients: &Patients, end: &Cursor) -> anyhow::Result<()> {
    patients.watch().wait_for(|made| made.covers(end)).await?;
    let rows = patients.clone();
    let found = move || anyhow::Ok((rows.half_merged()?, rows.moved_to()?));
    let (half_merged, moved_to) = tokio::task::spawn_blocking(found).await??;
    for patient in half_merged {
        if let Err(error) = handler.settle(patient).await {
            tracing::warn!(patient_id = %patient, %error, "a half merge was not settled");
        }
    }
    for patient in moved_to {
        if let Err(error) = handler.settle_moves(patient).await {
            tracing::warn!(patient_id = %patient, %error, "a half move was not settled");
        }
    }
    Ok(())
}
