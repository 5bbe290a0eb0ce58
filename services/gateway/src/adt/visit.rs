//! What a message says of a visit or stay: PV1, PV2, and when it happened.

use tsunagi_domain::{CareTime, Zone};
use tsunagi_proto::v1;

use super::group::Group;
use super::patient::system;
use super::profile::Profile;
use super::refusal::Refusal;
use crate::hl7::{Field, time};
use crate::text::{code, cut, distinct};

/// A time that a message says, and where it says so.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) field: &'static str,
    pub(super) odd_offset: bool,
}

/// How the system of numbers that visits have ends.
pub(super) const VISIT_NUMBERS: &str = "#visit";

/// Reads one patient's part of a message.
#[derive(Clone, Copy)]
pub(super) struct Visit<'a> {
    pub(super) group: &'a Group<'a>,
    pub(super) profile: &'a Profile,
    /// The region's zone, and the moment: what lies ahead of it did not happen.
    pub(super) zone: &'a Zone,
    pub(super) now: jiff::Timestamp,
}

impl Visit<'_> {
    fn field(&self, segment: &str, number: usize) -> Field<'_> {
        self.group.field(segment, number)
    }

    /// A fact that the facility says in a field of its own.
    fn own(&self, fact: &str) -> Option<Field<'_>> {
        let at = self.profile.place_of(fact)?;
        let field = self.field(&at.segment, at.field);
        let field = at.component.map_or(field, |part| field.component(part));
        (!field.is_empty()).then_some(field)
    }

    /// What kind of visit PV1-2 says it is, if it says so.
    pub(super) fn class(&self) -> Option<v1::EncounterClass> {
        let code = self.field("PV1", 2).first();
        let by_profile = self.profile.class(&code);
        by_profile.or_else(|| match code.to_ascii_uppercase().as_str() {
            "I" | "B" | "INPATIENT" | "IMP" => Some(v1::EncounterClass::Inpatient),
            "O" | "R" | "OUTPATIENT" | "AMB" => Some(v1::EncounterClass::Outpatient),
            "E" | "EMERGENCY" | "EMER" => Some(v1::EncounterClass::Emergency),
            _ => None,
        })
    }

    /// The facility's number of the visit.
    pub(super) fn number(&self) -> Option<v1::Identifier> {
        self.numbered(self.own("visit-number").unwrap_or_else(|| self.field("PV1", 19)))
    }

    /// The number that the visit had before (MRG-5).
    pub(super) fn prior_number(&self) -> Option<v1::Identifier> {
        self.numbered(self.field("MRG", 5))
    }

    fn numbered(&self, field: Field<'_>) -> Option<v1::Identifier> {
        let value = distinct(&field.first(), 200);
        let system = system(field.component(4), self.profile);
        (!value.is_empty())
            .then(|| v1::Identifier { system: format!("{system}{VISIT_NUMBERS}"), value })
    }

    /// Where the patient is (PV1-3), was (PV1-6) or will be (PV1-42).
    pub(super) fn place(&self, number: usize) -> v1::Place {
        let location = self.field("PV1", number);
        let part = |number: usize| location.component(number).subcomponent(1).text();
        let ward = match self.own("ward") {
            Some(own) if number == 3 => own.first(),
            Some(_) | None => part(1),
        };
        let department = self.own("department").unwrap_or_else(|| self.field("PV1", 10));
        v1::Place {
            facility: Some(self.profile.facility.clone()),
            department: cut(self.profile.department(&department.first()), 100),
            ward: cut(self.profile.ward(&ward), 100),
            room: cut(&part(2), 100),
            bed: cut(&part(3), 100),
        }
    }

    /// Whether the message has no visit at all.
    pub(super) fn says_nothing(&self) -> bool {
        self.group.segment("PV1").is_missing()
    }

    pub(super) fn says_place(&self, number: usize) -> bool {
        let location = self.field("PV1", number);
        (1..=3).any(|part| !location.component(part).subcomponent(1).text().is_empty())
    }

    /// The doctor who attends, as an id and a name.
    pub(super) fn attending(&self) -> Option<v1::Participant> {
        let doctor = self.field("PV1", 7).component(1);
        let whole = self.field("PV1", 7);
        let part = |number: usize| whole.component(number).subcomponent(1).text();
        let name = format!("{} {}", part(2), part(3));
        let participant = v1::Participant {
            role: "doctor".to_owned(),
            person: code(&doctor.first()),
            name: cut(name.trim(), 100),
            ..v1::Participant::default()
        };
        (!participant.person.is_empty() || !participant.name.is_empty()).then_some(participant)
    }

    /// A coded field of PV1, of a table of HL7's.
    pub(super) fn coded(&self, number: usize, table: &str) -> Option<v1::Code> {
        let field = self.field("PV1", number);
        let code = v1::Code {
            system: format!("http://terminology.hl7.org/CodeSystem/v2-{table}"),
            code: cut(&field.first(), 100),
            version: String::new(),
            display: cut(&field.component(2).text(), 200),
        };
        (!code.code.is_empty()).then_some(code)
    }

    /// When the stay began (PV1-44).
    pub(super) fn admitted_at(&self) -> Result<Option<Said>, Refusal> {
        self.time_of(self.own("admitted-at"), "PV1", 44, "PV1-44")
    }

    /// When it ended (PV1-45).
    pub(super) fn discharged_at(&self) -> Result<Option<Said>, Refusal> {
        self.time_of(self.own("discharged-at"), "PV1", 45, "PV1-45")
    }

    /// The day on which a visit that began then ends, where no message tells of its end: SS-MIX2
    /// has none for outpatients (ADT-12), who are registered (外来受付) for the day.
    pub(super) fn ends_on(&self, class: v1::EncounterClass, began: &Said) -> String {
        const SS_MIX2: &str = "1.2.392.200250.2.1.100.1.2.120";
        let is_ss_mix2 = || self.field("MSH", 21).raw().contains(SS_MIX2);
        let ends_that_day = self.profile.outpatient_ends_that_day().unwrap_or_else(is_ss_mix2);
        if class != v1::EncounterClass::Outpatient || !ends_that_day {
            return String::new();
        }
        self.care_time(&began.text).map(|began| self.day_of(began)).unwrap_or_default()
    }

    /// The day of a time, by the clock of the region. Empty if no day is known.
    pub(super) fn day_of(&self, time: CareTime) -> String {
        time.words(self.zone).get(..10).unwrap_or_default().to_owned()
    }

    /// When an admission is expected (PV2-8).
    pub(super) fn expected_admission(&self) -> Result<Option<Said>, Refusal> {
        self.first_of(&[("PV2", 8, "PV2-8"), ("EVN", 3, "EVN-3"), ("PV1", 44, "PV1-44")])
    }

    /// When a discharge is expected (PV2-9).
    pub(super) fn expected_discharge(&self) -> Result<Option<Said>, Refusal> {
        self.first_of(&[("PV2", 9, "PV2-9"), ("EVN", 3, "EVN-3"), ("PV1", 45, "PV1-45")])
    }

    /// When a move is planned for (EVN-3).
    pub(super) fn expected_transfer(&self) -> Result<Option<Said>, Refusal> {
        self.first_of(&[("EVN", 3, "EVN-3"), ("PV2", 8, "PV2-8")])
    }

    /// When the patient is expected back from leave (PV2-47).
    pub(super) fn expected_return(&self) -> Result<Option<Said>, Refusal> {
        self.first_of(&[("PV2", 47, "PV2-47")])
    }

    /// When what the message tells happened: what EVN says, or else when it was sent. A time
    /// that lies ahead is a wrong clock's; the next one is taken.
    pub(super) fn happened_at(&self) -> Result<Said, Refusal> {
        self.first_past(&[("EVN", 6, "EVN-6"), ("EVN", 2, "EVN-2"), ("MSH", 7, "MSH-7")])
    }

    fn first_past(&self, places: &[(&str, usize, &'static str)]) -> Result<Said, Refusal> {
        let mut ahead = None;
        for (segment, number, name) in places {
            let Ok(Some(said)) = self.time_of(None, segment, *number, name) else { continue };
            if !self.lies_ahead(&said) {
                return Ok(said);
            }
            ahead.get_or_insert(said);
        }
        ahead.ok_or_else(|| {
            Refusal::missing(
                "EVN-2",
                "say when it happened, in EVN-6 or EVN-2: neither these nor MSH-7 are times",
            )
        })
    }

    /// When the message was written: EVN-2, or else when it was sent, or what it tells happened.
    /// Of a day alone, the time of sending says more.
    pub(super) fn written_at(&self) -> Result<Said, Refusal> {
        let written =
            self.first_past(&[("EVN", 2, "EVN-2"), ("MSH", 7, "MSH-7"), ("EVN", 6, "EVN-6")])?;
        let sent = self.time_of(None, "MSH", 7, "MSH-7").ok().flatten();
        let says_more = |sent: &Said| {
            written.field == "EVN-2"
                && sent.text.len() > written.text.len()
                && sent.text.starts_with(&written.text)
                && !self.lies_ahead(sent)
        };
        Ok(sent.filter(says_more).unwrap_or(written))
    }

    /// Whether PV1-2 says a class that is not known here.
    pub(super) fn has_unknown_class(&self) -> bool {
        let said = self.field("PV1", 2);
        !said.is_empty() && !said.is_null() && self.class().is_none()
    }

    pub(super) fn care_time(&self, text: &str) -> Option<CareTime> {
        CareTime::parse(text, self.zone).ok()
    }

    fn lies_ahead(&self, said: &Said) -> bool {
        let tolerance = tsunagi_domain::record::FUTURE_TOLERANCE;
        self.care_time(&said.text).is_none_or(|time| time.earliest() > self.now + tolerance)
    }

    fn first_of(&self, places: &[(&str, usize, &'static str)]) -> Result<Option<Said>, Refusal> {
        for (segment, number, name) in places {
            if let Some(said) = self.time_of(None, segment, *number, name)? {
                return Ok(Some(said));
            }
        }
        Ok(None)
    }

    fn time_of(
        &self,
        own: Option<Field<'_>>,
        segment: &str,
        number: usize,
        name: &'static str,
    ) -> Result<Option<Said>, Refusal> {
        let field = own.unwrap_or_else(|| self.field(segment, number));
        if field.is_empty() || field.is_null() {
            return Ok(None);
        }
        let time = time::parse(&field.first(), &self.profile.zone)
            .map_err(|error| Refusal::wrong(name, &format!("the time {error}")))?;
        let said = Said { text: time.text, field: name, odd_offset: time.odd_offset };
        // What is no year of ours is a slip.
        match self.care_time(&said.text) {
            Some(_) => Ok(Some(said)),
            None => Err(Refusal::wrong(name, "the time must lie between the years 1800 and 2299")),
        }
    }
}
