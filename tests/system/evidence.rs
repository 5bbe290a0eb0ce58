//! `tsunagi verify`, `prove` and `check-proof`: what an insider can do to a log, and who finds out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use tsunagi_event_store::log::frame::{HEADER_BYTES, Header, Sealed};
use uuid::Uuid;

use crate::support::{Server, TSUNAGI, folder, id, stderr, stdout};

/// Small segments, so that there are several.
const SMALL: [&str; 4] = ["--slots", "4", "--segment-bytes", "65536"];

fn run(data: &Path, arguments: &[&str]) -> Output {
    Command::new(TSUNAGI).args(SMALL).arg("--data").arg(data).args(arguments).output().unwrap()
}

fn done(data: &Path, arguments: &[&str]) -> String {
    let output = run(data, arguments);
    assert!(output.status.success(), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

/// What is found wrong.
fn wrong(data: &Path, arguments: &[&str]) -> String {
    let output = run(data, arguments);
    assert_eq!(output.status.code(), Some(2), "{}{}", stdout(&output), stderr(&output));
    stderr(&output)
}

fn region() -> TempDir {
    let data = folder();
    done(data.path(), &["simulate", "--patients", "20"]);
    data
}

fn segment(data: &Path, number: u32) -> PathBuf {
    data.join(format!("log/{number:010}.seg"))
}

/// The offsets and headers of a segment's frames.
fn frames(bytes: &[u8]) -> Vec<(usize, Header)> {
    let mut at = 64;
    let mut found = Vec::new();
    while let Ok(header) = Header::decode(bytes[at..].first_chunk().unwrap(), salt(bytes)) {
        found.push((at, header));
        at += HEADER_BYTES + usize::try_from(header.record_bytes).unwrap();
        if at + HEADER_BYTES > bytes.len() {
            break;
        }
    }
    found
}

fn salt(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[16..24].try_into().unwrap())
}

/// Changes an event as somebody does who knows the format: all checksums match again.
fn rewrite(data: &Path, nth: usize, change: impl Fn(&mut Header, &mut [u8])) -> (usize, Header) {
    let path = segment(data, 1);
    let mut bytes = fs::read(&path).unwrap();
    let (at, mut header) = frames(&bytes)[nth];
    let end = at + HEADER_BYTES + usize::try_from(header.record_bytes).unwrap();
    let mut record = bytes[at + HEADER_BYTES..end].to_vec();
    change(&mut header, &mut record);
    header.record_crc = Sealed::new(record.clone().into()).crc;
    let encoded = header.encode(salt(&bytes));
    bytes[at..end].copy_from_slice(&[&encoded[..], &record].concat());
    fs::write(&path, bytes).unwrap();
    (at, header)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

#[test]
fn a_good_log_is_what_was_signed() {
    let data = region();
    let told = done(data.path(), &["verify"]);
    assert!(told.contains("0 events are newer") && told.contains("is what was signed"), "{told}");
    assert!(told.contains(done(data.path(), &["key"]).trim()), "{told}");
    assert!(segment(data.path(), 3).exists());
    for range in ["1", "2", "2-3", "1-99"] {
        done(data.path(), &["verify", "--segments", range]);
    }
    let checkpoints = data.path().join("checkpoints.txt");
    done(data.path(), &["verify", "--checkpoint", checkpoints.to_str().unwrap()]);
    // A copy without the secret key, with the public one from elsewhere.
    let key = done(data.path(), &["key"]);
    fs::remove_file(data.path().join("signing.key")).unwrap();
    done(data.path(), &["verify", "--key", key.trim()]);
}

#[test]
fn a_rewritten_event_is_found_though_its_checksums_match() {
    type Change = fn(&mut Header, &mut [u8]);
    let changes: [(&str, Change); 4] = [
        ("another content", |_, record| record[9] ^= 1),
        ("another patient", |header, _| header.stream_key[0] ^= 1),
        ("another time", |header, _| header.recorded_at_us -= 86_400_000_000),
        ("another id", |header, _| header.event[0] ^= 1),
    ];
    let original = region();
    for (what, change) in changes {
        let data = folder();
        copy(original.path(), data.path());
        let (at, header) = rewrite(data.path(), 30, change);
        for arguments in [&["verify"][..], &["verify", "--segments", "1"]] {
            let found = wrong(data.path(), arguments);
            let slot = format!("slot {}: the log does not match what was signed", header.slot);
            assert!(found.contains(&slot), "{what}: {found}");
            let (_, places) = found.split_once("(segment 1 offset ").unwrap();
            let numbers = places.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty());
            let numbers: Vec<usize> = numbers.take(3).map(|n| n.parse().unwrap()).collect();
            assert!(numbers[0] <= at && (numbers[1] > 1 || at <= numbers[2]), "{what}: {found}");
        }
        // Nor does it help to have the trees made again.
        fs::remove_dir_all(data.path().join("log/tree")).unwrap();
        assert!(wrong(data.path(), &["verify"]).contains("does not match what was signed"));
        let served = run(data.path(), &["patients"]);
        assert!(stderr(&served).contains("does not match its signed checkpoint"), "{what}");
        assert!(wrong(data.path(), &["verify"]).contains("does not match what was signed"));
    }
}

#[test]
fn a_damaged_event_is_named_with_its_place() {
    let data = region();
    let path = segment(data.path(), 2);
    let mut bytes = fs::read(&path).unwrap();
    let (at, _) = frames(&bytes)[10];
    bytes[at + HEADER_BYTES] ^= 1;
    fs::write(&path, bytes).unwrap();
    let found = wrong(data.path(), &["verify"]);
    assert!(found.contains(&format!("0000000002.seg is damaged at offset {at}")), "{found}");
}

#[test]
fn a_log_put_back_is_found_by_a_checkpoint_kept_elsewhere() {
    let (data, old) = (region(), folder());
    copy(data.path(), old.path());
    done(data.path(), &["simulate", "--patients", "30"]);
    let kept = data.path().join("checkpoints.txt");
    let kept = kept.to_str().unwrap();
    // That it only grew can be shown to somebody who has but the old checkpoints.
    let (was_kept, key) = (old.path().join("checkpoints.txt"), done(data.path(), &["key"]));
    let (was_kept, growth) = (was_kept.to_str().unwrap(), old.path().join("growth"));
    let growth = growth.to_str().unwrap();
    done(data.path(), &["prove", "--since", was_kept, "--out", growth]);
    let check = ["check-proof", growth, "--key", key.trim(), "--since"];
    let told = done(Path::new("/nonexistent"), &[&check[..], &[was_kept]].concat());
    assert!(told.contains("The log only grew."), "{told}");
    let refused = run(Path::new("/nonexistent"), &[&check[..], &[kept]].concat());
    assert!(stderr(&refused).contains("does not begin with what was signed then"));
    let behind = run(old.path(), &["prove", "--since", kept]);
    assert!(stderr(&behind).contains("an old copy was put back"), "{}", stderr(&behind));
    // In itself, the old copy is whole.
    done(old.path(), &["verify"]);
    let found = wrong(old.path(), &["verify", "--checkpoint", kept]);
    assert!(found.contains("it was cut, or an old copy was put back"), "{found}");
    // With the newer checkpoints beside it, the server sees it too, and signs nothing against them.
    fs::copy(kept, old.path().join("checkpoints.txt")).unwrap();
    let output = run(old.path(), &["patients"]);
    assert!(stderr(&output).contains("fewer events than were signed"), "{}", stderr(&output));
    assert!(wrong(old.path(), &["verify"]).contains("old copy was put back"));
}

#[test]
fn a_changed_or_foreign_checkpoint_is_found() {
    let data = region();
    let path = data.path().join("checkpoints.txt");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("time 20", "time 19", 1)).unwrap();
    let found = wrong(data.path(), &["verify"]);
    assert!(found.contains("checkpoints.txt, offset 0: this is no checkpoint"), "{found}");
    fs::write(&path, text).unwrap();
    let foreign = region();
    let kept = foreign.path().join("checkpoints.txt");
    let found = wrong(data.path(), &["verify", "--checkpoint", kept.to_str().unwrap()]);
    assert!(found.contains("not signed by this key"), "{found}");
}

#[test]
fn a_proof_is_checked_without_server_or_data() {
    let data = region();
    let (key, other_key) = (done(data.path(), &["key"]), done(region().path(), &["key"]));
    let out = folder();
    let (proof, record) = (out.path().join("proof"), out.path().join("record"));
    let (proof, record) = (proof.to_str().unwrap(), record.to_str().unwrap());
    let bytes = fs::read(segment(data.path(), 1)).unwrap();
    for (at, header) in frames(&bytes).into_iter().filter(|(_, h)| h.stream_kind == 1).take(8) {
        let event = Uuid::from_bytes(header.event).to_string();
        let patient = Uuid::from_bytes(header.stream_key).to_string();
        done(data.path(), &["prove", &event, "--patient", &patient, "--out", proof]);
        let nowhere = Path::new("/nonexistent");
        let check = ["check-proof", proof, "--key", key.trim(), "--record", record];
        let told = done(nowhere, &check);
        assert!(told.contains(&event) && told.contains("is in the log as it was signed"), "{told}");
        let end = at + HEADER_BYTES + usize::try_from(header.record_bytes).unwrap();
        assert!(fs::read(record).unwrap() == bytes[at + HEADER_BYTES..end]);
    }
    let nowhere = Path::new("/nonexistent");
    let refused = |key: &str| stderr(&run(nowhere, &["check-proof", proof, "--key", key]));
    assert!(refused(other_key.trim()).contains("not signed by this key"));
    let text = fs::read_to_string(proof).unwrap();
    let record_at = text.find("extra ").unwrap() + 100;
    for (at, what) in [(record_at, "is not what was signed"), (text.len() - 10, "signature")] {
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        fs::write(proof, changed).unwrap();
        assert!(refused(key.trim()).contains(what), "{}", refused(key.trim()));
    }
    let unknown = run(data.path(), &["prove", &Uuid::from_u128(1).to_string()]);
    assert!(stderr(&unknown).contains("no event in the log has this id"));
}

#[test]
fn an_event_that_was_changed_is_not_proved() {
    let data = region();
    let (_, header) = rewrite(data.path(), 30, |_, record| record[9] ^= 1);
    let event = Uuid::from_bytes(header.event).to_string();
    let refused = run(data.path(), &["prove", &event]);
    assert!(stderr(&refused).contains("does not match what was signed"), "{}", stderr(&refused));
}

#[tokio::test]
async fn a_running_server_is_verified_and_its_events_are_proved() {
    let data = folder();
    let server = Server::start_with(data.path(), &["--checkpoint-interval-ms", "20"]);
    crate::desks::register(&server.channel().await, &id(1), "00123").await;
    let bytes = fs::read(segment(data.path(), 1)).unwrap();
    let (_, header) = *frames(&bytes).last().unwrap();
    let event = Uuid::from_bytes(header.event).to_string();
    let proof = data.path().join("proof");
    let arguments = ["prove", &event, "--out", proof.to_str().unwrap()];
    // It is signed soon; until then, that is what is told.
    loop {
        let output = run(data.path(), &arguments);
        if output.status.success() {
            break;
        }
        assert!(stderr(&output).contains("not signed yet"), "{}", stderr(&output));
    }
    done(data.path(), &["verify"]);
    server.kill();
    done(data.path(), &["verify"]);
    let server = Server::start(data.path());
    crate::desks::register(&server.channel().await, &id(2), "00456").await;
    assert!(server.terminate().await.success());
    let told = done(data.path(), &["verify"]);
    assert!(told.contains("0 events are newer"), "{told}");
}

#[test]
fn a_log_without_anything_signed_is_not_called_what_was_signed() {
    let region = region();
    let data = region.path();
    let kept = data.join("kept.txt");
    fs::write(&kept, "\n").unwrap();
    let refused = run(data, &["verify", "--checkpoint", kept.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1), "nothing to compare with");
    fs::remove_file(data.join("checkpoints.txt")).unwrap();
    let told = wrong(data, &["verify"]);
    assert!(told.contains("nothing signed was found"), "{told}");
}
