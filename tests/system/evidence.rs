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

pub(crate) fn region() -> TempDir {
    let data = folder();
    done(data.path(), &["simulate", "--patients", "20"]);
    data
}

pub(crate) fn segment(data: &Path, number: u32) -> PathBuf {
    data.join(format!("log/{number:010}.seg"))
}

/// The offsets and headers of a segment's frames.
pub(crate) fn frames(bytes: &[u8]) -> Vec<(usize, Header)> {
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
            let (_, places) = found.split_once("(0000000001.seg offset ").unwrap();
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
    let mut last = String::new();
    for (at, header) in frames(&bytes).into_iter().filter(|(_, h)| h.stream_kind == 1).take(8) {
        let event = Uuid::from_bytes(header.event).to_string();
        let patient = Uuid::from_bytes(header.stream_key).to_string();
        let prove = ["prove", &event, "--patient", &patient, "--out", proof];
        done(data.path(), &prove);
        let again = run(data.path(), &prove);
        assert!(stderr(&again).contains("name another file"), "{}", stderr(&again));
        let nowhere = Path::new("/nonexistent");
        let check = ["check-proof", proof, "--key", key.trim(), "--record", record];
        let told = done(nowhere, &check);
        assert!(told.contains(&event) && told.contains("is in the log as it was signed"), "{told}");
        let end = at + HEADER_BYTES + usize::try_from(header.record_bytes).unwrap();
        assert!(fs::read(record).unwrap() == bytes[at + HEADER_BYTES..end]);
        last = fs::read_to_string(proof).unwrap();
        fs::remove_file(proof).unwrap();
        fs::remove_file(record).unwrap();
    }
    fs::write(proof, &last).unwrap();
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
    assert!(told.contains("were not signed when they were recorded"), "{told}");
}

/// The lines that `verify` has for what is wrong.
fn lines(data: &Path, arguments: &[&str]) -> Vec<String> {
    wrong(data, arguments).lines().map(str::to_owned).collect()
}

fn number_of_segments(data: &Path) -> u32 {
    u32::try_from((1..99).filter(|number| segment(data, *number).exists()).count()).unwrap()
}

/// Does something to a copy of a region, and says what `verify` has to say of it.
fn spoilt(region: &Path, spoil: impl FnOnce(&Path)) -> Vec<String> {
    let data = folder();
    copy(region, data.path());
    spoil(data.path());
    lines(data.path(), &["verify"])
}

pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn one_flipped_bit_is_told_once_and_what_follows_is_counted() {
    let region = region();
    let last = number_of_segments(region.path());
    assert!(last >= 4, "{last}");
    for number in 1..=last {
        let bytes = fs::read(segment(region.path(), number)).unwrap();
        let frames = frames(&bytes);
        for (at, place) in [(frames[2].0, 20), (frames[2].0, HEADER_BYTES + 5)] {
            for has_trees in [true, false] {
                let found = spoilt(region.path(), |data| {
                    flip(&segment(data, number), at + place);
                    if !has_trees {
                        fs::remove_dir_all(data.join("log/tree")).unwrap();
                    }
                });
                let cause = format!("{number:010}.seg is damaged at offset {at}");
                assert!(found[0].contains(&cause), "{found:?}");
                assert!(found.len() <= 2, "segment {number}, {has_trees}: {found:?}");
                let rest = found.get(1).map_or("could not be compared", String::as_str);
                assert!(rest.contains("could not be compared"), "{found:?}");
            }
        }
    }
    let header = spoilt(region.path(), |data| flip(&segment(data, 2), 20));
    assert!(header[0].contains("0000000002.seg is damaged at offset 0"), "{header:?}");
    assert!(header.len() <= 2, "{header:?}");
    let note = spoilt(region.path(), |data| flip(&data.join("checkpoints.txt"), 400));
    assert!(note[0].contains("checkpoints.txt, offset ") && note.len() == 1, "{note:?}");
    let tree = spoilt(region.path(), |data| flip(&data.join("log/tree/0000000002.tree"), 100));
    assert!(tree[0].contains("0000000002.tree") && tree.len() == 1, "{tree:?}");
    for name in ["region.toml", "signing.key"] {
        let found = spoilt(region.path(), |data| flip(&data.join(name), 100));
        assert!(found[0].contains(name) && found.len() == 1, "{found:?}");
    }
}

#[test]
fn two_damaged_segments_are_two_causes_with_trees_and_without() {
    let region = region();
    for has_trees in [true, false] {
        let found = spoilt(region.path(), |data| {
            for number in [1, 3] {
                flip(&segment(data, number), 100);
            }
            if !has_trees {
                fs::remove_dir_all(data.join("log/tree")).unwrap();
            }
        });
        assert!(found[0].contains("0000000001.seg is damaged at offset 64"), "{found:?}");
        assert!(found[1].contains("0000000003.seg is damaged at offset 64"), "{found:?}");
        let is_rest = |line: &String| line.contains("could not be compared");
        assert!(found.len() <= 3 && found[2..].iter().all(is_rest), "{found:?}");
        assert!(has_trees || found.len() == 3, "{found:?}");
    }
}

#[test]
fn missing_swapped_and_foreign_segments_are_found_and_named_once() {
    let (region, foreign) = (region(), region());
    let last = number_of_segments(region.path());
    for number in 1..last {
        let name = format!("{number:010}.seg");
        let missing = spoilt(region.path(), |data| fs::remove_file(segment(data, number)).unwrap());
        assert!(missing[0].contains(&name) && missing[0].contains("is missing"), "{missing:?}");
        let other = spoilt(region.path(), |data| {
            fs::copy(segment(foreign.path(), number), segment(data, number)).unwrap();
        });
        assert!(other[0].contains(&name) && other[0].contains("another region"), "{other:?}");
        assert!(missing.len() <= 2 && other.len() <= 2, "{missing:?} {other:?}");
    }
    let swapped = spoilt(region.path(), |data| {
        let passing = data.join("passing");
        fs::rename(segment(data, 1), &passing).unwrap();
        fs::rename(segment(data, 2), segment(data, 1)).unwrap();
        fs::rename(&passing, segment(data, 2)).unwrap();
    });
    assert!(swapped[0].contains("0000000001.seg") && swapped[1].contains("0000000002.seg"));
    assert!(swapped.len() <= 3, "{swapped:?}");
    // Cut at its end, in every slot: one cause.
    let cut = spoilt(region.path(), |data| fs::remove_file(segment(data, last)).unwrap());
    assert!(cut.len() <= 2 && cut[0].contains("it was cut"), "{cut:?}");
    let name = format!("{:010}.seg, offset ", last - 1);
    assert!(cut[0].contains(&name), "{cut:?}");
    let none = spoilt(region.path(), |data| {
        (1..=last).for_each(|number| fs::remove_file(segment(data, number)).unwrap());
    });
    assert!(none.len() == 2 && none[0].contains("no segment"), "{none:?}");
}

#[test]
fn another_key_is_told_in_one_sentence() {
    let (region, other) = (region(), region());
    let key = done(other.path(), &["key"]);
    let found = lines(region.path(), &["verify", "--key", key.trim()]);
    assert!(found.len() == 1 && found[0].contains("--key"), "{found:?}");
    // A key of the same name: somebody made their own, and signed everything anew.
    let data = folder();
    copy(region.path(), data.path());
    let key = done(region.path(), &["key"]);
    fs::remove_file(data.path().join("signing.key")).unwrap();
    fs::remove_file(data.path().join("checkpoints.txt")).unwrap();
    run(data.path(), &["patients"]);
    let found = lines(data.path(), &["verify", "--key", key.trim()]);
    assert!(found[0].contains("--key"), "{found:?}");
    assert!(found.len() <= 2, "{found:?}");
}

#[test]
fn what_cannot_be_run_is_told_from_what_is_wrong() {
    let region = region();
    let last = number_of_segments(region.path());
    let refused = run(region.path(), &["verify", "--segments", "40"]);
    assert_eq!(refused.status.code(), Some(1), "{}", stdout(&refused));
    let misspelt = run(region.path(), &["verify", "--segments", "5-2"]);
    assert_eq!(misspelt.status.code(), Some(1), "{}", stdout(&misspelt));
    let said = stderr(&refused);
    assert!(said.contains(&format!("segments 1 to {last}")), "{said}");
    let nowhere = folder();
    assert_eq!(run(nowhere.path(), &["verify"]).status.code(), Some(1));
    // A folder whose region is gone, and not its log, is a region that was damaged.
    let lost = spoilt(region.path(), |data| fs::remove_file(data.join("region.toml")).unwrap());
    assert!(lost.len() == 1 && lost[0].contains("region.toml is missing"), "{lost:?}");
}

/// Takes the notes that `is_taken` out of `checkpoints.txt`.
fn take_out(data: &Path, is_taken: impl Fn(&str) -> bool) {
    let path = data.join("checkpoints.txt");
    let text = fs::read_to_string(&path).unwrap();
    let mut kept = String::new();
    let mut note = String::new();
    for line in text.split_inclusive('\n') {
        note.push_str(line);
        if line.starts_with('—') {
            kept.extend((!is_taken(&note)).then_some(&*note));
            note.clear();
        }
    }
    assert!(kept.len() < text.len(), "something was taken");
    fs::write(&path, kept).unwrap();
}

/// A region whose checkpoints were removed, and a copy of them as kept elsewhere.
fn robbed(region: &Path, with_trees: bool) -> (TempDir, PathBuf) {
    let data = folder();
    copy(region, data.path());
    let kept = data.path().join("kept.txt");
    fs::rename(data.path().join("checkpoints.txt"), &kept).unwrap();
    if !with_trees {
        fs::remove_dir_all(data.path().join("log/tree")).unwrap();
    }
    (data, kept)
}

const UNSIGNED: &str = "were not signed when they were recorded";

#[test]
fn removed_checkpoints_are_told_for_ever() {
    let region = region();
    for with_trees in [true, false] {
        let (data, _) = robbed(region.path(), with_trees);
        rewrite(data.path(), 30, |_, record| record[9] ^= 1);
        assert!(wrong(data.path(), &["verify"]).contains(UNSIGNED), "before anything is signed");
        let served = run(data.path(), &["patients"]);
        assert!(stderr(&served).contains("nothing was signed of the log up to here"));
        assert!(wrong(data.path(), &["verify"]).contains(UNSIGNED));
        let export = folder();
        crate::export::Export { patients: 200 }.write(export.path());
        done(data.path(), &["import", "fhir", export.path().to_str().unwrap()]);
        assert!(wrong(data.path(), &["verify"]).contains(UNSIGNED));
        // Nor does it help to take the remark away, or to put back that the region began.
        take_out(data.path(), |note| note.contains("/history"));
        assert!(wrong(data.path(), &["verify"]).contains(UNSIGNED), "without the remark");
        done(data.path(), &["patients"]);
        assert!(wrong(data.path(), &["verify"]).contains(UNSIGNED), "without the remark");
    }
}

#[test]
fn one_slots_checkpoints_cannot_be_left_out_either() {
    let data = region();
    let (_, header) = rewrite(data.path(), 30, |_, record| record[9] ^= 1);
    let slot = format!("/slot-{:02}\n", header.slot);
    take_out(data.path(), |note| note.contains(&slot));
    fs::remove_dir_all(data.path().join("log/tree")).unwrap();
    done(data.path(), &["patients"]);
    assert!(wrong(data.path(), &["verify"]).contains(UNSIGNED));
}

#[test]
fn checkpoints_kept_elsewhere_close_the_gap_or_show_what_was_done() {
    let region = region();
    let (data, kept) = robbed(region.path(), true);
    let kept = kept.to_str().unwrap();
    for _ in 0..2 {
        let told = done(data.path(), &["verify", "--checkpoint", kept]);
        assert!(told.contains("is what was signed"), "{told}");
        done(data.path(), &["patients"]);
    }
    // Those of afterwards close nothing.
    let later = data.path().join("later.txt");
    fs::copy(data.path().join("checkpoints.txt"), &later).unwrap();
    let arguments = ["verify", "--checkpoint", later.to_str().unwrap()];
    assert!(wrong(data.path(), &arguments).contains(UNSIGNED));
    rewrite(data.path(), 30, |_, record| record[9] ^= 1);
    let found = wrong(data.path(), &["verify", "--checkpoint", kept]);
    assert!(found.contains("does not match what was signed"), "{found}");
}

#[tokio::test]
async fn what_is_accepted_is_said_and_no_longer_called_wrong() {
    let region = region();
    let (data, _) = robbed(region.path(), true);
    let accept = ["verify", "--accept-unsigned"];
    let server = Server::start_with(data.path(), &SMALL);
    let refused = run(data.path(), &accept);
    assert!(stderr(&refused).contains("stop the server first"), "{}", stderr(&refused));
    assert!(server.terminate().await.success());
    assert!(wrong(data.path(), &["verify"]).contains(UNSIGNED));
    let told = done(data.path(), &accept);
    assert!(told.contains("Accepted up to segment"), "{told}");
    for _ in 0..2 {
        let told = done(data.path(), &["verify"]);
        assert!(told.contains("accepted     what was recorded before segment"), "{told}");
        done(data.path(), &["simulate", "--patients", "30"]);
    }
    let refused = run(data.path(), &accept);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("nothing to accept"), "{}", stderr(&refused));
    // What is wrong otherwise is not accepted with it.
    rewrite(data.path(), 30, |_, record| record[9] ^= 1);
    fs::remove_file(data.path().join("checkpoints.txt")).unwrap();
    fs::remove_file(segment(data.path(), 2)).unwrap();
    let refused = run(data.path(), &accept);
    assert!(stderr(&refused).contains("something else is wrong"), "{}", stderr(&refused));
}

#[tokio::test]
async fn a_power_loss_before_the_first_checkpoint_is_no_gap() {
    let data = folder();
    let server = Server::start(data.path());
    crate::desks::register(&server.channel().await, &id(1), "00123").await;
    server.kill();
    done(data.path(), &["verify"]);
    let server = Server::start(data.path());
    assert!(server.terminate().await.success());
    done(data.path(), &["verify"]);
    // But one that was signed, and whose file is gone, is told of in the first segment too.
    fs::remove_file(data.path().join("checkpoints.txt")).unwrap();
    assert!(wrong(data.path(), &["verify"]).contains(UNSIGNED));
    let server = Server::start(data.path());
    assert!(server.terminate().await.success());
    assert!(wrong(data.path(), &["verify"]).contains(UNSIGNED));
}
