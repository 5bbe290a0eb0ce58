//! Transaction files: records that are appended one after the other, each a line that says
//! `INS` or `DEL` and a message.
//!
//! How the line is laid out differs between vendors (unverified): all that is read of it is that
//! it is no segment, and has the one word or the other between separators.

/// What a record does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Processing {
    Insert,
    Delete,
}

/// One record of a transaction file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) processing: Processing,
    pub(super) message: &'a [u8],
    /// Where the next record begins.
    pub(super) end: usize,
}

/// The records of a file's bytes. The last may still be being written.
pub(super) fn records(bytes: &[u8]) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    let mut processing = Processing::Insert;
    // Where the record under way has its message, and where a deletion was told that has none yet.
    let (mut message, mut bare): (Option<usize>, Option<usize>) = (None, None);
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| matches!(byte, b'\r' | b'\n')) {
        let told = told(line);
        let begins = told.is_none() && is_header(line);
        if (told.is_some() || begins)
            && let Some(start) = message.take()
        {
            records.extend(record(bytes, processing, start..at));
            processing = Processing::Insert;
        }
        if told.is_some()
            && let Some(start) = bare.take()
        {
            records.extend(record(bytes, Processing::Delete, start..at));
        }
        processing = told.unwrap_or(processing);
        if told == Some(Processing::Delete) {
            bare = Some(at);
        }
        if begins {
            (message, bare) = (Some(at), None);
        }
        at += line.len();
    }
    if let Some(start) = message.or(bare) {
        records.extend(record(bytes, processing, start..at));
    }
    records
}

/// Whether a record is a deletion that says no more than whose: without the message, it is not
/// known what is deleted.
pub(super) fn is_bare(message: &[u8]) -> bool {
    !is_header(message)
}

/// Whether a message's last segment is there to its end.
pub(super) fn is_ended(message: &[u8]) -> bool {
    message.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n' | 0x1c))
}

/// Whether bytes that follow a record belong to it still: no other one begins with them.
pub(super) fn goes_on(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| matches!(byte, b'\r' | b'\n' | 0x1c));
    let first = lines.find(|line| !line.trim_ascii().is_empty());
    first.is_some_and(|line| told(line).is_none() && !is_header(line))
}

fn record(
    bytes: &[u8],
    processing: Processing,
    range: std::ops::Range<usize>,
) -> Option<Record<'_>> {
    let end = range.end;
    bytes.get(range).map(|message| Record { processing, message, end })
}

fn is_header(line: &[u8]) -> bool {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    line.starts_with(b"MSH") && line.get(3).is_some_and(u8::is_ascii_punctuation)
}

/// What a line says of the message that follows, if it is no segment.
fn told(line: &[u8]) -> Option<Processing> {
    let is_segment = line.len() > 3
        && line.iter().take(3).all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        && line.get(3) == Some(&b'|')
        && !line.starts_with(b"INS|")
        && !line.starts_with(b"DEL|");
    if is_segment {
        return None;
    }
    let mut words = line.split(|byte| b",\t |^;_\"\r\n".contains(byte));
    words.find_map(|word| match word {
        b"INS" => Some(Processing::Insert),
        b"DEL" => Some(Processing::Delete),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_is_a_message_with_what_is_to_be_done() {
        let file = b"INS,0001,20260501,ADT-22\rMSH|^~\\&|1\rPID|1\rDEL\tADT-22\r\nMSH|^~\\&|2\r\nPID|2\r\nMSH|^~\\&|3\r";
        let read: Vec<_> = records(file).iter().map(|one| (one.processing, one.message)).collect();
        assert_eq!(
            read,
            [
                (Processing::Insert, &b"MSH|^~\\&|1\rPID|1\r"[..]),
                (Processing::Delete, b"MSH|^~\\&|2\r\nPID|2\r\n"),
                (Processing::Insert, b"MSH|^~\\&|3\r"),
            ]
        );
        assert_eq!(records(file).last().unwrap().end, file.len());
        assert!(records(b"\r\nnothing\r\n").is_empty());
    }

    #[test]
    fn a_deletion_without_a_message_is_a_record_too() {
        let file =
            b"DEL,0001,ADT-22\r\nINS,2\rMSH|^~\\&|2\rDEL,3\r\n\nDEL,4\rMSH|^~\\&|4\rDEL,5\r\n";
        let read: Vec<_> = records(file).iter().map(|one| (one.processing, one.message)).collect();
        assert_eq!(
            read,
            [
                (Processing::Delete, &b"DEL,0001,ADT-22\r\n"[..]),
                (Processing::Insert, b"MSH|^~\\&|2\r"),
                (Processing::Delete, b"DEL,3\r\n\n"),
                (Processing::Delete, b"MSH|^~\\&|4\r"),
                (Processing::Delete, b"DEL,5\r\n"),
            ]
        );
        assert!(is_bare(read[0].1) && !is_bare(read[1].1));
    }

    #[test]
    fn what_follows_a_record_is_another_one_or_the_rest_of_it() {
        for another in
            ["INS,1\rMSH|^~\\&|2\r", "\r\n\nMSH|^~\\&|2\r", "\x1c\r\nDEL|1\r", "", "\r\n"]
        {
            assert!(!goes_on(another.as_bytes()), "{another}");
        }
        for rest in ["PV1|1|I\r", "|32^302\r", "\rPV1|1\r"] {
            assert!(goes_on(rest.as_bytes()), "{rest}");
        }
        assert!(is_ended(b"MSH|^~\\&|1\rPID|1\r") && !is_ended(b"MSH|^~\\&|1\rPI"));
    }

    #[test]
    fn a_word_within_a_segment_says_nothing() {
        let file = b"MSH|^~\\&|1\rNTE|1||DEL\rIN1|INS\r";
        assert_eq!(records(file).len(), 1);
        assert_eq!(records(file)[0].processing, Processing::Insert);
    }
}
