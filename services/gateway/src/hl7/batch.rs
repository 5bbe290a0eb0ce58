//! Several messages in one: batches (FHS, BHS … BTS, FTS), and files with one after the other.
//! A message that cannot be read does not stand in the way of the others.

/// What batches and files of batches begin and end with.
const ENVELOPE: [&[u8]; 4] = [b"FHS", b"BHS", b"BTS", b"FTS"];

/// The pieces of `bytes` that begin with MSH, each to be read for itself. Bytes before the
/// first are left out if they are a batch's header or blank; otherwise they are a piece too.
///
/// Lines are found in the bytes, before decoding: CR and LF are part of no character in any of
/// the sets that are taken.
pub fn messages(bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut piece: Option<std::ops::Range<usize>> = None;
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| matches!(byte, b'\r' | b'\n')) {
        let end = at + line.len();
        let said = without_signs(line);
        if is_segment(said, b"MSH") {
            pieces.extend(piece.replace(at..end));
        } else if ENVELOPE.iter().any(|name| is_segment(said, name)) {
            pieces.extend(piece.take());
        } else if let Some(piece) = &mut piece {
            piece.end = end;
        } else if !said.iter().all(u8::is_ascii_whitespace) {
            piece = Some(at..end);
        }
        at = end;
    }
    pieces.extend(piece);
    pieces.into_iter().filter_map(|piece| bytes.get(piece)).collect()
}

/// What the end of a batch (BTS) or of a file of batches (FTS) says that it holds, and does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{segment}-1 counts {said} {what}, and {found} were found")]
pub struct Miscount {
    segment: &'static str,
    what: &'static str,
    pub said: usize,
    pub found: usize,
}

/// The first count that does not fit what was found, if there is one: something was lost on the
/// way here, or is counted otherwise.
pub fn miscounted(bytes: &[u8]) -> Option<Miscount> {
    let mut counts = [
        Miscount { segment: "BTS", what: "messages", said: 0, found: 0 },
        Miscount { segment: "FTS", what: "batches", said: 0, found: 0 },
    ];
    let mut are_told = [false; 2];
    for line in bytes.split(|byte| matches!(byte, b'\r' | b'\n')) {
        let line = without_signs(line);
        let names = [(b"MSH", b"BTS"), (b"BHS", b"FTS")];
        for ((counted, end), (count, is_told)) in
            names.into_iter().zip(counts.iter_mut().zip(&mut are_told))
        {
            count.found += usize::from(is_segment(line, counted));
            if let Some(said) = said(line).filter(|_| is_segment(line, end)) {
                count.said = count.said.saturating_add(said);
                *is_told = true;
            }
        }
    }
    let all = counts.into_iter().zip(are_told);
    all.filter(|(count, is_told)| *is_told && count.said != count.found)
        .map(|(count, _)| count)
        .next()
}

/// The number with which the first field of a line begins.
fn said(line: &[u8]) -> Option<usize> {
    let digits = line.get(4..)?.split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A line without what files and frames put before it.
fn without_signs(line: &[u8]) -> &[u8] {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let start = line.iter().position(|byte| !matches!(byte, 0x0b | 0x1c | b' '));
    let line = start.and_then(|start| line.get(start..)).unwrap_or_default();
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
}

fn is_segment(line: &[u8], name: &[u8]) -> bool {
    line.get(..3).is_some_and(|three| three.eq_ignore_ascii_case(name))
        && line.get(3).is_none_or(|byte| !byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BATCH: &[u8] =
        b"\xef\xbb\xbfFHS|^~\\&\rBHS|^~\\&|A\rMSH|1\rPID|1\rMSH|^~\rMSH|3\rPID|3\rBTS|3\rFTS|1\r";

    #[test]
    fn a_batch_is_its_messages_also_if_one_is_malformed() {
        let pieces = messages(BATCH);
        assert_eq!(pieces, [&b"MSH|1\rPID|1\r"[..], b"MSH|^~\r", b"MSH|3\rPID|3\r"]);
        assert_eq!(miscounted(BATCH), None);
        let miscount = miscounted(b"MSH|1\rBTS|5|x\rFTS|1").unwrap();
        assert_eq!(miscount.to_string(), "BTS-1 counts 5 messages, and 1 were found");
        let miscount = miscounted(b"BHS|\rMSH|1\rBTS|1\rFTS|2").unwrap();
        assert_eq!(miscount.to_string(), "FTS-1 counts 2 batches, and 1 were found");
        assert_eq!(miscounted(b"MSH|1\rBTS||a comment"), None);
    }

    #[test]
    fn what_is_no_message_is_a_piece_of_its_own() {
        assert_eq!(messages(b"hello\rMSH|1"), [&b"hello\r"[..], b"MSH|1"]);
        assert_eq!(messages(b"\x0bMSH|1\r\x1c\r"), [b"\x0bMSH|1\r\x1c\r"]);
        assert!(messages(b"\r\n \r").is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_but_headers_and_blanks(bytes in prop::collection::vec(prop::sample::select(b"MSH|BTF\r\n \x0b\x1c12".to_vec()), 0..120)) {
            let pieces = messages(&bytes);
            let kept: usize = pieces.iter().map(|piece| piece.len()).sum();
            prop_assert!(kept <= bytes.len());
            let count = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).filter(|line| is_segment(without_signs(line), b"MSH")).count();
            prop_assert!(pieces.len() >= count);
            miscounted(&bytes);
        }
    }
}
