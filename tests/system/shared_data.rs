//! Real input that nobody here wrote. It lies beside the repository, not in it: where it is
//! missing, these tests say so and pass.

use std::path::PathBuf;
use std::process::Output;

use tsunagi_proto::v1;

use crate::support::{Server, folder, run, stdout, timeline, timelines};

/// The folder of a data set. None, said loudly, if it is not there: then `skipped` is skipped.
fn data_set(name: &str, skipped: &str) -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let path = root.join("shared/data").join(name);
    if path.is_dir() {
        return Some(path);
    }
    #[expect(clippy::print_stderr, reason = "a test that skips says so")]
    {
        eprintln!(
            "SKIPPED: `{skipped}` checked nothing, because there is no folder {}",
            path.display()
        );
    }
    None
}

fn counts(output: &Output, of: &str) -> Vec<u64> {
    let text = stdout(output);
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(of)).unwrap();
    line.split_whitespace().skip(1).map(|count| count.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_japanese_hospital_s_export_arrives_whole() {
    let skipped = "a_japanese_hospital_s_export_arrives_whole";
    let Some(export) = data_set("fhir/clinosim-jp-p1500-seed20261121", skipped) else { return };
    let data = folder();
    let path = data.path().to_str().unwrap();
    let output = run(&["import", "fhir", export.to_str().unwrap(), "--data", path]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    // Of each, some stand in the Bundles a second time.
    assert_eq!(counts(&output, "Patient"), [785, 85, 0, 0]);
    assert_eq!(counts(&output, "Encounter")[0], 4611);
    assert_eq!(counts(&output, "Encounter")[2..], [0, 0]);
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let patients = timelines(&channel).await;
    assert_eq!(patients.len(), 785);
    let (mut admissions, mut discharges, mut with_ward, mut episodes) = (0, 0, 0, 0);
    for patient in patients.keys() {
        let entries = timeline(&channel, patient).await;
        for entry in &entries {
            let text = entry.text.clone().unwrap_or_default().ja;
            match entry.r#type.as_str() {
                "care.encounter.admitted.v1" => {
                    admissions += 1;
                    with_ward += usize::from(text.contains("病棟"));
                    episodes += usize::from(entry.episode_id != entry.encounter_id);
                }
                "care.encounter.discharged.v1" => discharges += 1,
                _ => {}
            }
        }
    }
    assert_eq!((admissions, discharges), (104, 102));
    assert_eq!(with_ward, 96, "as many as name a ward");
    assert_eq!(episodes, 98, "as many as are part of another encounter");
    // Kanji and kana stand side by side, wherever the export has both.
    let mut client = v1::timeline_client::TimelineClient::new(channel);
    let request = v1::ListPatientsRequest { page_size: 1000, ..Default::default() };
    let list = client.list_patients(crate::support::liaison(request)).await.unwrap().into_inner();
    let both = list.patients.iter().filter(|patient| {
        let names = &patient.demographics.as_ref().unwrap().names;
        let has = |script: v1::NameScript| names.iter().any(|name| name.script() == script);
        has(v1::NameScript::Ideographic) && has(v1::NameScript::Syllabic)
    });
    assert_eq!(both.count(), 781);
}

#[tokio::test]
async fn american_bundles_arrive_as_well() {
    let skipped = "american_bundles_arrive_as_well";
    let Some(bundles) = data_set("fhir/synthea-r4-smart", skipped) else { return };
    let data = folder();
    let path = data.path().to_str().unwrap();
    let output = run(&["import", "fhir", bundles.to_str().unwrap(), "--data", path]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert_eq!(counts(&output, "Patient"), [12, 0, 0, 0]);
    assert_eq!(counts(&output, "Encounter"), [218, 0, 0, 0]);
    let again = run(&["import", "fhir", bundles.to_str().unwrap(), "--data", path]);
    assert!(stdout(&again).contains("0 events stored"), "{}", stdout(&again));
}
