//! Texts of other systems, in the form that the schema takes.

/// A foreign id in the form that ids have here.
pub(super) fn code(text: &str) -> String {
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() || "._:-".contains(c) { c } else { '-' }
    };
    text.chars().take(64).map(allowed).collect()
}

/// At most so many code points.
pub(super) fn cut(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}
