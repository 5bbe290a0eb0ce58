//! Every rpc of every desk: it takes what its schema asks for, once however often it is sent, and
//! refuses what cannot be. The requests are made of the schema: whoever adds an rpc says here what
//! comes before it, if anything has to.

use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message as _;
use prost::bytes::{Buf as _, BufMut as _, Bytes};
use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    MethodDescriptor, Value,
};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};
use tsunagi_proto::v1;

use crate::support::{Server, by, folder, id, reason};

pub(crate) const DESKS: [&str; 4] = ["DischargeDesk", "HomeCare", "LinkWorker", "CareTeam"];

/// What has to come before an rpc, first things first; the last is what a cancel cancels.
const BEFORE: &[(&str, &[&str])] = &[
    ("CancelPlannedAdmission", &["PlanAdmission"]),
    ("CancelVisit", &["RegisterVisit"]),
    ("CancelAdmission", &["Admit"]),
    ("PlanWardTransfer", &["Admit"]),
    ("CancelPlannedWardTransfer", &["Admit", "PlanWardTransfer"]),
    ("TransferWard", &["Admit"]),
    ("CancelWardTransfer", &["Admit", "TransferWard"]),
    ("StartLeave", &["Admit"]),
    ("CancelLeave", &["Admit", "StartLeave"]),
    ("ReturnFromLeave", &["Admit", "StartLeave"]),
    ("CancelReturnFromLeave", &["Admit", "StartLeave", "ReturnFromLeave"]),
    ("PlanDischarge", &["Admit"]),
    ("CancelPlannedDischarge", &["Admit", "PlanDischarge"]),
    ("Discharge", &["Admit"]),
    ("CancelDischarge", &["Admit", "Discharge"]),
    ("RecordScreening", &["Admit"]),
    ("RecordFamilyMeeting", &["Admit"]),
    ("StartDischargePlan", &["Admit"]),
    ("IssueDischargePlan", &["Admit"]),
    ("ChangeDischargePlan", &["Admit"]),
    ("ScheduleConference", &["Admit"]),
    ("CancelConference", &["Admit", "ScheduleConference"]),
    ("RecordConference", &["Admit"]),
    ("RequestTransfer", &["Admit"]),
    ("OfferBed", &["Admit", "RequestTransfer"]),
    ("DeclineTransfer", &["Admit", "RequestTransfer"]),
    ("AcceptOffer", &["Admit", "RequestTransfer", "OfferBed"]),
    ("WithdrawTransferRequest", &["Admit", "RequestTransfer"]),
    ("DeclareDischargeReady", &["Admit"]),
    ("ChangeEncounterClass", &["Admit"]),
    ("ChangeAttending", &["Admit"]),
    ("AddFactor", &["Admit"]),
    ("OpenSupport", &["Admit"]),
    ("CloseSupport", &["Admit", "OpenSupport"]),
    ("RecordJointGuidance", &["Admit"]),
    ("RecordCareManagerGuidance", &["Admit"]),
    ("AssessResidenceCriteria", &["Admit"]),
    ("RecordDelayReason", &["Admit"]),
    ("AssignPathway", &["Admit"]),
    ("RecordPathVariance", &["Admit"]),
    ("RecordDischargeInfo", &["Admit"]),
    ("AmendOrder", &["IssueOrder"]),
    ("ExpireOrder", &["IssueOrder"]),
    ("RemindOfCertification", &["RecordCertification"]),
    ("AcceptReferral", &["RequestReferral"]),
    ("RejectReferral", &["RequestReferral"]),
    ("StartReferral", &["RequestReferral", "AcceptReferral"]),
    ("HoldReferral", &["RequestReferral", "AcceptReferral"]),
    ("FailReferral", &["RequestReferral", "AcceptReferral"]),
    ("CompleteReferral", &["RequestReferral", "AcceptReferral"]),
    ("CancelReferral", &["RequestReferral"]),
    ("MarkReferralEnteredInError", &["RequestReferral"]),
    ("CloseCase", &["OpenCase"]),
    ("ReopenCase", &["OpenCase", "CloseCase"]),
    ("RecordContactAttempt", &["OpenCase"]),
    ("RecordContact", &["OpenCase"]),
    ("RecordAttendance", &["RequestReferral", "AcceptReferral"]),
    ("RecordNonAttendance", &["RequestReferral", "AcceptReferral"]),
    ("SetGoal", &["OpenCase"]),
    ("MeetGoal", &["OpenCase", "SetGoal"]),
    ("SendFeedback", &["RequestReferral"]),
    ("CloseProgramme", &["EnrolInProgramme"]),
    ("UnmergePatients", &["MergePatients"]),
    ("MarkEnteredInError", &["RecordVisit"]),
    ("CorrectValue", &["RecordVisit"]),
    ("CorrectTime", &["RecordVisit"]),
    ("SupersedeAcpPreference", &["RecordAcpPreference"]),
    ("SupersedeDocument", &["PublishDocument"]),
    ("WithdrawDocument", &["PublishDocument"]),
    ("ChangeProxy", &["AppointProxy"]),
    ("RevokeProxy", &["AppointProxy"]),
    ("NarrowConsent", &["GrantConsent"]),
    ("WithdrawConsent", &["GrantConsent"]),
    ("ExpireConsent", &["GrantConsent"]),
    ("CloseEmergencyAccess", &["OpenInEmergency"]),
    ("ReviewEmergencyAccess", &["OpenInEmergency"]),
    ("RestrictUse", &["RequestErasure"]),
    ("RecordErasure", &["RequestErasure", "RestrictUse"]),
    ("AssignQuestion", &["AskQuestion"]),
    ("AnswerQuestion", &["AskQuestion"]),
    ("CloseQuestion", &["AskQuestion"]),
    ("AcknowledgeAlert", &["RaiseAlert"]),
    ("ResolveAlert", &["RaiseAlert"]),
    ("MarkFalseAlarm", &["RaiseAlert"]),
    ("AnswerConsult", &["RequestConsult"]),
    ("SetConsultDisposition", &["RequestConsult"]),
    ("CancelAppointment", &["BookAppointment"]),
    ("RecordNoShow", &["BookAppointment"]),
    ("UnbindDevice", &["BindDevice"]),
    ("ChangeResource", &["PublishResource"]),
    ("ConfirmResource", &["PublishResource"]),
    ("ReportCapacity", &["PublishResource"]),
    ("WithdrawResource", &["PublishResource"]),
    ("MarkPartnerMeetingEnteredInError", &["RecordPartnerMeeting"]),
];

/// Those that begin a record.
const BEGINNINGS: [&str; 4] =
    ["RegisterPatient", "RecordWalkInConsult", "PublishResource", "RecordPartnerMeeting"];

/// What is told of an rpc about what nobody has recorded. Its context has the fields of a patient's,
/// by number.
fn unknown(method: &MethodDescriptor) -> &'static str {
    let Kind::Message(context) = method.input().get_field_by_name("context").unwrap().kind() else {
        panic!("{}: its context is no message", method.name())
    };
    match context.name() {
        "ResourceContext" => "RESOURCE_UNKNOWN",
        "OrganisationContext" => "MEETING_UNKNOWN",
        _ => "PATIENT_UNKNOWN",
    }
}

fn records(method: &MethodDescriptor) -> bool {
    method.input().get_field_by_name("event").is_some()
}

fn is_of_patient(method: &MethodDescriptor) -> bool {
    unknown(method) == "PATIENT_UNKNOWN"
}

/// The region's other hospital answers transfer requests.
fn organisation(rpc: &str) -> &'static str {
    if matches!(rpc, "OfferBed" | "DeclineTransfer") { "rehab" } else { "acute" }
}

/// Messages as bytes, whatever they are.
#[derive(Default)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let left = from.remaining();
        Ok(Some(from.copy_to_bytes(left)))
    }
}

struct Rpcs {
    methods: Vec<MethodDescriptor>,
    must: ExtensionDescriptor,
    channel: Channel,
    events: AtomicU64,
}

/// One call to be: everything that it says but whose record it is.
#[derive(Clone)]
struct Call {
    patient: String,
    event: String,
    at: String,
    /// The event that it cancels or corrects.
    names: String,
    /// The organisations that it names.
    organisation: &'static str,
}

impl Rpcs {
    fn method(&self, name: &str) -> &MethodDescriptor {
        self.methods.iter().find(|method| method.name() == name).unwrap()
    }

    /// A call of its own, at a time after all before it.
    fn next(&self, patient: &str, names: &str) -> Call {
        let number = self.events.fetch_add(1, Ordering::Relaxed);
        let (hour, minute) = (number / 60, number % 60);
        let day = 1 + hour / 24;
        Call {
            patient: patient.to_owned(),
            event: id(0x2_0000_0000 + u128::from(number)),
            at: format!("2026-05-{day:02}T{:02}:{minute:02}:00+09:00", hour % 24),
            names: names.to_owned(),
            organisation: "acute",
        }
    }

    fn request(&self, method: &MethodDescriptor, call: &Call) -> DynamicMessage {
        let mut request = DynamicMessage::new(method.input());
        let context = v1::CommandContext {
            event_id: call.event.clone(),
            patient_id: call.patient.clone(),
            occurred_at: call.at.clone(),
            ..v1::CommandContext::default()
        };
        let field = method.input().get_field_by_name("context").unwrap();
        let Kind::Message(of_context) = field.kind() else { panic!("a context is a message") };
        let context = DynamicMessage::decode(of_context, &*context.encode_to_vec()).unwrap();
        request.set_field_by_name("context", Value::Message(context));
        let field = method.input().get_field_by_name("event").unwrap();
        let Kind::Message(event) = field.kind() else { panic!("an event is a message") };
        request.set_field_by_name("event", Value::Message(self.filled(&event, call)));
        request
    }

    /// A message with all that must be given, and no more.
    fn filled(&self, message: &MessageDescriptor, call: &Call) -> DynamicMessage {
        let mut filled = DynamicMessage::new(message.clone());
        for field in message.fields() {
            if let Some(value) = self.value(&field, call) {
                filled.set_field(&field, value);
            }
        }
        filled
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else must be given")]
    fn value(&self, field: &FieldDescriptor, call: &Call) -> Option<Value> {
        let options = field.options();
        let must = options.get_extension(&self.must);
        let must = must.as_message();
        let flag = |name: &str| must.and_then(|must| must.get_field_by_name(name));
        let given = flag("given").and_then(|given| given.as_bool()).unwrap_or(false);
        let chosen = field.containing_oneof().is_some() && field.name() == "text";
        let is_one_of_two = matches!(field.name(), "id" | "names")
            || field.full_name() == "care.v1.ResourceRef.name"
            || field.full_name() == "care.v1.Participant.role";
        if !given && !chosen && !is_one_of_two {
            return None;
        }
        let set = flag("code_set").and_then(|set| set.as_str().map(str::to_owned));
        let form = flag("form").and_then(|form| form.as_enum_number()).unwrap_or_default();
        let value = match field.kind() {
            Kind::String => Value::String(text(field.name(), form, call)),
            Kind::Bytes => Value::Bytes(
                v1::VisitCompleted { kind: 2, ..Default::default() }.encode_to_vec().into(),
            ),
            Kind::Uint32 => Value::U32(1),
            Kind::Enum(_) => Value::EnumNumber(2),
            Kind::Message(message) if message.name() == "Code" => {
                let set = set.as_deref().and_then(tsunagi_proto::codes::set);
                let mut code = DynamicMessage::new(message);
                match set.and_then(|set| set.codes.first()) {
                    Some(known) => code.set_field_by_name("code", Value::String(known.code.into())),
                    None => code.set_field_by_name("display", Value::String("x".into())),
                }
                Value::Message(code)
            }
            // Another than the one where the patient is, or that calls.
            Kind::Message(message)
                if [
                    "care.v1.TransferRequested.facility",
                    "care.v1.PartnerMeetingHeld.partners",
                ]
                .contains(&field.full_name()) =>
            {
                let call = Call { organisation: "rehab", ..call.clone() };
                Value::Message(self.filled(&message, &call))
            }
            Kind::Message(message) => Value::Message(self.filled(&message, call)),
            _ => return None,
        };
        Some(if field.is_list() { Value::List(vec![value]) } else { value })
    }

    async fn send(&self, method: &MethodDescriptor, message: Bytes) -> Result<v1::Receipt, Status> {
        self.send_as(method, by(organisation(method.name()), "care-manager", message)).await
    }

    async fn send_as(
        &self,
        method: &MethodDescriptor,
        request: Request<Bytes>,
    ) -> Result<v1::Receipt, Status> {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let answer = grpc.unary(request, path.parse().unwrap(), Raw).await?;
        Ok(v1::Receipt::decode(answer.into_inner()).unwrap())
    }

    /// Registers a patient and does what comes before `rpc`; gives the event of the last of it.
    async fn prepare(&self, rpc: &str, patient: &str) -> String {
        let mut last = String::new();
        if BEGINNINGS.contains(&rpc) {
            return last;
        }
        let before = BEFORE.iter().find(|(of, _)| *of == rpc).map_or(&[][..], |(_, before)| before);
        let first = is_of_patient(self.method(rpc)).then_some(&"RegisterPatient");
        for name in first.into_iter().chain(before) {
            let method = self.method(name);
            let call = self.next(patient, &last);
            let request = self.request(method, &call).encode_to_vec();
            let sent = self.send(method, request.into()).await;
            last = sent.unwrap_or_else(|status| panic!("{name} before {rpc}: {status}")).event_id;
        }
        last
    }
}

/// A text of a form; ids that name one thing are the same in all of a patient's calls.
fn text(name: &str, form: i32, call: &Call) -> String {
    let form = v1::Form::try_from(form).unwrap();
    let other_patient = uuid::Uuid::new_v5(&call.patient.parse().unwrap(), b"other").to_string();
    match (name, form) {
        ("cancelled_event_id" | "corrects_event_id", _) => call.names.clone(),
        ("retired_patient_id", _) => other_patient,
        ("id", _) => call.organisation.to_owned(),
        ("type", _) => "care.home.visit_completed.v1".to_owned(),
        (name, v1::Form::Uuid) => {
            uuid::Uuid::new_v5(&call.patient.parse().unwrap(), name.as_bytes()).to_string()
        }
        (_, v1::Form::Id | v1::Form::Name) => "x-1".to_owned(),
        (_, v1::Form::Time | v1::Form::Date) => "2026-05-01".to_owned(),
        (_, v1::Form::Decimal) => "1".to_owned(),
        (_, v1::Form::Rrule) => "FREQ=DAILY".to_owned(),
        (_, v1::Form::Clock) => "10:00".to_owned(),
        (_, v1::Form::Json) => "{}".to_owned(),
        // Of an identifier: nobody else's.
        ("value", v1::Form::Unspecified) => call.patient.clone(),
        (_, v1::Form::Unspecified) => "x".to_owned(),
        (_, v1::Form::Sha256) => {
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned()
        }
    }
}

#[tokio::test]
async fn every_rpc_takes_what_can_be_once_and_refuses_what_cannot() {
    let data = folder();
    let server = Server::start(data.path());
    let pool = DescriptorPool::decode(tsunagi_proto::DESCRIPTOR).unwrap();
    let service = |name: &&str| pool.get_service_by_name(&format!("care.v1.{name}")).unwrap();
    let methods: Vec<MethodDescriptor> =
        DESKS.iter().flat_map(|name| service(name).methods().collect::<Vec<_>>()).collect();
    // What records no event of its own has tests of its own: `moved.rs`.
    let methods: Vec<_> = methods.into_iter().filter(records).collect();
    let must = pool.get_extension_by_name("care.v1.must").unwrap();
    let channel = server.channel().await;
    let rpcs = Rpcs { methods: methods.clone(), must, channel, events: AtomicU64::new(0) };
    assert!(methods.len() > 140);
    for (of, before) in BEFORE {
        for name in [of].into_iter().chain(*before) {
            rpcs.method(name);
        }
    }
    for (number, method) in (1_u128..).zip(&methods) {
        let rpc = method.name();
        let patient = id(0x1_0000_0000 + number);
        let nothing = rpcs.send(method, Bytes::new()).await.unwrap_err();
        assert_eq!(reason(&nothing), "FIELDS_INVALID", "{rpc}");
        let early = rpcs.next(&patient, &id(7));
        let early = Bytes::from(rpcs.request(method, &early).encode_to_vec());
        let unsigned = rpcs.send_as(method, Request::new(early.clone())).await.unwrap_err();
        assert_eq!(reason(&unsigned), "ACTOR_MISSING", "{rpc}");
        if !BEGINNINGS.contains(&rpc) {
            let stranger = rpcs.send(method, early.clone()).await.unwrap_err();
            assert_eq!(reason(&stranger), unknown(method), "{rpc}");
        }
        // The other record that a merge names.
        let other = uuid::Uuid::new_v5(&patient.parse().unwrap(), b"other").to_string();
        if matches!(rpc, "MergePatients" | "UnmergePatients") {
            rpcs.prepare("RecordVisit", &other).await;
        }
        if BEFORE.iter().any(|(of, _)| *of == rpc) && is_of_patient(method) {
            rpcs.prepare("RecordVisit", &patient).await;
            let too_early = rpcs.next(&patient, &id(7));
            let too_early = Bytes::from(rpcs.request(method, &too_early).encode_to_vec());
            let refused = rpcs.send(method, too_early).await.unwrap_err();
            let codes = [tonic::Code::NotFound, tonic::Code::FailedPrecondition];
            assert!(codes.contains(&refused.code()), "{rpc}: {refused}");
        }
        let patient = if BEFORE.iter().any(|(of, _)| *of == rpc) {
            let patient = id(0x3_0000_0000 + number);
            if rpc == "UnmergePatients" {
                let other = uuid::Uuid::new_v5(&patient.parse().unwrap(), b"other").to_string();
                rpcs.prepare("RecordVisit", &other).await;
            }
            patient
        } else {
            patient
        };
        let last = rpcs.prepare(rpc, &patient).await;
        let call = rpcs.next(&patient, &last);
        let request = Bytes::from(rpcs.request(method, &call).encode_to_vec());
        let first = rpcs.send(method, request.clone()).await;
        let first = first.unwrap_or_else(|status| panic!("{rpc}: {status} {:?}", status.details()));
        assert!(!first.repeated, "{rpc}");
        let again = rpcs.send(method, request).await.unwrap();
        assert_eq!(again, v1::Receipt { repeated: true, ..first }, "{rpc}");
        let at = "2026-04-30T10:00:00+09:00".to_owned();
        let other = Bytes::from(rpcs.request(method, &Call { at, ..call }).encode_to_vec());
        let reused = rpcs.send(method, other).await.unwrap_err();
        assert_eq!(reason(&reused), "EVENT_ID_REUSED", "{rpc}");
    }
}
