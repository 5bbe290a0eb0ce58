//! Exports that are not as they should be: odd files, foreign references, facts that cannot be,
//! and servers that stop. What is right in them is taken, and the rest is told.

use serde_json::{Value, json};
use tsunagi_proto::v1;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use crate::export::patient;
use crate::import::{import, write};
use crate::support::{Server, folder, liaison, stdout};

#[tokio::test]
async fn a_restricted_patient_s_address_is_confidential() {
    let (data, export) = (folder(), folder());
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let path = export.path().to_str().unwrap();
    let withheld = Some(v1::Address { confidential: true, ..Default::default() });
    let restricted = |number: usize, address: Value| {
        let mut resource = patient(number);
        resource["address"] = address;
        let system = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
        resource["meta"]["security"] = json!([{ "system": system, "code": "R" }]);
        resource
    };
    let known = async || {
        let request = v1::ListPatientsRequest { page_size: 10, ..Default::default() };
        let mut client = TimelineClient::new(channel.clone());
        client.list_patients(liaison(request)).await.unwrap().into_inner().patients
    };
    // The second was imported before with an address for all to see, the third without one.
    let mut open = patient(1);
    open["address"] = json!([{ "text": "秘密町2" }]);
    write(export.path(), "Patient.ndjson", &[open, patient(2)]);
    assert!(import(data.path(), &[path]).status.success());
    write(
        export.path(),
        "Patient.ndjson",
        &[
            restricted(0, json!([{ "text": "秘密町1", "city": "つなぎ市" }])),
            restricted(1, json!([])),
            restricted(2, json!([{ "text": "秘密町3" }])),
        ],
    );
    let output = import(data.path(), &[path]);
    assert!(output.status.success(), "{}", stdout(&output));
    let patients = known().await;
    assert_eq!(patients.len(), 3);
    for patient in patients {
        assert_eq!(patient.demographics.unwrap().address, withheld);
        let read = crate::support::timeline(&channel, &patient.patient_id).await;
        assert!(!format!("{read:?}").contains("秘密町"));
    }
    let again = import(data.path(), &[path]);
    assert!(stdout(&again).contains("0 events stored"), "{}", stdout(&again));
}
