//! Times as far as they are known: to the second, the day, the month or the year.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// The region's time zone: it says when a day begins.
#[derive(Debug, Clone)]
pub struct Zone(TimeZone);

/// Why a text is not a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    #[error(
        "must be a time such as 2026-05-01T20:00:00+09:00 (a clock time needs its offset), or a date such as 2026-05-01, 2026-05 or 2026"
    )]
    Form,
    #[error("must lie between the years 1800 and 2299")]
    Range,
}

/// How far a time is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Precision {
    Year,
    Month,
    Day,
    Clock,
}

/// When something happened, as far as known: some moment from `earliest` to `latest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CareTime {
    earliest: Timestamp,
    latest: Timestamp,
    precision: Precision,
}

impl Zone {
    /// A zone by its IANA name, such as `Asia/Tokyo`, out of the database that is compiled in,
    /// so that every machine agrees on it.
    pub fn named(name: &str) -> Option<Self> {
        TimeZone::get(name).ok().map(Self)
    }

    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    fn local(&self, at: Timestamp) -> DateTime {
        self.0.to_datetime(at)
    }

    fn start_of(&self, day: Date) -> Result<Timestamp, TimeError> {
        self.0
            .to_ambiguous_timestamp(day.to_datetime(Time::midnight()))
            .compatible()
            .or(Err(TimeError::Range))
    }
}

impl CareTime {
    /// Reads a FHIR dateTime. Where it names a day, month or year, `zone` says when that begins.
    pub fn parse(text: &str, zone: &Zone) -> Result<Self, TimeError> {
        let (precision, first_day) = match text.len() {
            4 => (Precision::Year, date(text, "-01-01")?),
            7 => (Precision::Month, date(text, "-01")?),
            10 => (Precision::Day, date(text, "")?),
            _ => return Self::parse_clock(text),
        };
        let next = match precision {
            Precision::Year => first_day.checked_add(1.year()),
            Precision::Month => first_day.checked_add(1.month()),
            Precision::Day | Precision::Clock => first_day.checked_add(1.day()),
        }
        .or(Err(TimeError::Range))?;
        let latest = zone.start_of(next)?.checked_sub(1.nanosecond()).or(Err(TimeError::Range))?;
        Ok(Self { earliest: zone.start_of(first_day)?, latest, precision })
    }

    /// A moment known to the clock.
    pub fn at(moment: Timestamp) -> Self {
        Self { earliest: moment, latest: moment, precision: Precision::Clock }
    }

    pub fn earliest(&self) -> Timestamp {
        self.earliest
    }

    pub fn latest(&self) -> Timestamp {
        self.latest
    }

    /// When the day on which it begins begins again a year later, by the clock of `zone`. None if
    /// that lies beyond all times.
    pub fn year_after(&self, zone: &Zone) -> Option<Timestamp> {
        let day = zone.local(self.earliest).date().checked_add(1.year()).ok()?;
        zone.start_of(day).ok()
    }

    /// The time in words, by the clock of `zone` and as far as it is known:
    /// `2026-05-01 20:00`, `2026-05-01`, `2026-05` or `2026`.
    pub fn words(&self, zone: &Zone) -> String {
        let local = zone.local(self.earliest);
        match self.precision {
            Precision::Year => local.strftime("%Y").to_string(),
            Precision::Month => local.strftime("%Y-%m").to_string(),
            Precision::Day => local.strftime("%Y-%m-%d").to_string(),
            Precision::Clock => local.strftime("%Y-%m-%d %H:%M").to_string(),
        }
    }

    /// Whether this was certainly before `other`.
    pub fn is_before(&self, other: &Self) -> bool {
        self.latest < other.earliest
    }

    fn parse_clock(text: &str) -> Result<Self, TimeError> {
        let form = matches!(text.as_bytes().get(10), Some(b'T'));
        let moment: Timestamp = text.parse().or(Err(TimeError::Form))?;
        if !form || text.contains('[') {
            return Err(TimeError::Form);
        }
        let day = TimeZone::UTC.to_datetime(moment).date();
        in_range(day).map(|_| Self::at(moment))
    }
}

fn date(text: &str, rest: &str) -> Result<Date, TimeError> {
    let full = format!("{text}{rest}");
    let form = full.bytes().enumerate().all(|(index, byte)| match index {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    if !form {
        return Err(TimeError::Form);
    }
    in_range(full.parse().or(Err(TimeError::Form))?)
}

/// Outside these years, a date is a slip of the keyboard.
fn in_range(day: Date) -> Result<Date, TimeError> {
    if (1800..2300).contains(&day.year()) { Ok(day) } else { Err(TimeError::Range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokyo() -> Zone {
        Zone::named("Asia/Tokyo").unwrap()
    }

    fn parse(text: &str) -> Result<CareTime, TimeError> {
        CareTime::parse(text, &tokyo())
    }

    #[test]
    fn a_clock_time_is_a_moment() {
        let time = parse("2026-05-01T20:00:00+09:00").unwrap();
        assert_eq!(time.earliest().to_string(), "2026-05-01T11:00:00Z");
        assert_eq!(time.earliest(), time.latest());
    }

    #[test]
    fn a_date_is_the_whole_day_of_the_region() {
        let time = parse("2026-05-01").unwrap();
        assert_eq!(time.earliest().to_string(), "2026-04-30T15:00:00Z");
        assert_eq!(time.latest().to_string(), "2026-05-01T14:59:59.999999999Z");
    }

    #[test]
    fn a_time_is_told_by_the_region_s_clock_as_far_as_it_is_known() {
        let words = |text: &str| parse(text).unwrap().words(&tokyo());
        assert_eq!(words("2026-05-01T20:00:30+09:00"), "2026-05-01 20:00");
        assert_eq!(words("2026-05-01T20:00:00Z"), "2026-05-02 05:00");
        for partial in ["2026-05-01", "2026-05", "2026"] {
            assert_eq!(words(partial), partial);
        }
    }

    #[test]
    fn partial_dates_stay_partial() {
        assert_eq!(parse("2026-02").unwrap().precision, Precision::Month);
        assert_eq!(parse("2026").unwrap().latest().to_string(), "2026-12-31T14:59:59.999999999Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let wrong = [
            "",
            "0",
            "26",
            "2026-5-1",
            "2026/05/01",
            "2026-13-01",
            "2026-02-30",
            "20260501",
            "2026-05-01T20:00:00",
            "2026-05-01 20:00:00+09:00",
            "2026-05-01T25:00:00+09:00",
            "2026-05-01T20:00:00+09:00[Asia/Tokyo]",
            "昨日の夜中に",
            "٢٠٢٦",
        ];
        for text in wrong {
            assert_eq!(parse(text), Err(TimeError::Form), "{text}");
        }
        assert_eq!(parse("0026-05-01"), Err(TimeError::Range));
    }

    #[test]
    fn a_time_is_before_another_only_if_it_cannot_be_otherwise() {
        let (day, noon) =
            (parse("2026-05-01").unwrap(), parse("2026-05-01T12:00:00+09:00").unwrap());
        assert!(!day.is_before(&noon));
        assert!(!noon.is_before(&day));
        assert!(noon.is_before(&parse("2026-05-02").unwrap()));
    }
}
