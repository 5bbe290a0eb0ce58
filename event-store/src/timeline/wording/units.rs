//! The words for units of measure. One that is not in the table is shown by its UCUM code.

/// How a UCUM unit is written in Japanese and English.
const UNITS: &[(&str, &str, &str)] = &[
    ("/min", "/分", "/min"),
    ("Cel", "℃", "℃"),
    ("L/min", "L/分", "L/min"),
    ("[degF]", "℉", "℉"),
    ("a", "年", "years"),
    ("d", "日", "days"),
    ("h", "時間", "h"),
    ("kg/m2", "kg/m²", "kg/m²"),
    ("min", "分", "min"),
    ("mm[Hg]", "mmHg", "mmHg"),
    ("{beats}/min", "/分", "/min"),
    ("{breaths}/min", "/分", "/min"),
];

/// A UCUM unit in Japanese and English.
pub(super) fn unit(code: &str) -> (&str, &str) {
    let found = UNITS.iter().find(|(known, ..)| *known == code);
    found.map_or((code, code), |(_, ja, en)| (ja, en))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_written_as_people_write_it() {
        assert_eq!(unit("Cel"), ("℃", "℃"));
        assert_eq!(unit("mm[Hg]"), ("mmHg", "mmHg"));
        assert_eq!(unit("/min"), ("/分", "/min"));
        for same in ["%", "kg", "cm", "mL", "mg/dL", "{fancy}"] {
            assert_eq!(unit(same), (same, same));
        }
    }

    #[test]
    fn a_unit_stands_in_the_table_once() {
        assert!(UNITS.is_sorted_by(|(one, ..), (next, ..)| one < next));
    }
}
