//! Frames of MLLP that are not as the specification has them: what cannot be read as a whole frame
//! is kept, and answered where its sender waits for an answer.

use crate::mllp::{ADMITTED, Sender, code, find, message};
use crate::support::{Server, folder, run};

fn start(data: &std::path::Path) -> Server {
    Server::start_with(data, &["--mllp-listen", "127.0.0.1:0"])
}

/// What is in quarantine: its ids with the lines that list it.
pub(crate) async fn quarantined(server: &Server) -> Vec<(String, String)> {
    let list = command(server, &["quarantine"]).await;
    let id = |line: &str| line.split_whitespace().next().unwrap().to_owned();
    String::from_utf8(list).unwrap().lines().map(|line| (id(line), line.to_owned())).collect()
}

/// What a command of the binary says, asking the server.
pub(crate) async fn command(server: &Server, arguments: &[&str]) -> Vec<u8> {
    let mut arguments: Vec<String> = arguments.iter().map(|of| (*of).to_owned()).collect();
    arguments.extend(["--server".to_owned(), server.url.clone()]);
    let ran = move || run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).stdout;
    tokio::task::spawn_blocking(ran).await.unwrap()
}

fn framed(message: &str, end: &str) -> String {
    format!("\x0b{message}{end}")
}

#[tokio::test]
async fn a_frame_that_ends_otherwise_is_refused_and_kept_and_the_next_one_taken() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let [one, two] = ["7", "8"].map(|number| message("A01", number, number, ADMITTED));
    let both = framed(&one, "\x1c\n") + &framed(&two, "\x1c\r");
    sender.write(both.as_bytes()).await;
    let answer = sender.answer().await.unwrap();
    assert!(answer.contains("\rMSA|AE|7|"), "{answer}");
    let (_, why) = code(&answer);
    assert!(why.contains("0x1C 0x0D") && why.contains("MESSAGE_UNREADABLE"), "{answer}");
    assert!(sender.answer().await.unwrap().contains("\rMSA|AA|8\r"));
    let kept = quarantined(&server).await;
    let [(id, line)] = &kept[..] else { panic!("{kept:?}") };
    assert!(line.contains("0x1C 0x0D") && !line.contains("Doe"), "{line}");
    assert_eq!(command(&server, &["quarantine", id]).await, format!("{one}\x1c\n").as_bytes());
    // All of it is there: somebody who has looked at it has it taken.
    let mllp = server.mllp.clone().unwrap();
    let again = command(&server, &["quarantine", id, "--replay", &mllp]).await;
    assert!(String::from_utf8(again).unwrap().contains("MSA|AA|7"));
    assert!(quarantined(&server).await.is_empty());
    find(&server.channel().await, "urn:tsunagi:hl7:H:H", "7").await;
}

#[tokio::test]
async fn a_frame_that_ends_otherwise_is_answered_when_no_more_comes() {
    let data = folder();
    let server =
        Server::start_with(data.path(), &["--mllp-listen", "127.0.0.1:0", "--mllp-idle-ms", "300"]);
    let mut sender = Sender::connect(&server).await;
    sender.write(framed(&message("A01", "7", "7", ADMITTED), "\x1c\n").as_bytes()).await;
    assert!(sender.answer().await.unwrap().contains("\rMSA|AE|7|"));
    assert_eq!(sender.answer().await, None);
    assert_eq!(quarantined(&server).await.len(), 1);
}

#[tokio::test]
async fn what_was_cut_off_is_kept_as_a_piece_of_a_message_and_not_answered() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let whole = message("A01", "7", "7", ADMITTED);
    let (beginning, _) = whole.split_at(whole.find("PV1").unwrap());
    // Begun anew on the same connection, and then broken off with it.
    let sent = framed(beginning, "") + &framed(&whole, "\x1c\r") + &framed("MSH|^~\\&|HIS", "");
    sender.write(sent.as_bytes()).await;
    sender.shut().await;
    assert!(sender.answer().await.unwrap().contains("\rMSA|AA|7\r"));
    assert_eq!(sender.answer().await, None);
    let kept = quarantined(&server).await;
    assert_eq!(kept.len(), 2, "{kept:?}");
    let mut bytes = Vec::new();
    for (id, _) in &kept {
        bytes.push(command(&server, &["quarantine", id]).await);
    }
    bytes.sort();
    assert_eq!(bytes, [b"MSH|^~\\&|HIS".as_slice(), beginning.as_bytes()]);
    // Nobody knows what it went on to say: it is not sent again as if it were whole.
    let mllp = server.mllp.clone().unwrap();
    for (id, _) in &kept {
        let again = command(&server, &["quarantine", id, "--replay", &mllp]).await;
        assert_eq!(again, b"", "{}", String::from_utf8_lossy(&again));
    }
    assert_eq!(quarantined(&server).await.len(), 2);
}

#[tokio::test]
async fn the_beginning_of_a_message_that_is_too_large_is_not_sent_again_as_a_whole() {
    let data = folder();
    let limit = ["--mllp-listen", "127.0.0.1:0", "--mllp-frame-bytes", "1024"];
    let server = Server::start_with(data.path(), &limit);
    let mut sender = Sender::connect(&server).await;
    let large = message("A01", "7", "7", &format!("{ADMITTED}\rNTE|1||{}", "x".repeat(1024)));
    assert!(sender.send(large).await.contains("\rMSA|AR|7|"));
    let kept = quarantined(&server).await;
    let [(id, _)] = &kept[..] else { panic!("{kept:?}") };
    let mllp = server.mllp.clone().unwrap();
    assert_eq!(command(&server, &["quarantine", id, "--replay", &mllp]).await, b"");
    assert_eq!(quarantined(&server).await, kept, "it is still to be looked at");
}

#[tokio::test]
async fn the_signs_of_frames_within_a_field_cut_no_message() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let visit = format!("{ADMITTED}\rNTE|1||one\x1c\x0btwo");
    let answer = sender.send(message("A01", "7", "7", &visit)).await;
    assert_eq!(code(&answer), ("AA", ""));
    // There is no other answer before this one's.
    assert!(sender.send(message("A01", "8", "8", ADMITTED)).await.contains("\rMSA|AA|8\r"));
    assert!(quarantined(&server).await.is_empty());
}

#[tokio::test]
async fn of_messages_that_are_too_large_each_beginning_is_kept_and_says_that_it_is_no_more() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    for number in ["7", "8"] {
        // They differ in their first parts alone.
        let large = message("A01", number, number, &format!("NTE|1||{}", "x".repeat(1 << 20)));
        let answer = sender.send(large).await;
        assert!(answer.contains(&format!("\rMSA|AR|{number}|")), "{answer}");
        assert!(answer.contains("only its beginning is kept"), "{answer}");
    }
    let kept = quarantined(&server).await;
    assert_eq!(kept.len(), 4, "{kept:?}");
    for (_, line) in &kept {
        assert!(line.contains("  mllp: H  part ") && line.contains("only its beginning"), "{line}");
    }
    let (id, url) = (kept[0].0.clone(), server.url.clone());
    let mllp = server.mllp.clone().unwrap();
    let again = move || run(&["quarantine", &id, "--replay", &mllp, "--server", &url]).stderr;
    let told = tokio::task::spawn_blocking(again).await.unwrap();
    let told = String::from_utf8(told).unwrap();
    assert!(told.contains("only the beginning") && !told.contains("join"), "{told}");
}
