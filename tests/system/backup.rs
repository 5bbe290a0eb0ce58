//! Backups through the command line, as whoever runs a server makes and uses them.

use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;

use crate::support::{Server, folder, run, stderr, stdout, timelines, tsunagi};

#[tokio::test]
async fn a_backup_of_a_running_server_is_restored_with_every_timeline() {
    let (data, copies) = (folder(), folder());
    let path = data.path().to_str().unwrap();
    assert!(run(&["simulate", "--patients", "12", "--data", path]).status.success());
    let server = Server::start(data.path());
    let expected = timelines(&server.channel().await).await;
    for copy in ["copy", "copy.tar"] {
        let copy = copies.path().join(copy);
        let copy = copy.to_str().unwrap();
        let made = run(&["backup", copy, "--data", path]);
        assert!(made.status.success(), "{}", stderr(&made));
        assert!(stdout(&made).contains("all checked"), "{}", stdout(&made));
        let restored = folder();
        let restored = restored.path().join("data");
        let into = restored.to_str().unwrap();
        let done = run(&["restore", copy, "--data", into]);
        assert!(done.status.success(), "{}", stderr(&done));
        let again = run(&["restore", copy, "--data", into]);
        assert!(stderr(&again).contains("has a region already"), "{}", stderr(&again));
        let other = Server::start(&restored);
        assert_eq!(timelines(&other.channel().await).await, expected);
    }
}

/// A data folder with some patients.
fn region() -> TempDir {
    let data = folder();
    let path = data.path().to_str().unwrap();
    assert!(run(&["simulate", "--patients", "12", "--data", path]).status.success());
    data
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn what_a_killed_backup_leaves_is_cleared_by_the_next() {
    let (data, copies) = (region(), folder());
    let copy = copies.path().join("copy.tar");
    let arguments = ["backup", copy.to_str().unwrap(), "--data", data.path().to_str().unwrap()];
    let has_left = || !names(copies.path()).is_empty() && !copy.exists();
    while !has_left() {
        if copy.exists() {
            std::fs::remove_file(&copy).unwrap();
        }
        let mut child = tsunagi().args(arguments).stdout(Stdio::null()).spawn().unwrap();
        while names(copies.path()).is_empty() && child.try_wait().unwrap().is_none() {}
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(run(&arguments).status.success());
    assert_eq!(names(copies.path()), ["copy.tar"]);
}

#[test]
fn a_broken_tar_is_said_to_be_one_and_leaves_nothing() {
    let (data, copies) = (region(), folder());
    let copy = copies.path().join("copy.tar");
    let path = copy.to_str().unwrap();
    let backup = run(&["backup", path, "--data", data.path().to_str().unwrap()]);
    assert!(backup.status.success(), "{}", stderr(&backup));
    let whole = std::fs::read(&copy).unwrap();
    let into = copies.path().join("data");
    let broken =
        [&whole[..0], &whole[..whole.len() / 2], &whole[..700], &b"no tar at all".repeat(99)[..]];
    for bytes in broken {
        std::fs::write(&copy, bytes).unwrap();
        let refused = run(&["restore", path, "--data", into.to_str().unwrap()]);
        let said = stderr(&refused);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("copy.tar") && said.contains("use another"), "{said}");
        assert_eq!(names(copies.path()), ["copy.tar"]);
    }
}

#[test]
fn a_copy_is_restored_only_where_it_is_said() {
    let (data, copies) = (region(), folder());
    let copy = copies.path().join("copy");
    let copy = copy.to_str().unwrap();
    assert!(run(&["backup", copy, "--data", data.path().to_str().unwrap()]).status.success());
    let refused = tsunagi().args(["restore", copy]).current_dir(copies.path()).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("--data"), "{}", stderr(&refused));
    assert_eq!(names(copies.path()), ["copy"]);
}
