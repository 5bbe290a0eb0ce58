//! Every real message is read, or is told to be unreadable with a reason.

use std::collections::BTreeMap;

use tsunagi_gateway::hl7::charset::decode;
use tsunagi_gateway::hl7::{Charset, Message, batch};

use crate::shared_data::message_files;

#[test]
fn every_real_message_is_read_or_told_to_be_unreadable() {
    let mut read: BTreeMap<String, usize> = BTreeMap::new();
    let mut unreadable = Vec::new();
    let mut japanese = 0;
    let files = message_files("every_real_message_is_read_or_told_to_be_unreadable");
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        for piece in batch::messages(&bytes) {
            let decoded = decode(piece, None);
            japanese += usize::from(decoded.charset == Charset::Iso2022Jp);
            match Message::parse(&decoded.text) {
                Ok(message) => *read.entry(message.kind().0).or_default() += 1,
                Err(why) => unreadable.push(format!("{}: {why}", file.display())),
            }
        }
    }
    if files.is_empty() {
        return;
    }
    eprintln!("{read:?}\n{unreadable:#?}");
    let all: usize = read.values().sum();
    assert!(all >= 1686, "{all}: {read:?}");
    assert!(read["ADT"] >= 1000 + 400 + 99, "{read:?}");
    assert!(japanese >= 1020, "{japanese}");
    assert!(unreadable.len() <= 8, "{unreadable:#?}");
}

#[test]
fn japanese_names_of_real_messages_are_whole() {
    let mut names = 0;
    for file in message_files("japanese_names_of_real_messages_are_whole") {
        if !file.to_string_lossy().contains("gen-ssmixtwins") {
            continue;
        }
        let bytes = std::fs::read(&file).unwrap();
        let decoded = decode(&bytes, None);
        assert_eq!((decoded.charset, decoded.warning), (Charset::Iso2022Jp, None));
        let message = Message::parse(&decoded.text).unwrap();
        let name = message.field("PID", 5);
        let all: Vec<_> = name.repetitions().collect();
        assert_eq!(all.len(), 2, "{}", file.display());
        for (part, script) in all.into_iter().zip(["I", "P"]) {
            // The generator leaves a component out before the script of kanji.
            assert!([7, 8].map(|number| part.component(number).text()).contains(&script.into()));
            assert!(!part.component(1).text().is_ascii() && !part.component(2).text().is_ascii());
        }
        names += 1;
    }
    assert!(names == 0 || names == 999, "{names}");
}
