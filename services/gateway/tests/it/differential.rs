//! Our reading of messages against another parser's, where that one reads them at all.

use tsunagi_gateway::hl7::charset::decode;
use tsunagi_gateway::hl7::{Message, Segment, batch};

use crate::shared_data::message_files;

/// Of a message that both read: the fields that they read differently.
fn differences(text: &str) -> Option<Vec<String>> {
    let ours = Message::parse(text).ok()?;
    if ours.field("MSH", 2).raw().chars().count() != 4 {
        // It takes four characters for MSH-2 whether they are there or not.
        return None;
    }
    // It takes no blank lines, and ends of segments of one kind alone.
    let lines: Vec<&str> = ours.segments().map(Segment::line).collect();
    let tidy = lines.join("\r");
    let theirs = hl7_parser::Message::parse(&tidy).ok()?;
    let mut differences = Vec::new();
    for (segment, other) in ours.segments().zip(theirs.segments()) {
        if segment.name() != other.name {
            differences.push(format!("{} {}", segment.name(), other.name));
        }
        for (number, field) in (1..).zip(other.fields()) {
            let mine = segment.field(number);
            if mine.raw() != field.raw_value() {
                differences.push(format!("{}-{number}", segment.name()));
            }
            for (mine, theirs) in mine.repetitions().zip(field.repeats()) {
                for (at, component) in (1..).zip(theirs.components()) {
                    if number > 2 && mine.component(at).raw() != component.raw_value() {
                        differences.push(format!("{}-{number}.{at}", segment.name()));
                    }
                }
            }
        }
    }
    Some(differences)
}

#[test]
fn another_parser_reads_what_we_read() {
    let (mut compared, mut files) = (0, 0);
    for file in message_files("another_parser_reads_what_we_read") {
        files += 1;
        let bytes = std::fs::read(&file).unwrap();
        for piece in batch::messages(&bytes) {
            if let Some(found) = differences(&decode(piece, None).text) {
                assert!(found.is_empty(), "{}: {found:?}", file.display());
                compared += 1;
            }
        }
    }
    assert!(files == 0 || compared > 1600, "{compared}");
}

#[test]
fn another_parser_reads_what_we_read_of_a_message_of_our_own() {
    let text = "MSH|^~\\&|HIS|H|GW|R|20260501||ADT^A01^ADT_A01|42|P|2.5\r\
                PID|1||7^^^H&1.2&ISO~8||高橋^花子^^^^^L^I~タカハシ^ハナコ\rZGW|a^b&c~d|\"\"|";
    assert_eq!(differences(text), Some(Vec::new()));
}
