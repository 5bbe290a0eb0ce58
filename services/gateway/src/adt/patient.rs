//! Who the patient is: PID, and what it changes of what was known. A field that is empty says
//! nothing, and one that is `""` takes back what was known.

use tsunagi_domain::{CareTime, Zone};
use tsunagi_proto::demographics::Update;
use tsunagi_proto::v1::{self, DemographicsPart as Part};

use super::group::Group;
use super::profile::{Profile, SYSTEM_LENGTH_MAX};
use super::refusal::Refusal;
use crate::hl7::{Field, Segment, time};
use crate::text::{cut, distinct, script};

/// Fields of PID that say who the patient is, beside the numbers.
pub(super) const FIELDS: [usize; 7] = [5, 7, 8, 11, 13, 14, 29];

/// The fields in which `""` takes a part back.
const FIELDS_OF_PARTS: [(Part, usize); 6] = [
    (Part::Names, 5),
    (Part::Birth, 7),
    (Part::Sex, 8),
    (Part::Address, 11),
    (Part::Contacts, 13),
    (Part::Contacts, 14),
];

/// What ARV-3 may restrict that is no address (HL7 table 0717).
const ELSEWHERE: [&str; 11] =
    ["DRG", "HIV", "LOC", "NO", "OI", "OO", "PID-7", "PID-17", "PSY", "SMD", "STD"];

/// Numbers that one event takes.
const IDENTIFIERS_MAX: usize = 20;

/// The numbers of a field with identifiers (CX), each with its assigning authority. Those of an
/// account or a visit are no patient's.
pub(super) fn identifiers(field: Field<'_>, profile: &Profile) -> Vec<v1::Identifier> {
    let mut identifiers = Vec::new();
    let said = field.repetitions().filter(|one| !one.is_empty() && !one.is_null());
    for repetition in said.filter(|one| profile.is_record_number(&one.component(5).text())) {
        let value = distinct(&repetition.first(), 200);
        let identifier = v1::Identifier { system: system(repetition.component(4), profile), value };
        if !identifier.value.is_empty() && !identifiers.contains(&identifier) {
            identifiers.push(identifier);
        }
    }
    identifiers.truncate(IDENTIFIERS_MAX);
    identifiers
}

/// Who assigned a number: an OID where there is one, or else a name, which is unique within the
/// facility alone.
pub(super) fn system(authority: Field<'_>, profile: &Profile) -> String {
    let [name, universal, kind] = [1, 2, 3].map(|part| authority.subcomponent(part).text());
    let is_oid = |text: &str| {
        text.contains('.') && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    if is_oid(&universal) && (kind.is_empty() || kind == "ISO") {
        return distinct(&format!("urn:oid:{universal}"), SYSTEM_LENGTH_MAX);
    }
    let named = if name.is_empty() { &universal } else { &name };
    if named.is_empty() { profile.authority.clone() } else { profile.system_of(named) }
}

/// The numbers of one PID. The second field, PID-2, is taken where PID-3 has none.
pub(super) fn numbers_of(pid: Segment<'_>, profile: &Profile) -> Vec<v1::Identifier> {
    let numbers = identifiers(pid.field(3), profile);
    if numbers.is_empty() { identifiers(pid.field(2), profile) } else { numbers }
}

/// The numbers by which a message knows its patient.
pub(super) fn own_identifiers(group: &Group<'_>, profile: &Profile) -> Vec<v1::Identifier> {
    let all = group.segments("PID").flat_map(|pid| numbers_of(pid, profile));
    let all: Vec<v1::Identifier> = all.collect();
    let mut once: Vec<v1::Identifier> = Vec::with_capacity(all.len());
    for identifier in all {
        if !once.contains(&identifier) {
            once.push(identifier);
        }
    }
    once.truncate(IDENTIFIERS_MAX);
    once
}

/// Whether a field holds bytes that are no characters.
pub(super) fn is_spoilt(field: Field<'_>) -> bool {
    field.raw().contains(char::REPLACEMENT_CHARACTER)
}

/// What the message says of who the patient is. Of what cannot be read whole it says nothing, unless
/// nothing is known. If `is_protected`, an address is confidential whatever the message says.
pub(super) fn said(
    group: &Group<'_>,
    profile: &Profile,
    known: &v1::Demographics,
    is_protected: bool,
) -> Result<Update, Refusal> {
    let pid = group.segment("PID");
    let given = |number: usize| Some(pid.field(number)).filter(|field| !field.is_empty());
    let readable = |number: usize| given(number).filter(|field| !is_spoilt(*field));
    let mut now = v1::Demographics::default();
    // What cannot be read whole is better than nothing, and than nothing else.
    let name = if known.names.is_empty() { given(5) } else { readable(5) };
    now.names = name.map(|name| names(name, known.names.is_empty())).unwrap_or_default();
    if let Some(birth_on) = readable(7) {
        now.birth_on = birth(birth_on, profile)?;
    }
    now.sex = readable(8).map_or(0, |code| sex(&code.first(), profile).into());
    now.address = lives_at(group, profile, known, is_protected);
    let ways = [13, 14].map(|number| (given(number), readable(number)));
    let is_whole = ways.iter().all(|(given, readable)| given.is_some() == readable.is_some());
    if is_whole || known.contacts.is_empty() {
        let contacts = [13, 14].into_iter().flat_map(|number| contacts(pid.field(number), number));
        now.contacts = contacts.take(10).collect();
    }
    if let Some(deceased_at) = readable(29) {
        now.deceased_at = death(deceased_at, profile)?;
        now.deceased = !now.deceased_at.is_empty();
    }
    now.deceased |= pid.field(30).first().eq_ignore_ascii_case("Y");
    // Many systems say `N` of everybody for ever: that takes no death back.
    now.not_deceased = pid.field(29).is_null() && !now.deceased;
    let mut said = Update::given(now);
    // One of the two says nothing of the other.
    if ways.iter().any(|(given, _)| given.is_none()) && said.says(Part::Contacts) {
        said.keeps.push(Part::Contacts);
    }
    for (part, number) in FIELDS_OF_PARTS {
        if pid.field(number).is_null() && said.keeps.contains(&part) {
            said.take_back(part);
        }
    }
    let is_taken_back = said.says(Part::Contacts) && said.demographics.contacts.is_empty();
    let left = [(13, Part::ContactsElsewhere), (14, Part::ContactsAtWork)];
    let left = left.into_iter().filter(|(number, _)| !pid.field(*number).is_null());
    said.keeps.extend(left.map(|(_, half)| half).filter(|_| is_taken_back));
    Ok(said)
}

/// Whether PID-29 says when the patient died, and PID-30 that they did not.
pub(super) fn contradicts_death(group: &Group<'_>) -> bool {
    says_something(group.field("PID", 29))
        && group.field("PID", 30).first().eq_ignore_ascii_case("N")
}

/// Whether PID-8 says a sex that is not known here.
pub(super) fn has_unknown_sex(group: &Group<'_>, profile: &Profile) -> bool {
    let said = group.field("PID", 8);
    says_something(said) && sex(&said.first(), profile) == v1::Sex::Unspecified
}

/// What holds bytes that are no characters says nothing.
fn says_something(field: Field<'_>) -> bool {
    !field.is_empty() && !field.is_null() && !is_spoilt(field)
}

/// The names that somebody goes by. An alias or a maiden name alone is none, unless none is known.
fn names(field: Field<'_>, with_others: bool) -> Vec<v1::HumanName> {
    let mut taken: Vec<(u8, v1::HumanName)> = Vec::new();
    let mut said: Vec<(u8, v1::HumanName)> =
        field.repetitions().map(|name| (rank(name), to_name(name))).collect();
    said.sort_by_key(|(rank, _)| *rank);
    if !with_others && field.repetitions().all(is_alias) {
        return Vec::new();
    }
    for (rank, name) in said {
        let says_nothing = name.family.is_empty() && name.given.is_empty();
        let is_worse =
            taken.iter().any(|(best, other)| *best < rank && other.script == name.script);
        if !says_nothing && !is_worse && !taken.iter().any(|(_, other)| *other == name) {
            taken.push((rank, name));
        }
    }
    taken.into_iter().map(|(_, name)| name).take(10).collect()
}

/// Whether it is a nickname, an alias, a maiden name or a pseudonym (HL7 table 0200), and not one in
/// the place of which the script stands.
fn is_alias(name: Field<'_>) -> bool {
    matches!(&*name.component(7).text(), "A" | "M" | "N" | "S")
}

/// Legal names and those of which nothing is said go before aliases, nicknames and maiden names.
fn rank(name: Field<'_>) -> u8 {
    match &*name.component(7).text() {
        "L" | "" | "D" | "I" | "P" => 0,
        _other => 1,
    }
}

fn to_name(name: Field<'_>) -> v1::HumanName {
    let [first, middle] = [2, 3].map(|part| name.component(part).text());
    let family = cut(&name.component(1).subcomponent(1).text(), 100);
    let given = cut(format!("{first} {middle}").trim(), 100);
    // Some leave a component out, and have the script where the type of the name belongs.
    let codes = [8, 7].map(|part| name.component(part).text());
    let code = codes.iter().find(|code| matches!(&***code, "I" | "P"));
    let code = code.map_or(&*codes[0], |code| &**code);
    let script = match code {
        "I" => v1::NameScript::Ideographic,
        "P" => v1::NameScript::Syllabic,
        "A" => v1::NameScript::Alphabetic,
        _ => script(&format!("{family}{given}")),
    };
    v1::HumanName { script: script.into(), family, given, text: String::new() }
}

fn birth(field: Field<'_>, profile: &Profile) -> Result<String, Refusal> {
    if field.is_null() {
        return Ok(String::new());
    }
    let birth = time::parse_date(&field.first(), &profile.zone);
    let of_our_years = birth.ok().filter(|birth| CareTime::parse(birth, &Zone::utc()).is_ok());
    of_our_years.ok_or_else(|| {
        Refusal::wrong(
            "PID-7",
            "the date of birth is none between 1800 and 2299: give it as far as it is known, such as 19480309, 194803 or 1948, or leave it out",
        )
    })
}

fn death(field: Field<'_>, profile: &Profile) -> Result<String, Refusal> {
    if field.is_null() {
        return Ok(String::new());
    }
    let time = time::parse(&field.first(), &profile.zone);
    time.map(|time| time.text)
        .map_err(|error| Refusal::wrong("PID-29", &format!("the time of death {error}")))
}

/// What is none of the standard's codes and of the profile's says nothing.
fn sex(code: &str, profile: &Profile) -> v1::Sex {
    let by_profile = profile.sex(code);
    by_profile.unwrap_or_else(|| match code.to_ascii_uppercase().as_str() {
        "F" | "FEMALE" => v1::Sex::Female,
        "M" | "MALE" => v1::Sex::Male,
        "O" | "A" | "OTHER" => v1::Sex::Other,
        "U" | "UNKNOWN" => v1::Sex::Unknown,
        _ => v1::Sex::Unspecified,
    })
}

/// Where the patient lives, if the message says so, or that it is confidential, if that is not known.
fn lives_at(
    group: &Group<'_>,
    profile: &Profile,
    known: &v1::Demographics,
    is_protected: bool,
) -> Option<v1::Address> {
    let given = group.field("PID", 11);
    let is_read = !given.is_null() && (known.address.is_none() || !is_spoilt(given));
    let said = is_read.then(|| address(home(given)));
    let said = said.filter(|address| *address != v1::Address::default());
    let is_known = known.address.as_ref().is_some_and(|address| address.confidential);
    match said {
        Some(address) => {
            let confidential = is_protected || is_confidential(group, profile);
            Some(v1::Address { confidential, ..address })
        }
        None if is_confidential(group, profile) && !is_known => {
            Some(v1::Address { confidential: true, ..v1::Address::default() })
        }
        None => None,
    }
}

/// Whether a message says that the address must not leave the record: the protection indicator
/// (PD1-12), a restriction of demographics (ARV-3), or the facility's own field.
fn is_confidential(group: &Group<'_>, profile: &Profile) -> bool {
    let is_yes = |text: &str| matches!(text.to_ascii_uppercase().as_str(), "Y" | "1" | "TRUE");
    // What is not known to mean something else is taken to mean this: it cannot be taken back.
    let is_said = |text: &str| {
        !matches!(&*text.trim().to_ascii_uppercase(), "" | "N" | "NO" | "0" | "F" | "FALSE")
    };
    let is_restricted = |arv: Segment<'_>| {
        let mut codes =
            arv.field(3).repetitions().filter(|code| !code.is_empty() && !code.is_null());
        codes.any(|code| !ELSEWHERE.contains(&&*code.first().to_ascii_uppercase()))
    };
    let own = profile.place_of("confidential-address").is_some_and(|at| {
        let field = group.field(&at.segment, at.field);
        is_yes(&at.component.map_or_else(|| field.text(), |part| field.component(part).text()))
    });
    own || is_said(&group.field("PD1", 12).text()) || group.segments("ARV").any(is_restricted)
}

fn home(field: Field<'_>) -> Field<'_> {
    let is_home = |address: &Field<'_>| address.component(7).text() == "H";
    let mut said = field.repetitions().filter(|address| !address.is_empty());
    field.repetitions().find(is_home).or_else(|| said.next()).unwrap_or(field)
}

fn address(field: Field<'_>) -> v1::Address {
    let part = |number: usize| field.component(number).text();
    let street: Vec<String> =
        (1..=3).map(|part| field.component(1).subcomponent(part).text().into_owned()).collect();
    let whole = part(8);
    let text = if whole.is_empty() {
        let parts =
            [street.join(" "), part(2).into_owned(), part(3).into_owned(), part(4).into_owned()];
        let parts = parts.iter().flat_map(|part| part.split_whitespace());
        parts.collect::<Vec<_>>().join(" ")
    } else {
        whole.into_owned()
    };
    v1::Address {
        text: cut(&text, 300),
        postal_code: cut(&part(5), 20),
        state: cut(&part(4), 100),
        city: cut(&part(3), 100),
        confidential: false,
    }
}

/// The ways of reaching the patient in PID-13 (at home) or PID-14 (at work).
fn contacts(field: Field<'_>, number: usize) -> Vec<v1::ContactPoint> {
    let contact = |one: Field<'_>| {
        let part = |number: usize| one.component(number).text().into_owned();
        let kind = match part(3).as_str() {
            "FX" => "fax",
            "Internet" | "X.400" => "email",
            _phone => "phone",
        };
        let local = [part(5), part(6), part(7)].join(" ");
        let ways = [part(1), part(12), part(4), local.trim().to_owned()];
        let value = ways.into_iter().find(|value| !value.is_empty())?;
        let usage = match (part(2).as_str(), part(3).as_str()) {
            (_, "CP") => "mobile",
            ("WPN", _) => "work",
            ("PRN" | "VHN" | "ORN", _) => "home",
            _ if number == 14 => "work",
            _ => "home",
        };
        let (kind, value, r#use) = (kind.to_owned(), cut(&value, 200), usage.to_owned());
        Some(v1::ContactPoint { kind, value, r#use })
    };
    field.repetitions().filter_map(contact).collect()
}

#[cfg(test)]
mod tests {
    use tsunagi_proto::demographics::known as known_by;

    use super::super::profile::Profiles;
    use super::*;
    use crate::hl7::Message;
    use crate::person::{Before, Words};

    fn with<T>(segments: &str, read: impl FnOnce(&Group<'_>, &Profile) -> T) -> T {
        let text = format!("MSH|^~\\&|HIS|H|GW|R\r{segments}");
        let message = Message::parse(&text).unwrap();
        let profile = Profiles::read(None, "Asia/Tokyo").unwrap().of(&message).unwrap();
        read(&Group::all(&message)[0], &profile)
    }

    fn after(known: &v1::Demographics, segments: &str) -> v1::Demographics {
        let said = with(segments, |group, profile| said(group, profile, known, false)).unwrap();
        let before = Before {
            known,
            is_withheld: false,
            was_protected: false,
            words: &Words::default(),
            written: None,
            may_have_come: false,
        };
        let was = Update { demographics: known.clone(), ..Update::default() };
        let told: Vec<Update> = [was].into_iter().chain(before.news(said)).collect();
        known_by(told.iter(), told.iter().filter(|update| update.says_of_death())).demographics
    }

    fn first(segments: &str) -> v1::Demographics {
        after(&v1::Demographics::default(), segments)
    }

    #[test]
    fn a_number_belongs_to_whoever_assigned_it() {
        let systems = |pid: &str| {
            let all = with(pid, own_identifiers);
            all.into_iter().map(|one| format!("{}={}", one.system, one.value)).collect::<Vec<_>>()
        };
        assert_eq!(
            systems("PID|1||7~8^^^HOSP^MR~9^^^X&1.2.392.1&ISO~7"),
            ["urn:tsunagi:hl7:H=7", "urn:tsunagi:hl7:H:HOSP=8", "urn:oid:1.2.392.1=9"]
        );
        assert_eq!(systems("PID|1|5|\"\""), ["urn:tsunagi:hl7:H=5"], "PID-2 where PID-3 has none");
        assert!(systems("PID|1||^^^HOSP").is_empty());
    }

    #[test]
    fn a_number_that_is_cut_is_not_another_s() {
        let long = "7".repeat(200);
        let numbers = with(&format!("PID|1||{long}1~{long}2~{long}"), own_identifiers);
        assert_eq!(numbers.len(), 3);
        assert_eq!(numbers[2].value, long);
    }

    #[test]
    fn kanji_and_kana_stand_side_by_side() {
        let names =
            first("PID|1||7||髙橋^花子^^^^^L^I~タカハシ^ハナコ^^^^^L^P~旧^姓^^^^^M^I").names;
        let written: Vec<_> = names.iter().map(|n| (n.script(), n.family.as_str())).collect();
        let both = [(v1::NameScript::Ideographic, "髙橋"), (v1::NameScript::Syllabic, "タカハシ")];
        assert_eq!(written, both);
        let names = first("PID|1||7||仮佐藤^花子^^^^L^I~カリサトウ^ハナコ^^^^^L^P").names;
        assert_eq!(names[0].script(), v1::NameScript::Ideographic, "one component too few");
        let names = first("PID|1||7||EVERYMAN&&&&X^ADAM^A").names;
        assert_eq!((names[0].family.as_str(), names[0].given.as_str()), ("EVERYMAN", "ADAM A"));
        assert_eq!(names[0].script(), v1::NameScript::Alphabetic);
        assert_eq!(first("PID|1||7||佐藤^太郎").names[0].script(), v1::NameScript::Ideographic);
    }

    #[test]
    fn empty_says_nothing_and_null_takes_back() {
        let known = first("PID|1||7||Doe^Jo||19400203|F|||1 High St^^Town^ST^99||555");
        assert_eq!(after(&known, "PID|1||7"), known);
        let taken = after(&known, "PID|1||7||Doe^Jo||\"\"|\"\"|||\"\"||\"\"");
        assert_eq!(
            (taken.birth_on.as_str(), taken.sex(), taken.address),
            ("", v1::Sex::Unspecified, None)
        );
        assert!(taken.contacts.is_empty());
    }

    #[test]
    fn one_list_of_numbers_says_nothing_of_the_other() {
        let known = first("PID|1||7||||||||||1|2");
        let values = |of: v1::Demographics| {
            let mut all: Vec<String> = of.contacts.into_iter().map(|one| one.value).collect();
            all.sort();
            all
        };
        assert_eq!(values(after(&known, "PID|1||7|||||||||||3")), ["1", "3"]);
        assert_eq!(values(after(&known, "PID|1||7||||||||||3")), ["2", "3"]);
        assert_eq!(values(after(&known, "PID|1||7||||||||||3|\"\"")), ["3"]);
        assert_eq!(values(after(&known, "PID|1||7||||||||||\"\"")), ["2"]);
        assert_eq!(values(after(&known, "PID|1||7|||||||||||\"\"")), ["1"]);
        assert_eq!(values(after(&known, "PID|1||7||||||||||\"\"|\u{fffd}")), ["2"]);
        assert!(values(after(&known, "PID|1||7||||||||||\"\"|\"\"")).is_empty());
        let at_work = after(&known, "PID|1||7||||||||||\"\"");
        assert_eq!(after(&at_work, "PID|1||7||||||||||\"\""), at_work);
    }

    #[test]
    fn an_alias_alone_is_no_name_of_somebody_who_has_one() {
        let known = first("PID|1||7||髙橋^花子^^^^^L^I~タカハシ^ハナコ^^^^^L^P");
        for alone in ["ハナチャン^^^^^^N^P", "旧姓^花^^^^^M^I"] {
            assert_eq!(after(&known, &format!("PID|1||7||{alone}")).names, known.names);
            assert_eq!(first(&format!("PID|1||7||{alone}")).names.len(), 1, "better than none");
        }
    }

    #[test]
    fn what_may_restrict_an_address_does() {
        let is_hidden = |segment: &str| {
            let said = first(&format!("PID|1||7||||||||本町1^^市\r{segment}"));
            said.address.is_some_and(|address| address.confidential)
        };
        for code in ["Y", "yes", "DV", "A", "1"] {
            assert!(is_hidden(&format!("PD1||||||||||||{code}")), "PD1-12 {code}");
        }
        for code in ["dem", "ALL", "^Demographics", "XX~DEM", "HIV~DEM", "PID-11"] {
            assert!(is_hidden(&format!("ARV||A|{code}")), "ARV-3 {code}");
        }
        for open in ["PD1||||||||||||N", "PD1||||||||||||\"\"", "ARV||A|HIV", "ARV||A|"] {
            assert!(!is_hidden(open), "{open}");
        }
    }

    #[test]
    fn a_birth_is_as_precise_as_it_was_said() {
        let birth = |said: &str| first(&format!("PID|1||7||||{said}")).birth_on;
        assert_eq!(birth("1940"), "1940");
        assert_eq!(birth("194002"), "1940-02");
        assert_eq!(birth("19400203120000+0900"), "1940-02-03");
        let wrong = with("PID|1||7||||19", |group, profile| {
            said(group, profile, &v1::Demographics::default(), false)
        });
        assert_eq!(wrong.unwrap_err().field, "PID-7");
    }

    #[test]
    fn a_confidential_address_stays_confidential() {
        for says_so in ["PD1||||||||||||Y", "ARV||A|DEM"] {
            let hidden = first(&format!("PID|1||7||||||||本町1^^市\r{says_so}")).address.unwrap();
            assert!(hidden.confidential && !hidden.text.is_empty());
            let known = v1::Demographics { address: Some(hidden), ..Default::default() };
            let moved = after(&known, "PID|1||7||||||||新町2").address.unwrap();
            assert!(moved.confidential && moved.text == "新町2");
            let taken = after(&known, "PID|1||7||||||||\"\"").address.unwrap();
            assert!(taken.confidential && taken.text.is_empty());
        }
    }

    #[test]
    fn ss_mix2_has_the_address_and_the_number_in_places_of_its_own() {
        let known = first(
            "PID|1||7||||||||^^^^422-8033^JPN^H^静岡市登呂１−３−５||^PRN^PH^^^^^^^^^054-000-0000|^WPN^PH^^^^^^^^^03-3599",
        );
        let address = known.address.unwrap();
        assert_eq!(
            (address.text.as_str(), address.postal_code.as_str()),
            ("静岡市登呂１−３−５", "422-8033")
        );
        let uses: Vec<_> =
            known.contacts.iter().map(|c| (c.r#use.as_str(), c.value.as_str())).collect();
        assert_eq!(uses, [("home", "054-000-0000"), ("work", "03-3599")]);
    }

    #[test]
    fn a_death_is_not_taken_back_by_a_habit() {
        let until_29 = "|".repeat(26);
        let dead = first(&format!("PID|1||7{until_29}202605011200|Y"));
        assert_eq!((dead.deceased_at.as_str(), dead.deceased), ("2026-05-01T12:00:00+09:00", true));
        assert!(after(&dead, &format!("PID|1||7{until_29}|N")).deceased);
        let lives = after(&dead, &format!("PID|1||7{until_29}\"\"|N"));
        assert!(!lives.deceased && lives.not_deceased, "it is taken back");
        assert!(after(&dead, "PID|1||7").deceased, "silence says nothing");
        let again = after(&lives, &format!("PID|1||7{until_29}|Y"));
        assert!(again.deceased && !again.not_deceased);
    }
}
