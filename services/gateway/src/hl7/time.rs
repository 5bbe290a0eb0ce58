//! Times of HL7: as far as they are known, in the facility's zone unless they name an offset.

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};

/// A time as the events have it: a FHIR dateTime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Time {
    pub text: String,
    /// The offset that was named cannot be one, and the facility's zone was taken.
    pub odd_offset: bool,
}

/// Why a text is no time. Holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no time such as 20260501, 202605011230 or 20260501123000+0900")]
pub struct NoTime;

/// Reads `YYYY[MM[DD[HH[MM[SS[.S…]]]]]][+ZZZZ]`. A month or day of `00` is one that is not
/// known. Hyphens, colons and a `T` between the parts are passed over.
pub fn parse(text: &str, zone: &TimeZone) -> Result<Time, NoTime> {
    let (local, offset) = split_offset(text.trim());
    let (whole, _fraction) = local.split_once('.').unwrap_or((local, ""));
    let is_between = |c: &char| matches!(c, '-' | ':' | 'T' | '/' | ' ');
    let digits: String = whole.chars().filter(|c| !is_between(c)).collect();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NoTime);
    }
    let number = |from: usize| digits.get(from..from + 2).and_then(|two| two.parse::<i8>().ok());
    let year: i16 = digits.get(..4).and_then(|year| year.parse().ok()).ok_or(NoTime)?;
    let known = |text: String| Ok(Time { text, odd_offset: false });
    let date = match digits.len() {
        4 => return known(format!("{year:04}")),
        6 | 8 | 10 | 12 | 14.. => match (number(4), number(6)) {
            (Some(0), _) => return known(format!("{year:04}")),
            (Some(month), None | Some(0)) => {
                Date::new(year, month, 1).or(Err(NoTime))?;
                return known(format!("{year:04}-{month:02}"));
            }
            (Some(month), Some(day)) => Date::new(year, month, day).or(Err(NoTime))?,
            (None, _) => return Err(NoTime),
        },
        _ => return Err(NoTime),
    };
    let Some(hour) = number(8) else { return known(date.to_string()) };
    let (minute, second) = (number(10).unwrap_or(0), number(12).unwrap_or(0).min(59));
    let local = date_time(date, [hour, minute, second])?;
    let named = offset.and_then(real_offset);
    let odd_offset = offset.is_some() && named.is_none();
    let zone = named.map_or_else(|| zone.clone(), TimeZone::fixed);
    let moment = zone.to_ambiguous_timestamp(local).compatible().or(Err(NoTime))?;
    let text = moment.display_with_offset(zone.to_offset(moment)).to_string();
    Ok(Time { text, odd_offset })
}

/// The day that `text` begins with, as far as it is known: for dates of birth.
pub fn parse_date(text: &str, zone: &TimeZone) -> Result<String, NoTime> {
    let time = parse(text, zone)?.text;
    Ok(time.get(..10).unwrap_or(&time).to_owned())
}

/// 24:00 is the beginning of the next day.
fn date_time(date: Date, [hour, minute, second]: [i8; 3]) -> Result<DateTime, NoTime> {
    if (hour, minute) == (24, 0) {
        let tomorrow = date.tomorrow().or(Err(NoTime))?;
        return Ok(tomorrow.at(0, 0, 0, 0));
    }
    let is_clock = (0..24).contains(&hour) && (0..60).contains(&minute);
    if is_clock { Ok(date.at(hour, minute, second, 0)) } else { Err(NoTime) }
}

/// The offset at the end, if there is one: a sign and four digits, perhaps with a colon, or a
/// `Z` (UTC), which says nothing behind another one.
fn split_offset(text: &str) -> (&str, Option<&str>) {
    let without_z = text.trim_end_matches(['Z', 'z']);
    let (local, offset) = split_sign(without_z);
    let utc = (without_z.len() < text.len()).then_some("+0000");
    (local, offset.or(utc))
}

fn split_sign(text: &str) -> (&str, Option<&str>) {
    let sign = text.rfind(['+', '-']).filter(|at| *at >= 8);
    let split = sign.map(|at| text.split_at(at));
    match split {
        Some((local, offset)) if matches!(offset.len(), 5 | 6) => (local, Some(offset)),
        Some(_) | None => (text, None),
    }
}

/// Offsets are between -12:00 and +14:00, in quarters of an hour.
fn real_offset(text: &str) -> Option<Offset> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let hours: i32 = digits.get(..2)?.parse().ok()?;
    let minutes: i32 = digits.get(2..)?.parse().ok()?;
    let is_negative = text.starts_with('-');
    let seconds = (hours * 60 + minutes) * 60 * if is_negative { -1 } else { 1 };
    let is_real = minutes < 60 && minutes % 15 == 0 && (-43_200..=50_400).contains(&seconds);
    if is_real { Offset::from_seconds(seconds).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tsunagi_domain::{CareTime, Zone};

    use super::*;

    fn read(text: &str) -> Option<String> {
        parse(text, &TimeZone::get("Asia/Tokyo").unwrap()).ok().map(|time| time.text)
    }

    #[test]
    fn a_time_is_as_precise_as_it_was_said() {
        for (said, meant) in [
            ("1970", "1970"),
            ("197003", "1970-03"),
            ("19700000", "1970"),
            ("19700300", "1970-03"),
            ("19700301", "1970-03-01"),
            ("2026050112", "2026-05-01T12:00:00+09:00"),
            ("202605011230", "2026-05-01T12:30:00+09:00"),
            ("20260501123045.1234", "2026-05-01T12:30:45+09:00"),
            ("20260501123045-0400", "2026-05-01T12:30:45-04:00"),
            ("202605011230+0000", "2026-05-01T12:30:00+00:00"),
            ("202605012400", "2026-05-02T00:00:00+09:00"),
            ("2026-05-01T12:30:00Z", "2026-05-01T12:30:00+00:00"),
            ("20260501123000.25z", "2026-05-01T12:30:00+00:00"),
            ("20260501123000+0900Z", "2026-05-01T12:30:00+09:00"),
            ("20260501Z", "2026-05-01"),
            ("2026-05-01", "2026-05-01"),
            ("2026-05-01T12:30:00+09:00", "2026-05-01T12:30:00+09:00"),
        ] {
            assert_eq!(read(said).as_deref(), Some(meant), "{said}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for wrong in ["", "19", "197", "19701", "19701301", "20260230", "2026050125", "昨日", "M"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_offset_that_cannot_be_is_the_facility_s_zone() {
        let tokyo = TimeZone::get("Asia/Tokyo").unwrap();
        for odd in ["-2011", "-1237", "-1111", "+1500"] {
            let time = parse(&format!("20260501123000{odd}"), &tokyo).unwrap();
            assert_eq!((time.text.as_str(), time.odd_offset), ("2026-05-01T12:30:00+09:00", true));
        }
    }

    #[test]
    fn a_birth_is_a_day() {
        let utc = TimeZone::UTC;
        assert_eq!(parse_date("198808181126+0215", &utc).unwrap(), "1988-08-18");
        assert_eq!(parse_date("1988", &utc).unwrap(), "1988");
    }

    proptest! {
        #[test]
        fn what_is_read_is_a_time_of_ours(text in "[0-9]{4,14}(\\.[0-9]{1,4})?([+-][0-9]{4})?|\\PC{0,12}") {
            let zone = Zone::named("Asia/Tokyo").unwrap();
            if let Some(meant) = read(&text) {
                let year: i16 = meant.get(..4).unwrap().parse().unwrap();
                prop_assert!(CareTime::parse(&meant, &zone).is_ok() || !(1801..2299).contains(&year), "{} {}", text, meant);
            }
        }
    }
}
