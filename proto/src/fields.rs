//! The fields of a message by their names, so that what is declared beside a message can be told
//! of it, and what holds for all messages need not know each. The build writes an `impl Fields`
//! for every message.

use crate::v1;

/// What a field says, told apart by what that is to a reader.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    Text(&'a str),
    Texts(&'a [String]),
    /// A UUID, or the id of an organisation, a role, a person.
    Id(&'a str),
    /// A time or a date, as it was written.
    Time(&'a str),
    Number(i64),
    Flag(bool),
    /// One of the schema's own choices, in Japanese and English.
    Words(&'static str, &'static str),
    /// A code, and the name of the set that the field takes its codes from.
    Code(&'a v1::Code, &'static str),
    Codes(&'a [v1::Code], &'static str),
    Organisation(&'a v1::Organisation),
    People(&'a [v1::Participant]),
    Place(&'a v1::Place),
    Quantity(&'a v1::Quantity),
    Observations(&'a [v1::Observation]),
    ResourceRef(&'a v1::ResourceRef),
    Identifier(&'a v1::Identifier),
    Message(&'a dyn Fields),
    /// So many messages.
    Many(usize),
}

/// A message that can be read by its fields' names.
pub trait Fields {
    /// The names of the fields that say something to a reader.
    fn names(&self) -> &'static [&'static str];

    /// What the field of this name says. None if there is no such field, or it says nothing.
    fn field(&self, name: &str) -> Option<Value<'_>>;
}

/// What the field at `path`, such as `demographics.birth_on`, says.
pub fn at<'a>(message: &'a dyn Fields, path: &str) -> Option<Value<'a>> {
    let Some((first, rest)) = path.split_once('.') else { return message.field(path) };
    if let Some(Value::Message(message)) = message.field(first) { at(message, rest) } else { None }
}

/// The id or time in the field of this name; empty if there is none.
pub fn written<'a>(message: &'a dyn Fields, name: &str) -> &'a str {
    match message.field(name) {
        Some(Value::Id(text) | Value::Time(text) | Value::Text(text)) => text,
        Some(
            Value::Texts(_)
            | Value::Number(_)
            | Value::Flag(_)
            | Value::Words(..)
            | Value::Code(..)
            | Value::Codes(..)
            | Value::Organisation(_)
            | Value::People(_)
            | Value::Place(_)
            | Value::Quantity(_)
            | Value::Observations(_)
            | Value::ResourceRef(_)
            | Value::Identifier(_)
            | Value::Message(_)
            | Value::Many(_),
        )
        | None => "",
    }
}

/// The organisations that a message names, in all its fields.
pub fn organisations(message: &dyn Fields) -> Vec<&v1::Organisation> {
    let mut found = Vec::new();
    for value in message.names().iter().filter_map(|name| message.field(name)) {
        if let Value::Organisation(organisation) = value {
            found.push(organisation);
        } else if let Value::People(people) = value {
            found.extend(people.iter().filter_map(|who| who.organisation.as_ref()));
        } else if let Value::Place(place) = value {
            found.extend(place.facility.as_ref());
        } else if let Value::Message(message) = value {
            found.extend(organisations(message));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_their_names() {
        let visit = v1::VisitCompleted {
            kind: v1::VisitKind::Nursing.into(),
            ended_at: "2026-05-01".to_owned(),
            ..v1::VisitCompleted::default()
        };
        assert!(matches!(visit.field("kind"), Some(Value::Words("訪問看護", "nursing visit"))));
        assert_eq!(written(&visit, "ended_at"), "2026-05-01");
        assert!(visit.field("moon").is_none());
    }

    #[test]
    fn a_path_leads_into_messages() {
        let demographics = v1::Demographics { deceased_at: "2026".into(), ..Default::default() };
        let updated = v1::DemographicsUpdated {
            demographics: Some(demographics),
            keeps: Vec::new(),
            withdraws: Vec::new(),
        };
        assert!(matches!(at(&updated, "demographics.deceased_at"), Some(Value::Time("2026"))));
        assert!(at(&v1::DemographicsUpdated::default(), "demographics.deceased_at").is_none());
    }

    #[test]
    fn organisations_are_found_wherever_they_are_named() {
        let named = |id: &str| v1::Organisation { id: id.into(), name: String::new() };
        let admitted = v1::Admitted {
            place: Some(v1::Place { facility: Some(named("acute")), ..Default::default() }),
            attending: Some(v1::Participant {
                organisation: Some(named("clinic")),
                ..Default::default()
            }),
            ..Default::default()
        };
        let ids: Vec<&str> = organisations(&admitted).iter().map(|of| of.id.as_str()).collect();
        assert_eq!(ids, ["acute", "clinic"]);
    }
}
