//! Real input that nobody here wrote. It lies beside the repository, not in it: where it is
//! missing, tests say so and pass.

use std::path::PathBuf;

/// The folder of a data set. None, said loudly, if it is not there: then `skipped` is skipped.
pub(crate) fn data_set(name: &str, skipped: &str) -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let path = root.join("shared/data").join(name);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED: `{skipped}` checked nothing, because there is no folder {}",
        path.display()
    );
    None
}

/// Every file of messages, in the order of their names.
pub(crate) fn message_files(skipped: &str) -> Vec<PathBuf> {
    let Some(root) = data_set("hl7v2", skipped) else { return Vec::new() };
    let mut files = Vec::new();
    for folder in std::fs::read_dir(root).unwrap() {
        let folder = folder.unwrap().path();
        if folder.is_dir() {
            files.extend(std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()));
        }
    }
    files.sort();
    files
}
