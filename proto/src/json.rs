//! Texts that are JSON, as other systems wrote it: whether they are, and whether a My Number is in
//! them, however it is escaped there.

mod tree;

use serde_json::Value;
use tsunagi_domain::my_number::{self, Writing};

use tree::Tree;

/// Whether a text is one JSON value, nested no deeper than it is read.
pub(crate) fn is_value(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok()
}

/// The first My Number in a text that is JSON, or in one that should be.
pub(crate) fn my_number(text: &str) -> Option<Writing> {
    match serde_json::from_str(text) {
        Ok(value) => in_value(&value, false),
        Err(_no_json) => my_number::find(text),
    }
}

fn in_value(value: &Tree, is_numbered_by_system: bool) -> Option<Writing> {
    let found = match value {
        Tree::Nothing => None,
        Tree::Number(number) => my_number::find(number),
        Tree::Text(text) => in_text(text),
        Tree::Array(items) => {
            return items.iter().find_map(|item| in_value(item, is_numbered_by_system));
        }
        Tree::Object(members) => return in_object(members),
    };
    found.filter(|found| !(is_numbered_by_system && *found == Writing::InOnePiece))
}

fn in_object(members: &[(String, Tree)]) -> Option<Writing> {
    // The system of a telephone number is `phone`. Of several systems, nobody knows which is meant.
    let mut systems = members.iter().filter(|(name, _)| name == "system");
    let is_system = |value: &Tree| matches!(value, Tree::Text(system) if system.contains(':'));
    let has_system = systems.next().is_some_and(|(_, value)| is_system(value));
    let has_system = has_system && systems.next().is_none();
    members.iter().find_map(|(name, value)| {
        let is_numbered = match name.as_str() {
            "id" | "reference" | "url" => true,
            "value" | "code" => has_system,
            _ => false,
        };
        in_name(name).or_else(|| in_value(value, is_numbered))
    })
}

/// In a name, letters beside a number make nothing else of it: no system numbers its elements.
pub(crate) fn in_name(name: &str) -> Option<Writing> {
    my_number::find(name).or_else(|| name.split(char::is_alphabetic).find_map(my_number::find))
}

/// In a text, as it is written or as a narrative shows it.
fn in_text(text: &str) -> Option<Writing> {
    let referred = |text: &str| {
        let shown = || text.contains('&').then(|| my_number::find(&without_references(text)));
        my_number::find(text).or_else(|| shown().flatten())
    };
    let untagged = || text.contains('<').then(|| referred(&without_tags(text)));
    referred(text).or_else(|| untagged().flatten())
}

/// A text as it is shown without its tags: those within a line leave nothing, others begin a line,
/// and what stands in two cells or items is never one number.
fn without_tags(text: &str) -> String {
    const APART: &str = " | | ";
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, behind)) = rest.split_once('<') {
        shown.push_str(before);
        let is_tag =
            behind.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!'));
        if !is_tag {
            shown.push('<');
            rest = behind;
            continue;
        }
        // None that is not ended, and so none behind it.
        let Some((tag, behind)) = behind.split_once('>') else {
            shown.push('<');
            rest = behind;
            break;
        };
        let name = tag.trim_start_matches('/');
        let end = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
        let name = name.get(..end).unwrap_or_default();
        shown.push_str(match name.to_ascii_lowercase().as_str() {
            "td" | "th" | "tr" | "li" | "dt" | "dd" => APART,
            "br" | "p" | "div" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "hr" | "pre" | "ul"
            | "ol" | "dl" | "table" | "blockquote" => "\n",
            _ => "",
        });
        rest = behind;
    }
    shown.push_str(rest);
    shown
}

/// A text with the characters to which its references lead (`&#49;`, `&#x31;`). Those that have a
/// name (`&nbsp;`) stand for blanks and signs: none of them is a digit.
fn without_references(text: &str) -> String {
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, reference)) = rest.split_once('&') {
        shown.push_str(before);
        let (sign, behind) = referred(reference).unwrap_or(('&', reference));
        shown.push(sign);
        rest = behind;
    }
    shown.push_str(rest);
    shown
}

/// What the reference behind an ampersand leads to, and what stands behind it. Some readers do not
/// ask for its semicolon.
fn referred(reference: &str) -> Option<(char, &str)> {
    let Some(number) = reference.strip_prefix('#') else {
        let end = reference.find(|c: char| !c.is_ascii_alphanumeric())?;
        let (name, behind) = reference.split_at_checked(end)?;
        let behind = behind.strip_prefix(';')?;
        return (!name.is_empty()).then_some((' ', behind));
    };
    let hexadecimal = number.strip_prefix(['x', 'X']);
    let (radix, digits) = hexadecimal.map_or((10, number), |digits| (16, digits));
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (digits, behind) = digits.split_at_checked(end)?;
    let sign = char::from_u32(u32::from_str_radix(digits, radix).ok()?)?;
    Some((sign, behind.strip_prefix(';').unwrap_or(behind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_my_number_is_found_in_whatever_of_a_json_value_it_stands() {
        for with_one in [
            r#""1234 5678 9018""#,
            r#"{"text":"\u0031\u0032\u0033456789018"}"#,
            r#"[{"a":[{"b":123456789018}]}]"#,
            r#"{"123456789018":true}"#,
            r#"{"system":"phone","value":"123456789018"}"#,
            r#"{"system":"urn:oid:1.2","value":"1234-5678-9018"}"#,
            r#"{"value":"123456789018"}"#,
            "no JSON 123456789018",
            r#"{"valueString":"123456789018","valueString":"a"}"#,
            r#"{"system":"phone","value":"123456789018","system":"urn:oid:1.2"}"#,
            r#"{"value":"123456789018","value":"1","system":"phone"}"#,
            r#"{"n123456789018":true}"#,
            r#"{"n1234-5678-9018x":true}"#,
            r#"{"n１２３４５６７８９０１８":true}"#,
            r#"{"div":"<p>&#49;&#50;&#x33;&#X34;56789018</p>"}"#,
            r#"{"div":"<p>1234&#8195;5678&#0000160;9018</p>"}"#,
            r#"{"div":"<p>1234&nbsp;5678&nbsp;9018</p>"}"#,
            r#"{"div":"<p>1234<b>5678</b>9018</p>"}"#,
            r#"{"div":"<span>1</span><span class=\"x\">2</span>3456789018"}"#,
            r#"{"div":"<p>12345678<br/>9018</p>"}"#,
            r#"{"div":"<p>1234<i>&#53;678</i><!-- --> 9018</p>"}"#,
            r#"{"div":"<table><tr><td>123456789018</td><td>1</td></tr></table>"}"#,
            r#"{"div":"<p>&#49&#50&#51&#52&#53&#54&#55&#56&#57&#48&#49&#56</p>"}"#,
        ] {
            assert!(my_number(with_one).is_some(), "{with_one}");
        }
    }

    #[test]
    fn numbers_that_systems_give_out_and_those_of_several_texts_are_none() {
        for without in [
            r#"{"system":"urn:oid:1.2","value":"123456789018"}"#,
            r#"{"reference":"Encounter/123456789018","id":"123456789018"}"#,
            r#"["1234","5678","9018"]"#,
            r#"{"a":1234,"b":5678,"c":9018}"#,
            r#"{"valueBase64Binary":"a","valueInteger64":1,"n123456789019":2}"#,
            r#"{"div":"<p>&#99999999999999; &; &#; &#x; 1234 &amp; 5678 &lt;</p>"}"#,
            r#"{"div":"<tr><td>1234</td><td>5678</td><td>9018</td></tr>"}"#,
            r#"{"div":"<ul><li>12345678</li><li>9018</li></ul>"}"#,
            r#"{"div":"1 < 2 <b>1234</b> <5678 9019"}"#,
            "null",
        ] {
            assert_eq!(my_number(without), None, "{without}");
        }
    }

    #[test]
    fn json_is_read_to_a_depth_of_127() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_value(&nested(127)) && !is_value(&nested(128)));
        assert!(!is_value("{") && !is_value("1 2") && !is_value("1e999"));
    }
}
