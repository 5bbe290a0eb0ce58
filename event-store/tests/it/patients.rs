//! The patients' rows in sled: a copy of what the log says, made again whenever they are not.

use std::path::Path;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tsunagi_domain::PatientId;
use tsunagi_event_store::{Patients, Store};
use tsunagi_proto::v1;

use crate::support::{
    admitted, care_event, discharged, folder, handler, one, open, records, registered, visited,
};

/// Makes the rows of all that is stored, and gives them back.
async fn rows(store: &Store, folder: &Path) -> Vec<v1::PatientSummary> {
    let patients = Patients::open(records(store, folder), folder).unwrap();
    let stop = CancellationToken::new();
    let making = tokio::spawn({
        let (patients, stop) = (patients.clone(), stop.clone());
        async move { patients.run(stop).await }
    });
    let end = store.end();
    patients.watch().wait_for(|made| made.covers(&end)).await.unwrap();
    stop.cancel();
    making.await.unwrap().unwrap();
    patients.list(None, usize::MAX, |_| true).unwrap().0
}

async fn thirty_patients() -> (TempDir, Store) {
    let folder = folder();
    let store = open(&folder);
    let handler = handler(&store, &folder);
    for patient in 0..30 {
        let number = patient * 10;
        let register = care_event(patient, number, 1, &registered(&[&patient.to_string()]));
        handler.submit(one(register)).await.unwrap();
        handler.submit(one(care_event(patient, number + 1, 2, &admitted("4E")))).await.unwrap();
        handler.submit(one(care_event(patient, number + 2, 3, &visited()))).await.unwrap();
        if patient % 2 == 0 {
            handler.submit(one(care_event(patient, number + 3, 4, &discharged()))).await.unwrap();
        }
    }
    (folder, store)
}

fn sled_folder(folder: &Path) -> std::path::PathBuf {
    folder.join("rows-7.sled")
}

#[tokio::test]
async fn rows_say_what_the_log_says_and_go_on_with_it() {
    let (folder, store) = thirty_patients().await;
    let made = rows(&store, folder.path()).await;
    assert_eq!(made.len(), 30);
    let in_hospital = made.iter().filter(|row| row.state() == v1::PatientState::InHospital);
    assert_eq!(in_hospital.count(), 15);
    handler(&store, &folder).submit(one(care_event(1, 999, 9, &discharged()))).await.unwrap();
    let after = rows(&store, folder.path()).await;
    let changed: Vec<_> = made.iter().zip(&after).filter(|(one, other)| one != other).collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].1.state(), v1::PatientState::Discharged);
}

#[tokio::test]
async fn rows_are_made_again_when_they_are_missing() {
    let (folder, store) = thirty_patients().await;
    let made = rows(&store, folder.path()).await;
    std::fs::remove_dir_all(sled_folder(folder.path())).unwrap();
    assert_eq!(rows(&store, folder.path()).await, made);
}

#[tokio::test]
async fn rows_that_cannot_be_opened_are_put_aside_and_made_again() {
    let (folder, store) = thirty_patients().await;
    let made = rows(&store, folder.path()).await;
    let sled = sled_folder(folder.path());
    for entry in std::fs::read_dir(&sled).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::write(path, b"this is no database").unwrap();
        }
    }
    assert_eq!(rows(&store, folder.path()).await, made);
    let names = std::fs::read_dir(folder.path()).unwrap();
    let aside = names
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("damaged"));
    assert_eq!(aside.count(), 1);
}

#[tokio::test]
async fn a_flipped_bit_in_the_rows_is_never_shown() {
    let (folder, store) = thirty_patients().await;
    let made = rows(&store, folder.path()).await;
    let database = sled_folder(folder.path()).join("db");
    let length = std::fs::metadata(&database).unwrap().len();
    for offset in (0..length.min(65_536)).step_by(4_099) {
        let mut bytes = std::fs::read(&database).unwrap();
        bytes[usize::try_from(offset).unwrap()] ^= 0x10;
        std::fs::write(&database, bytes).unwrap();
        assert_eq!(rows(&store, folder.path()).await, made, "flipped at {offset}");
    }
}

#[tokio::test]
async fn rows_that_are_ahead_of_the_log_show_that_it_was_cut() {
    let (folder, store) = thirty_patients().await;
    rows(&store, folder.path()).await;
    let other = crate::support::folder();
    let younger = open(&other);
    // As after the log was restored from an older backup.
    std::fs::rename(sled_folder(folder.path()), sled_folder(other.path())).unwrap();
    let refused =
        Patients::open(records(&younger, other.path()), other.path()).err().unwrap().to_string();
    assert!(refused.contains("that the log has no more"), "{refused}");
    // Whoever knows takes them away.
    std::fs::remove_dir_all(sled_folder(other.path())).unwrap();
    assert!(rows(&younger, other.path()).await.is_empty());
}

#[tokio::test]
async fn a_patient_whose_events_are_damaged_keeps_the_row_and_all_others_get_theirs() {
    let (folder, store) = thirty_patients().await;
    let made = rows(&store, folder.path()).await;
    std::fs::remove_dir_all(sled_folder(folder.path())).unwrap();
    let segment = folder.path().join("log/0000000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[400] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let without: Vec<_> = rows(&store, folder.path()).await;
    assert_eq!(without.len(), 29);
    assert!(without.iter().all(|row| made.contains(row)));
    // And those who change after that.
    let last = &without[28];
    let patient = uuid::Uuid::parse_str(&last.patient_id).unwrap().as_u128() - 1;
    let more = care_event(patient, 999, 9, &visited());
    handler(&store, &folder).submit(one(more)).await.unwrap();
    let after = rows(&store, folder.path()).await;
    assert_eq!(after.iter().zip(&without).filter(|(one, other)| one != other).count(), 1);
}

#[tokio::test]
async fn rows_come_page_by_page() {
    let (folder, store) = thirty_patients().await;
    let all = rows(&store, folder.path()).await;
    let patients = Patients::open(records(&store, folder.path()), folder.path()).unwrap();
    let mut paged = Vec::new();
    let mut after = None;
    loop {
        let (page, has_more) = patients.list(after, 7, |_| true).unwrap();
        after = page.last().and_then(|last| PatientId::parse(&last.patient_id).ok());
        paged.extend(page);
        if !has_more {
            break;
        }
    }
    assert_eq!(paged, all);
}
