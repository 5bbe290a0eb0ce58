//! What the lists of codes say of more than codes: which scores an instrument has, in which units an
//! observation is measured and which values it can have, for how many days an order may hold.

use tsunagi_domain::{CareTime, Zone};

use crate::catalogue::Payload;
use crate::check::{Path, Violation, is_of};
use crate::codes::{self, KnownCode, Moment};
use crate::v1;

/// The set of instruments.
const INSTRUMENTS: &str = "sp.instrument";
/// The set of what is observed, which has LOINC's codes.
const OBSERVED: &str = "observation.kind";
const ORDERS: &str = "jp.nursing-order-kind";
/// What that set calls an order that is more than the usual one (特別訪問看護指示書).
pub(crate) const SPECIAL_ORDER: &str = "special";
/// An order that may hold for fewer days than these needs days: a month says nothing of it.
const DAYS_OF_A_MONTH: u32 = 28;

/// Of which kind an order is, if it is of one of the list's.
pub(crate) fn order_kind(order: &v1::NursingOrder) -> Option<&'static KnownCode> {
    known(ORDERS, order.kind.as_ref()?, None)
}

/// What of a payload contradicts a list. By another list, or another version of one, it may be
/// right: so whoever knows that it was taken before, takes it again.
pub(crate) fn contradictions(payload: &Payload, moment: Option<Moment<'_>>) -> Vec<Violation> {
    let mut wrong = Vec::new();
    if let Payload::MeasureRecorded(measure) = payload {
        wrong.extend(score(measure, moment));
    } else if let Payload::ObservationRecorded(observed) = payload {
        let observations = observed.observations.iter().enumerate();
        wrong
            .extend(observations.filter_map(|(index, observed)| quantity(index, observed, moment)));
    } else if let Payload::OrderIssued(order) | Payload::OrderAmended(order) = payload {
        let kind = order.kind.as_ref();
        wrong.extend(kind.and_then(|kind| days(order, known(ORDERS, kind, moment)?)));
    } else if let Payload::SpecialOrderIssued(order) = payload {
        let special = codes::words(ORDERS, "", SPECIAL_ORDER, moment);
        wrong.extend(special.and_then(|special| days(order, special)));
    }
    wrong.into_iter().map(|wrong| Violation { is_unlisted: true, ..wrong }).collect()
}

/// What a list knows of a code, if the code is the list's.
fn known(set: &str, code: &v1::Code, moment: Option<Moment<'_>>) -> Option<&'static KnownCode> {
    is_of(set, code).then(|| codes::words(set, &code.version, &code.code, moment))?
}

/// The score of an instrument that has no such score.
fn score(measure: &v1::MeasureRecorded, moment: Option<Moment<'_>>) -> Option<Violation> {
    let instrument = known(INSTRUMENTS, measure.instrument.as_ref()?, moment)?;
    let (lowest, highest) = instrument.scores.filter(|_| !instrument.can_score(&measure.score))?;
    let problem = format!("must lie between {lowest} and {highest} by this instrument");
    Some(Path::ROOT.field("score").violation(problem))
}

/// The unit of an observation that is measured in others, or its value if it can be none.
fn quantity(
    index: usize,
    observed: &v1::Observation,
    moment: Option<Moment<'_>>,
) -> Option<Violation> {
    let v1::observation::Value::Quantity(quantity) = observed.value.as_ref()? else { return None };
    let code = observed.code.as_ref()?;
    if !is_of(OBSERVED, code) && !codes::is_loinc(&code.system) {
        return None;
    }
    // The version is LOINC's own.
    let kind = codes::words(OBSERVED, "", &code.code, moment)?;
    let at = Path::ROOT.field("observations");
    let at = at.item(index);
    let at = at.field("quantity");
    if kind.units.is_empty() || kind.units.contains(&quantity.unit.as_str()) {
        let (lowest, highest) = kind.range_in(&quantity.unit)?;
        let can_be = |value: f64| (f64::from(lowest)..=f64::from(highest)).contains(&value);
        if quantity.value.parse().is_ok_and(can_be) {
            return None;
        }
        let problem = format!(
            "must lie between {lowest} and {highest} {} for {} ({}): check the decimal point and the unit",
            quantity.unit, kind.en, kind.code
        );
        return Some(at.field("value").violation(problem));
    }
    let problem = format!("must be {} for {} ({})", kind.units.join(" or "), kind.en, kind.code);
    Some(at.field("unit").violation(problem))
}

/// The end of an order that lies further from its beginning than one of its kind may hold. What is
/// known to the month alone is too long only if it is so by any day.
fn days(order: &v1::NursingOrder, kind: &KnownCode) -> Option<Violation> {
    let most = kind.days_at_most?;
    let dates = [("valid_from_on", &order.valid_from_on), ("valid_to_on", &order.valid_to_on)];
    let partial = dates.into_iter().find(|(_, date)| date.len() < "2026-05-01".len());
    if let Some((field, _)) = partial.filter(|_| most < DAYS_OF_A_MONTH) {
        let problem = format!(
            "must be a day: an order of this kind holds for {most} days at most ({}: {})",
            kind.code, kind.en
        );
        return Some(Path::ROOT.field(field).violation(problem));
    }
    let day = |text: &str| CareTime::parse(text, &Zone::utc()).ok();
    let (from, to) = (day(&order.valid_from_on)?, day(&order.valid_to_on)?);
    let days_between = to.earliest().duration_since(from.latest()).as_hours() / 24;
    if days_between < i64::from(most) - 1 {
        return None;
    }
    let problem = format!(
        "must be at most {most} days from `valid_from_on` on, that day counted ({}: {})",
        kind.code, kind.en
    );
    Some(Path::ROOT.field("valid_to_on").violation(problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(payload: &Payload) -> Vec<(String, String)> {
        let wrong = contradictions(payload, None).into_iter();
        wrong.map(|wrong| (wrong.field, wrong.problem)).collect()
    }

    fn observed(code: &str, unit: &str) -> Payload {
        let quantity = v1::Quantity { value: "36.5".into(), unit: unit.into() };
        Payload::ObservationRecorded(v1::ObservationRecorded {
            observations: vec![v1::Observation {
                code: Some(v1::Code { code: code.into(), ..Default::default() }),
                value: Some(v1::observation::Value::Quantity(quantity)),
            }],
        })
    }

    #[test]
    fn what_is_observed_has_one_of_its_units() {
        for (code, unit) in [
            ("8310-5", "Cel"),
            ("59408-5", "%"),
            ("85354-9", "mm[Hg]"),
            ("8867-4", "/min"),
            ("29463-7", "kg"),
            ("x-1", "drops"),
        ] {
            assert!(wrong(&observed(code, unit)).is_empty(), "{code} {unit}");
        }
        for unit in ["", "C", "degF", "cel"] {
            let problem = "must be Cel for body temperature (8310-5)".to_owned();
            let field = "observations[0].quantity.unit".to_owned();
            assert_eq!(wrong(&observed("8310-5", unit)), [(field, problem)]);
        }
    }

    #[test]
    fn what_is_observed_has_a_value_that_somebody_can_have() {
        let valued = |code: &str, value: &str, unit: &str| {
            let mut payload = observed(code, unit);
            let Payload::ObservationRecorded(recorded) = &mut payload else { unreachable!() };
            let quantity = v1::Quantity { value: value.into(), unit: unit.into() };
            recorded.observations[0].value = Some(v1::observation::Value::Quantity(quantity));
            wrong(&payload)
        };
        for (code, value, unit) in [
            ("8310-5", "36.8", "Cel"),
            ("8310-5", "13.7", "Cel"),
            ("59408-5", "100", "%"),
            ("8867-4", "0", "/min"),
            ("29463-7", "0.4", "kg"),
            ("29463-7", "400", "g"),
            ("2339-0", "1500", "mg/dL"),
            ("x-1", "99999", "drops"),
        ] {
            assert_eq!(valued(code, value, unit), [], "{code} {value} {unit}");
        }
        let problem = "must lie between 10 and 46 Cel for body temperature (8310-5): check the decimal point and the unit";
        let field = "observations[0].quantity.value";
        assert_eq!(valued("8310-5", "368", "Cel"), [(field.to_owned(), problem.to_owned())]);
        for (code, value, unit) in [
            ("59408-5", "980", "%"),
            ("59408-5", "-1", "%"),
            ("8480-6", "1200", "mm[Hg]"),
            ("29463-7", "4000", "kg"),
            ("8302-2", "160", "m"),
        ] {
            assert_eq!(valued(code, value, unit).len(), 1, "{code} {value} {unit}");
        }
    }

    #[test]
    fn codes_of_other_systems_are_not_the_lists() {
        let of = |system: &str| {
            let mut payload = observed("8310-5", "degF");
            let Payload::ObservationRecorded(recorded) = &mut payload else { unreachable!() };
            recorded.observations[0].code.as_mut().unwrap().system = system.into();
            wrong(&payload).len()
        };
        let systems = ["http://loinc.org", "observation.kind", "", " ", "\u{200b}"];
        assert_eq!(systems.map(of), [1; 5]);
        assert_eq!(of("urn:hospital"), 0);
        let special = |system: &str| {
            let mut order = order("special", "2026-05-01", "2026-06-01");
            order.kind.as_mut().unwrap().system = system.into();
            wrong(&Payload::OrderIssued(order)).len()
        };
        assert_eq!([special("jp.nursing-order-kind"), special("urn:hospital")], [1, 0]);
    }

    fn order(kind: &str, from: &str, to: &str) -> v1::NursingOrder {
        v1::NursingOrder {
            kind: Some(v1::Code { code: kind.into(), ..Default::default() }),
            valid_from_on: from.into(),
            valid_to_on: to.into(),
            ..Default::default()
        }
    }

    #[test]
    fn an_order_holds_no_longer_than_one_of_its_kind_may() {
        let is_right = |kind: &str, from: &str, to: &str| {
            wrong(&Payload::OrderIssued(order(kind, from, to))).is_empty()
        };
        assert!(is_right("special", "2026-05-01", "2026-05-14"));
        assert!(!is_right("special", "2026-05-01", "2026-05-15"));
        assert!(!is_right("special", "2026-05-01", "2027-04-30"));
        assert!(is_right("nursing", "2026-05-10", "2026-11"), "by a day that nobody knows");
        assert!(!is_right("nursing", "2026-05-01", "2026-12"), "by no day");
        for (from, to) in [("2026-05-01", "2026-05"), ("2026-05", "2026-06"), ("2026", "2026")] {
            assert!(!is_right("special", from, to), "{from} {to}");
            assert!(!is_right("injection", from, to), "{from} {to}");
        }
        assert!(is_right("nursing", "2026-07-01", "2026-12-31"), "six months");
        assert!(!is_right("nursing", "2026-07-01", "2027-01-01"));
        assert!(is_right("injection", "2026-05-01", "2026-05-07"));
        assert!(!is_right("injection", "2026-05-01", "2026-05-08"));
        assert!(is_right("nursing", "2026-05-01", "2026-10-31"));
        let amended = Payload::OrderAmended(order("special", "2026-05-01", "2026-06-01"));
        assert_eq!(wrong(&amended).len(), 1);
        let special = Payload::SpecialOrderIssued(order("", "2026-05-01", "2026-06-01"));
        assert_eq!(wrong(&special).len(), 1);
    }
}
