//! Answers to messages: in the original mode or the enhanced one, whichever the message asks
//! for, with its separators and in its character set.

use jiff::Timestamp;

use crate::adt::{Kind, Outcome, Refusal, Taken};
use crate::hl7::writer::Writer;
use crate::hl7::{Charset, Delimiters, Message};

/// The answers to a message, as they are sent: none if its sender wants none.
///
/// In the original mode, one says AA, AE or AR. In the enhanced mode (MSH-15 or MSH-16 is
/// given), an accept acknowledgement says CA, CE or CR, and an application acknowledgement AA,
/// AE or AR, each when it is asked for. All of them are given when the message is durable.
pub fn answers(taken: &Taken) -> Vec<Vec<u8>> {
    let text = answer_texts(taken);
    text.iter().map(|answer| taken.charset.write(answer)).collect()
}

/// Several answers as the answer to a batch, with what is to be remarked about it (BTS-2).
pub(super) fn batch_answer(all: &[Taken], remark: &str) -> Vec<u8> {
    let mut writer = Writer::new("BHS", Delimiters::default()).field("TSUNAGI");
    let mut count = 0_usize;
    for answer in all.iter().flat_map(answer_texts) {
        writer = writer.message(&answer);
        count += 1;
    }
    let mut end = writer.segment("BTS").field(&count.to_string());
    if !remark.is_empty() {
        end = end.field(remark);
    }
    // Each answer has its message's words, and all of them go in one set.
    let text = end.end();
    let charset = all.iter().map(|taken| taken.charset).find(|charset| charset.has(&text));
    charset.unwrap_or(Charset::Utf8).write(&text)
}

fn answer_texts(taken: &Taken) -> Vec<String> {
    let Ok(message) = Message::parse(&taken.text) else { return vec![write(None, taken, 'A')] };
    let asked = [15, 16].map(|number| message.field("MSH", number).first().to_uppercase());
    let write = |mode| write(Some(&message), taken, mode);
    match asked.each_ref().map(String::as_str) {
        ["", ""] => vec![write('A')],
        ["NE", "NE"] if taken.is_always_answered => vec![write('A')],
        [accept, application] => {
            let is_good = letter(&taken.outcome) == 'A';
            let modes = [(accept, 'C'), (application, 'A')];
            let wanted = modes.into_iter().filter(|(when, _)| is_wanted(when, is_good));
            wanted.map(|(_, mode)| write(mode)).collect()
        }
    }
}

/// Whether an answer is wanted: always, never, of errors or of successes alone.
fn is_wanted(when: &str, is_good: bool) -> bool {
    match when {
        "NE" | "" => false,
        "ER" => !is_good,
        "SU" => is_good,
        _always => true,
    }
}

fn letter(outcome: &Outcome) -> char {
    match outcome {
        Outcome::Stored | Outcome::Repeated | Outcome::NothingNew | Outcome::Ignored => 'A',
        Outcome::Refused(refusal) => match refusal.kind {
            Kind::Content => 'E',
            Kind::Unsupported | Kind::Unavailable => 'R',
        },
    }
}

fn write(message: Option<&Message<'_>>, taken: &Taken, mode: char) -> String {
    let delimiters = message.map(|message| message.delimiters).unwrap_or_default();
    let raw = |number: usize| message.map_or("", |message| message.field("MSH", number).raw());
    let event = message.map(|message| message.kind().1).unwrap_or_default();
    let now = Timestamp::now().strftime("%Y%m%d%H%M%S+0000").to_string();
    let name = format!("{mode}{}", taken.answer_id);
    let or =
        |raw: &str, usual: &str| if raw.is_empty() { usual.to_owned() } else { raw.to_owned() };
    let code = format!("{mode}{}", letter(&taken.outcome));
    let mut writer = Writer::new("MSH", delimiters)
        .raw(&or(raw(5), "TSUNAGI"))
        .raw(raw(6))
        .raw(raw(3))
        .raw(raw(4))
        .field(&now)
        .field("")
        .components(&["ACK", &event, "ACK"])
        .field(name.get(..20).unwrap_or(&name))
        .raw(&or(raw(11), "P"))
        .raw(&or(raw(12), "2.5"));
    // Neither sequence nor continuation, and this is itself not to be answered.
    for _ in 13..=17 {
        writer = writer.field("");
    }
    writer = writer.raw(raw(18)).field("").raw(raw(20));
    let told = told(taken);
    writer = writer.segment("MSA").field(&code).raw(raw(10)).field(&told);
    if let Outcome::Refused(refusal) = &taken.outcome {
        writer = error(writer, refusal);
    }
    writer.end()
}

fn told(taken: &Taken) -> String {
    match &taken.outcome {
        Outcome::Stored | Outcome::Repeated => taken.remark.clone(),
        Outcome::NothingNew if taken.remark.is_empty() => "known already".to_owned(),
        Outcome::NothingNew => format!("known already; {}", taken.remark),
        Outcome::Ignored => "passed over, as the facility's profile says".to_owned(),
        Outcome::Refused(Refusal { field, reason, message, .. }) => {
            let place = if field.is_empty() { String::new() } else { format!("{field}: ") };
            format!("{place}{message} [{reason}]")
        }
    }
}

fn error(writer: Writer, refusal: &Refusal) -> Writer {
    let Refusal { condition, field, reason, message, .. } = refusal;
    let (segment, number) = field.split_once('-').unwrap_or((field, ""));
    let sequence = if number.is_empty() { "" } else { "1" };
    writer
        .segment("ERR")
        .field("")
        .components(&[segment, sequence, number])
        .components(&[&condition.to_string(), words(*condition), "HL70357"])
        .field("E")
        .components(&[reason])
        .field("")
        .field("")
        .field(message)
}

/// HL7's words for a condition of table 0357.
fn words(condition: u16) -> &'static str {
    match condition {
        100 => "Segment sequence error",
        101 => "Required field missing",
        102 => "Data type error",
        103 => "Table value not found",
        200 => "Unsupported message type",
        201 => "Unsupported event code",
        204 => "Unknown key identifier",
        205 => "Duplicate key identifier",
        _ => "Application internal error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(header: &str, outcome: Outcome) -> Taken {
        Taken {
            outcome,
            remark: String::new(),
            text: format!("{header}\rPID|1"),
            charset: Charset::Iso2022Jp,
            answer_id: "0123456789abcdef0123".to_owned(),
            is_always_answered: false,
        }
    }

    fn refused() -> Outcome {
        Outcome::Refused(Refusal::missing("PID-3", "say who"))
    }

    fn codes(accept: &str, application: &str, outcome: Outcome) -> Vec<String> {
        let header = format!("MSH|^~\\&|A|B|C|D|2026||ADT^A01|7|P|2.5|||{accept}|{application}");
        let texts = answer_texts(&taken(&header, outcome));
        texts
            .iter()
            .map(|text| Message::parse(text).unwrap().field("MSA", 1).raw().to_owned())
            .collect()
    }

    #[test]
    fn an_answer_goes_back_with_the_message_s_own_signs() {
        let header = "MSH#$%*@#HIS#東#GW#R#2026##ADT$A01#7#P#2.3######~ISO IR87##ISO 2022-1994";
        let answer = answers(&taken(header, refused()));
        let text = crate::hl7::charset::decode(&answer[0], None).text.into_owned();
        let answer = Message::parse(&text).unwrap();
        let field = |segment, number| answer.field(segment, number).raw().to_owned();
        assert_eq!([3, 4, 5, 6].map(|n| field("MSH", n)), ["GW", "R", "HIS", "東"]);
        assert_eq!(
            [9, 10, 12, 18].map(|n| field("MSH", n)),
            ["ACK$A01$ACK", "A0123456789abcdef012", "2.3", "~ISO IR87"]
        );
        assert_eq!([1, 2].map(|n| field("MSA", n)), ["AE", "7"]);
        assert_eq!(answer.field("MSA", 3).text(), "PID-3: say who [FIELD_MISSING]");
        assert_eq!(field("ERR", 2), "PID$1$3");
        assert_eq!(field("ERR", 3), "101$Required field missing$HL70357");
    }

    #[test]
    fn both_modes_answer_as_they_are_asked() {
        assert_eq!(codes("", "", Outcome::Stored), ["AA"]);
        assert_eq!(codes("", "", refused()), ["AE"]);
        assert_eq!(codes("AL", "", Outcome::Stored), ["CA"]);
        assert_eq!(codes("AL", "AL", Outcome::Repeated), ["CA", "AA"]);
        assert_eq!(codes("AL", "ER", Outcome::Stored), ["CA"]);
        assert_eq!(codes("ER", "ER", refused()), ["CE", "AE"]);
        assert_eq!(codes("SU", "NE", refused()), [""; 0]);
        assert_eq!(codes("NE", "NE", refused()), [""; 0]);
        let unsupported = Outcome::Refused(Refusal::unsupported(true, String::new()));
        assert_eq!(codes("AL", "AL", unsupported), ["CR", "AR"]);
    }

    #[test]
    fn what_is_no_message_is_answered_too() {
        let nothing = Taken {
            outcome: Outcome::Refused(Refusal::unreadable("MSH", "no message")),
            text: String::new(),
            remark: String::new(),
            charset: Charset::Ascii,
            answer_id: String::new(),
            is_always_answered: false,
        };
        let answer = String::from_utf8(answers(&nothing).remove(0)).unwrap();
        assert!(answer.contains("\rMSA|AE||MSH: no message [MESSAGE_UNREADABLE]\r"), "{answer}");
    }
}
