//! People's names.

use tsunagi_proto::v1;

use super::resource::HumanName;
use super::text::cut;

pub(super) fn name(name: &HumanName) -> v1::HumanName {
    let script = name
        .extension
        .iter()
        .find(|extension| extension.url.ends_with("iso21090-EN-representation"))
        .map(|extension| extension.value_code.as_str());
    let is_latin = || name.family.is_ascii() && name.text.is_ascii();
    let script = match script {
        Some("IDE") => v1::NameScript::Ideographic,
        Some("SYL") => v1::NameScript::Syllabic,
        Some("ABC") => v1::NameScript::Alphabetic,
        _ if is_latin() => v1::NameScript::Alphabetic,
        _ => v1::NameScript::Unspecified,
    };
    v1::HumanName {
        script: script.into(),
        family: cut(&name.family, 100),
        given: cut(&name.given.join(" "), 100),
        text: cut(&name.text, 200),
    }
}

pub(super) fn display_name(names: &[HumanName]) -> String {
    let Some(name) = names.first() else { return String::new() };
    if !name.text.is_empty() {
        return name.text.clone();
    }
    let mut parts = vec![name.family.as_str()];
    parts.extend(name.given.iter().map(String::as_str));
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}
