//! The architecture's rules: who may import whom, and through which door each technology comes.
//! A change in these tables is a change of the design.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that fails says so by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What each of our crates may import of ours. Nothing points back, services never import each
/// other, and only the binary knows them all.
const MAY_IMPORT: [(&str, &[&str]); 10] = [
    ("tsunagi-domain", &[]),
    ("tsunagi-proto", &["tsunagi-domain"]),
    ("tsunagi-chassis", &["tsunagi-domain", "tsunagi-proto"]),
    ("tsunagi-bus", &["tsunagi-domain", "tsunagi-proto", "tsunagi-chassis"]),
    ("tsunagi-event-store", &["tsunagi-domain", "tsunagi-proto", "tsunagi-chassis", "tsunagi-bus"]),
    ("tsunagi-discharge-desk", &["tsunagi-proto", "tsunagi-bus"]),
    ("tsunagi-home-care", &["tsunagi-proto", "tsunagi-bus"]),
    ("tsunagi-link-worker", &["tsunagi-proto", "tsunagi-bus"]),
    ("tsunagi-gateway", &["tsunagi-domain", "tsunagi-proto", "tsunagi-chassis", "tsunagi-bus"]),
    (
        "tsunagi",
        &[
            "tsunagi-domain",
            "tsunagi-proto",
            "tsunagi-chassis",
            "tsunagi-bus",
            "tsunagi-event-store",
            "tsunagi-discharge-desk",
            "tsunagi-home-care",
            "tsunagi-link-worker",
            "tsunagi-gateway",
        ],
    ),
];

/// The one crate that may use a technology.
const DOORS: [(&str, &str); 21] = [
    ("async-nats", "tsunagi-bus"),
    ("lru", "tsunagi-bus"),
    ("hmac", "tsunagi-bus"),
    ("sled", "tsunagi-event-store"),
    ("crc32c", "tsunagi-event-store"),
    ("ed25519-dalek", "tsunagi-event-store"),
    ("tracing-subscriber", "tsunagi-chassis"),
    ("tonic-reflection", "tsunagi-chassis"),
    ("tonic-prost", "tsunagi-proto"),
    ("protox", "tsunagi-proto"),
    ("prost-reflect", "tsunagi-proto"),
    ("axum", "tsunagi-gateway"),
    ("encoding_rs", "tsunagi-gateway"),
    ("tokio-rustls", "tsunagi-gateway"),
    ("opentelemetry_sdk", "tsunagi-gateway"),
    ("prometheus", "tsunagi-gateway"),
    ("clap", "tsunagi"),
    ("indicatif", "tsunagi"),
    ("rand", "tsunagi"),
    ("mimalloc", "tsunagi"),
    ("tar", "tsunagi"),
];

/// What stands at the top of the repository, besides dotfiles.
const TOP: [&str; 8] = [
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "charts",
    "event-store",
    "proto",
    "services",
    "tests",
];

/// What a user reads: the first page, and those that it leads to.
const READMES: [&str; 5] = [
    "README.md",
    "event-store/README.md",
    "services/bus/README.md",
    "services/domain/README.md",
    "services/gateway/README.md",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The dependencies of each of our crates, without those for tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let names = dependencies.filter(|one| one["kind"] != "dev").map(|one| text(&one["name"]));
        (text(&package["name"]), names.collect())
    };
    metadata["packages"].as_array().unwrap().iter().map(of).collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn crates_import_as_the_design_has_it() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.into();
    let all = dependencies();
    let known: BTreeSet<&str> = all.keys().map(String::as_str).collect();
    assert_eq!(known, allowed.keys().copied().collect(), "the crates of the workspace");
    for (of, imports) in &all {
        for import in imports.iter().filter(|import| known.contains(import.as_str())) {
            assert!(allowed[of.as_str()].contains(&import.as_str()), "{of} imports {import}");
        }
    }
}

#[test]
fn each_technology_has_one_door() {
    let doors: BTreeMap<&str, &str> = DOORS.into();
    for (of, imports) in dependencies() {
        for import in imports {
            if let Some(door) = doors.get(import.as_str()) {
                assert_eq!(*door, of, "{import} comes through {door} alone");
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut files = Vec::new();
    for folder in ["proto", "services", "event-store", "tests"] {
        rust_files(&root().join(folder), &mut files);
    }
    assert!(files.len() > 50);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{} begins without `//!`", file.display());
        assert!(!file.ends_with("mod.rs"), "{}", file.display());
    }
}

#[test]
fn every_reason_of_a_refusal_is_in_the_readme() {
    let readme = READMES.map(|page| std::fs::read_to_string(root().join(page)).unwrap()).concat();
    let mut files = Vec::new();
    // The doors, and the domain behind them; what an import refuses is told in full by itself.
    for room in ["bus", "chassis", "domain", "discharge-desk", "home-care", "link-worker"] {
        rust_files(&root().join("services").join(room).join("src"), &mut files);
    }
    rust_files(&root().join("event-store/src"), &mut files);
    let mut reasons = BTreeSet::new();
    for file in files {
        let code = std::fs::read_to_string(&file).unwrap();
        let is_reason = |text: &&str| {
            text.len() > 5
                && text.contains('_')
                && !text.contains("__")
                && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
        };
        let is_setting = |text: &&str| text.starts_with("TSUNAGI_");
        let texts = code.split('"').filter(is_reason).filter(|text| !is_setting(text));
        reasons.extend(texts.map(str::to_owned));
    }
    assert!(reasons.len() > 50, "{reasons:?}");
    for reason in reasons {
        assert!(readme.contains(&format!("`{reason}`")), "{reason} is not explained");
    }
}

#[test]
fn every_reason_of_a_refusal_is_given_in_a_test() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, refusals) = readme.split_once("\n## Refusals\n").unwrap();
    let (refusals, _) = refusals.split_once("\n## ").unwrap();
    let rows = refusals.lines().filter(|line| line.starts_with("| `"));
    let reasons: Vec<&str> = rows
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert!(reasons.len() > 80, "{reasons:?}");
    let mut files = Vec::new();
    for folder in ["proto", "services", "event-store", "tests"] {
        rust_files(&root().join(folder), &mut files);
    }
    let mut tests = String::new();
    for file in files {
        let code = std::fs::read_to_string(&file).unwrap();
        let is_test = file.components().any(|part| part.as_os_str() == "tests");
        let from = if is_test { Some(0) } else { code.find("#[cfg(test)]\nmod ") };
        tests.push_str(from.and_then(|from| code.get(from..)).unwrap_or_default());
    }
    // It tells of a defect: nothing that is sent can run into it.
    let is_tried =
        |reason: &&&str| **reason == "NO_RECEIPT" || tests.contains(&format!("\"{reason}\""));
    let untried: Vec<&&str> = reasons.iter().filter(|reason| !is_tried(reason)).collect();
    assert!(untried.is_empty(), "no test is refused for {untried:?}");
}

#[test]
fn the_top_of_the_repository_is_fixed() {
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // What building and running leave behind is not part of it.
        let is_left_behind = name == "target" || name == "tsunagi-data";
        assert!(
            name.starts_with('.') || is_left_behind || TOP.contains(&name.as_str()),
            "{name} does not belong at the top"
        );
    }
}
