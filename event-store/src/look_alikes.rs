//! Who may be the same person, for somebody to look at: by name, birth date and sex. Names are
//! compared by how they sound, and by their kanji without regard to how these are written; what
//! is shown is always written as it was.

use std::cmp::Reverse;

use jiff::Timestamp;
use tsunagi_proto::v1;

use crate::folding::heard;
use crate::patients::{Patients, RowsError};

/// Candidates, if it is not said how many.
const CANDIDATES: u32 = 20;

/// Those who may be the same person as `of`, the likeliest first, `max` at most; 0: 20. Now, or as
/// was known at a time: none if more patients than `read_max` are to be read back for that.
pub(crate) fn find(
    rows: &Patients,
    of: &v1::PatientSummary,
    max: u32,
    known_at: Option<(Timestamp, usize)>,
) -> Result<Option<Vec<v1::LookAlike>>, RowsError> {
    let one = Person::of(of);
    let is_alike = |row: &v1::PatientSummary| {
        row.patient_id != of.patient_id
            && row.merged_into_patient_id.is_empty()
            && one.resembles(&Person::of(row)).is_some()
    };
    let rows = match known_at {
        None => rows.all(is_alike)?,
        Some((at, read_max)) => match rows.list_at(None, (usize::MAX, read_max), at, is_alike)? {
            (rows, None) => rows,
            (_, Some(_)) => return Ok(None),
        },
    };
    let found = rows.into_iter().filter_map(|row| {
        let likeness = one.resembles(&Person::of(&row))?;
        Some(v1::LookAlike { patient: Some(row), ..likeness })
    });
    Ok(Some(likeliest(found.collect(), max)))
}

/// The likeliest first, `max` at most; of those that are as likely, in the order of their ids.
pub(crate) fn likeliest(mut found: Vec<v1::LookAlike>, max: u32) -> Vec<v1::LookAlike> {
    let max = if max == 0 { CANDIDATES } else { max };
    let likeness = |of: &v1::LookAlike| {
        let agree = [of.birth_agrees, of.kana_agree, of.kanji_agree, of.sex_agrees];
        agree.into_iter().filter(|agrees| *agrees).count()
    };
    let id = |of: &v1::LookAlike| of.patient.as_ref().map(|patient| patient.patient_id.clone());
    found.sort_by_cached_key(|candidate| (Reverse(likeness(candidate)), id(candidate)));
    found.truncate(usize::try_from(max).unwrap_or(usize::MAX));
    found
}

/// What of a person is compared.
struct Person {
    kana: Vec<String>,
    kanji: Vec<String>,
    birth_on: String,
    sex: v1::Sex,
}

impl Person {
    fn of(summary: &v1::PatientSummary) -> Self {
        let known = summary.demographics.clone().unwrap_or_default();
        let mut person = Self {
            kana: Vec::new(),
            kanji: Vec::new(),
            birth_on: known.birth_on.clone(),
            sex: known.sex(),
        };
        for name in &known.names {
            let whole = format!("{}{}{}", name.family, name.given, name.text);
            person.add(heard(&whole));
            // Somebody may have typed each in the field of the other.
            if !name.family.is_empty() && !name.given.is_empty() && name.text.is_empty() {
                person.add(heard(&format!("{}{}", name.given, name.family)));
            }
        }
        person
    }

    fn add(&mut self, name: String) {
        let is_kana = name.chars().all(|c| matches!(c, 'ァ'..='ー'));
        let names = if is_kana { &mut self.kana } else { &mut self.kanji };
        names.extend((!name.is_empty()).then_some(name));
    }

    /// In what two people resemble each other, if it is worth looking at.
    fn resembles(&self, other: &Self) -> Option<v1::LookAlike> {
        let share = |one: &[String], other: &[String]| one.iter().any(|name| other.contains(name));
        let (one, two) = (&self.birth_on, &other.birth_on);
        let is_known = !one.is_empty() && !two.is_empty();
        let sexes = [v1::Sex::Female, v1::Sex::Male];
        let both_known = sexes.contains(&self.sex) && sexes.contains(&other.sex);
        let likeness = v1::LookAlike {
            patient: None,
            kana_agree: share(&self.kana, &other.kana),
            kanji_agree: share(&self.kanji, &other.kanji),
            birth_agrees: is_known
                && (one.starts_with(two.as_str()) || two.starts_with(one.as_str())),
            sex_agrees: both_known && self.sex == other.sex,
        };
        let name_agrees = likeness.kana_agree || likeness.kanji_agree;
        let birth_differs = is_known && !likeness.birth_agrees;
        let sex_differs = both_known && !likeness.sex_agrees;
        // A name and a birth date, or both ways of writing the name though a digit of the date is
        // wrong, or the birth date not known.
        let worth = name_agrees
            && (likeness.birth_agrees
                || !birth_differs && !sex_differs
                || likeness.kana_agree && likeness.kanji_agree && !sex_differs);
        worth.then_some(likeness)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(kanji: &str, kana: &str, birth_on: &str, sex: v1::Sex) -> Person {
        let name = |text: &str| v1::HumanName { text: text.into(), ..Default::default() };
        let demographics = v1::Demographics {
            names: vec![name(kanji), name(kana)],
            birth_on: birth_on.into(),
            sex: sex.into(),
            ..Default::default()
        };
        let demographics = Some(demographics);
        Person::of(&v1::PatientSummary { demographics, ..Default::default() })
    }

    #[test]
    fn a_person_whose_family_and_given_name_were_swapped_is_recognised() {
        let named = |family: &str, given: &str| {
            let name =
                v1::HumanName { family: family.into(), given: given.into(), ..Default::default() };
            let demographics = v1::Demographics {
                names: vec![name],
                birth_on: "1938-04-02".into(),
                ..Default::default()
            };
            let demographics = Some(demographics);
            Person::of(&v1::PatientSummary { demographics, ..Default::default() })
        };
        let alike = |one: Person, other: Person| one.resembles(&other).is_some();
        assert!(alike(named("髙橋", "みづほ"), named("ミズホ", "高橋")));
        assert!(alike(named("タカハシ", "スヱ"), named("スエ", "タカハシ")));
        assert!(!alike(named("高橋", "花"), named("高橋", "みづほ")));
    }

    #[test]
    fn a_person_is_recognised_by_name_and_birth() {
        let hana = || person("髙橋ハナ", "タカハシハナ", "1938-04-02", v1::Sex::Female);
        let same = hana().resembles(&person("高橋はな", "", "1938-04", v1::Sex::Female)).unwrap();
        assert!(same.birth_agrees && same.sex_agrees && same.kanji_agree && !same.kana_agree);
        let typed = person("高橋ハナ", "たかはしはな", "1938-04-20", v1::Sex::Female);
        let typed = hana().resembles(&typed).unwrap();
        assert!(typed.kana_agree && typed.kanji_agree && !typed.birth_agrees);
        let other_birth = person("髙橋花", "タカハシハナ", "1971-12-24", v1::Sex::Female);
        assert!(hana().resembles(&other_birth).is_none());
        let twin = person("髙橋太郎", "タカハシタロウ", "1938-04-02", v1::Sex::Male);
        assert!(hana().resembles(&twin).is_none());
    }
}
