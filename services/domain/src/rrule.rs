//! Recurrence rules as RFC 5545 has them (its `recur` value): `FREQ=WEEKLY;BYDAY=TU,TH`. They are
//! kept as they were written; here is only whether a text is one.

/// Whether `text` is a recurrence rule.
pub fn is_rule(text: &str) -> bool {
    const MAX_LENGTH: usize = 500;
    let mut seen: Vec<&str> = Vec::new();
    for part in text.split(';') {
        let Some((name, value)) = part.split_once('=') else { return false };
        if seen.contains(&name) || !is_part(name, value) {
            return false;
        }
        seen.push(name);
    }
    let has = |name| seen.contains(&name);
    // Which one of the weekdays, can be said of a month or a year alone.
    let is_numbered = |part: &str| {
        part.strip_prefix("BYDAY=").is_some_and(|days| days.split(',').any(|day| day.len() > 2))
    };
    let of = |frequency: &str| text.split(';').any(|part| part == frequency);
    if text.split(';').any(is_numbered) && !of("FREQ=MONTHLY") && !of("FREQ=YEARLY") {
        return false;
    }
    // No month has a sixth of a weekday.
    let is_of_no_month = |part: &str| {
        part.strip_prefix("BYDAY=").is_some_and(|days| {
            let numbers = days.split(',').filter_map(|day| day.get(..day.len().saturating_sub(2)));
            numbers.filter(|number| !number.is_empty()).any(|of| !is_from_either_end(of, 5))
        })
    };
    if of("FREQ=MONTHLY") && text.split(';').any(is_of_no_month) {
        return false;
    }
    text.len() <= MAX_LENGTH && has("FREQ") && !(has("COUNT") && has("UNTIL"))
}

fn is_part(name: &str, value: &str) -> bool {
    const FREQUENCIES: [&str; 7] =
        ["SECONDLY", "MINUTELY", "HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"];
    let each = |is_one: &dyn Fn(&str) -> bool| value.split(',').all(is_one);
    match name {
        "FREQ" => FREQUENCIES.contains(&value),
        "INTERVAL" | "COUNT" => is_between(value, 1, 99_999),
        "UNTIL" => is_end(value),
        "WKST" => is_weekday(value),
        "BYDAY" => each(&is_numbered_weekday),
        "BYSECOND" => each(&|one| is_between(one, 0, 60)),
        "BYMINUTE" => each(&|one| is_between(one, 0, 59)),
        "BYHOUR" => each(&|one| is_between(one, 0, 23)),
        "BYMONTH" => each(&|one| is_between(one, 1, 12)),
        "BYMONTHDAY" => each(&|one| is_from_either_end(one, 31)),
        "BYWEEKNO" => each(&|one| is_from_either_end(one, 53)),
        "BYYEARDAY" | "BYSETPOS" => each(&|one| is_from_either_end(one, 366)),
        _ => false,
    }
}

fn is_between(text: &str, min: u32, max: u32) -> bool {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number && text.parse::<u32>().is_ok_and(|number| (min..=max).contains(&number))
}

/// Counted from the beginning, or from the end: `1`, `+1`, `-1`.
fn is_from_either_end(text: &str, max: u32) -> bool {
    is_between(text.strip_prefix(['+', '-']).unwrap_or(text), 1, max)
}

fn is_weekday(text: &str) -> bool {
    ["MO", "TU", "WE", "TH", "FR", "SA", "SU"].contains(&text)
}

/// `TU`, or `2TU` and `-1TU`, the second and the last.
fn is_numbered_weekday(text: &str) -> bool {
    let at = text.len().saturating_sub(2);
    let Some((number, day)) = text.split_at_checked(at) else { return false };
    is_weekday(day) && (number.is_empty() || is_from_either_end(number, 53))
}

/// `20260501`, `20260501T200000` or `20260501T200000Z`.
fn is_end(text: &str) -> bool {
    let (day, clock) = text.split_once('T').unwrap_or((text, "000000"));
    let clock = clock.strip_suffix('Z').unwrap_or(clock);
    let pair = |text: &str, at: usize, min, max| {
        text.get(at..at + 2).is_some_and(|pair| is_between(pair, min, max))
    };
    day.len() == 8
        && day.get(..4).is_some_and(|year| is_between(year, 1, 9999))
        && pair(day, 4, 1, 12)
        && pair(day, 6, 1, 31)
        && clock.len() == 6
        && pair(clock, 0, 0, 23)
        && pair(clock, 2, 0, 59)
        && pair(clock, 4, 0, 60)
}

/// Whether `text` is a time of day: `09:30`, up to `24:00`.
pub fn is_clock(text: &str) -> bool {
    let Some((hour, minute)) = text.split_once(':') else { return false };
    let are_pairs = hour.len() == 2 && minute.len() == 2;
    are_pairs && (text == "24:00" || (is_between(hour, 0, 23) && is_between(minute, 0, 59)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rules_as_directories_write_them_are_rules() {
        for rule in [
            "FREQ=WEEKLY;BYDAY=TU,TH",
            "FREQ=MONTHLY;BYDAY=2TU",
            "FREQ=YEARLY;BYDAY=20MO",
            "FREQ=MONTHLY;BYDAY=-1FR;INTERVAL=2",
            "FREQ=MONTHLY;BYMONTHDAY=1,-1",
            "FREQ=YEARLY;BYMONTH=4;BYMONTHDAY=29;UNTIL=20301231",
            "FREQ=DAILY;UNTIL=20301231T235900Z",
            "FREQ=DAILY;COUNT=10;WKST=MO",
        ] {
            assert!(is_rule(rule), "{rule}");
        }
    }

    #[test]
    fn what_is_no_rule_is_none() {
        for text in [
            "",
            "every Tuesday",
            "BYDAY=TU",
            "FREQ=OFTEN",
            "freq=weekly",
            "FREQ=WEEKLY;",
            "FREQ=WEEKLY;FREQ=DAILY",
            "FREQ=WEEKLY;BYDAY=火",
            "FREQ=WEEKLY;BYDAY=",
            "FREQ=WEEKLY;BYDAY=0TU",
            "FREQ=WEEKLY;BYDAY=2TU",
            "FREQ=MONTHLY;BYDAY=9TU",
            "FREQ=MONTHLY;BYDAY=-6TU",
            "BYDAY=TU,-1FR;FREQ=DAILY",
            "FREQ=MONTHLY;BYMONTHDAY=32",
            "FREQ=DAILY;COUNT=1;UNTIL=20301231",
            "FREQ=DAILY;UNTIL=2030-12-31",
            "FREQ=DAILY;UNTIL=20301331",
            "RRULE:FREQ=DAILY",
        ] {
            assert!(!is_rule(text), "{text}");
        }
    }

    #[test]
    fn a_time_of_day_has_hours_and_minutes() {
        for (text, right) in [
            ("09:30", true),
            ("23:59", true),
            ("24:00", true),
            ("24:01", false),
            ("9:30", false),
            ("09:60", false),
            ("09:30:00", false),
            ("+9:30", false),
        ] {
            assert_eq!(is_clock(text), right, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange_to_be_judged(text in "\\PC{0,40}", end in "FREQ=[A-Z]{0,8};UNTIL=\\PC{0,9}") {
            let strange = format!("{text}火");
            prop_assert!(!is_rule(&strange));
            prop_assert!(!is_clock(&strange));
            prop_assert!(!is_rule(&end) || end.len() >= "FREQ=DAILY;UNTIL=20260501".len());
        }
    }
}
