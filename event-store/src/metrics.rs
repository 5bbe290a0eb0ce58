//! What the event store counts. Nothing is counted on the way of an event: the instruments look
//! when somebody asks.

use opentelemetry::metrics::{AsyncInstrument, Meter};
use tsunagi_bus::Cursor;

use crate::patients::Patients;
use crate::store::Store;

/// Registers the instruments of a store and its rows.
pub fn register(store: &Store, patients: &Patients) {
    let meter = opentelemetry::global::meter("tsunagi");
    counter(&meter, store, "tsunagi_events_stored", "Events in the log", |store| {
        Some(events(&store.end()))
    });
    counter(
        &meter,
        store,
        "tsunagi_damage_found",
        "How often reading or the scrub met bytes of the log that are not as they were written, since the start; the server's log says where",
        |store| Some(store.damage_found()),
    );
    counter(
        &meter,
        store,
        "tsunagi_rows_put_aside",
        "How often the patients' rows were unusable and made again from the log, since the start",
        |store| Some(store.rows_put_aside()),
    );
    gauge(&meter, store, "tsunagi_disk_free_bytes", "Bytes free where the log is", |store| {
        store.disk_free_bytes().ok()
    });
    gauge(
        &meter,
        store,
        "tsunagi_disk_floor_bytes",
        "Bytes of free disk below which writes are refused",
        |store| Some(store.disk_floor_bytes()),
    );
    gauge(
        &meter,
        store,
        "tsunagi_log_broken",
        "1 when the log can no longer be written: what is stored is still served",
        |store| Some(u64::from(store.broken().is_cancelled())),
    );
    gauge(
        &meter,
        store,
        "tsunagi_troubles",
        "Slots that are not taken in, and replicas that have another history",
        |store| Some(u64::try_from(store.troubles().watch().borrow().len()).unwrap_or(u64::MAX)),
    );
    let (store, patients) = (store.clone(), patients.clone());
    meter
        .u64_observable_gauge("tsunagi_rows_behind_events")
        .with_description("Events in the log that the patients' rows do not tell of yet")
        .with_callback(move |now| {
            let stored = events(&store.end());
            now.observe(stored.saturating_sub(events(&patients.made())), &[]);
        })
        .build();
}

fn events(cursor: &Cursor) -> u64 {
    cursor.positions().map(|position| position.n).sum()
}

fn counter(
    meter: &Meter,
    store: &Store,
    name: &'static str,
    what: &'static str,
    count: fn(&Store) -> Option<u64>,
) {
    let observed = observed(store, count);
    meter.u64_observable_counter(name).with_description(what).with_callback(observed).build();
}

fn gauge(
    meter: &Meter,
    store: &Store,
    name: &'static str,
    what: &'static str,
    size: fn(&Store) -> Option<u64>,
) {
    let observed = observed(store, size);
    meter.u64_observable_gauge(name).with_description(what).with_callback(observed).build();
}

fn observed(
    store: &Store,
    look: fn(&Store) -> Option<u64>,
) -> impl Fn(&dyn AsyncInstrument<u64>) + Send + Sync + 'static {
    let store = store.clone();
    move |now| {
        if let Some(value) = look(&store) {
            now.observe(value, &[]);
        }
    }
}
