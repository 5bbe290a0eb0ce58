//! Whom a client's certificate names: its subject (CN) and the names beside it (SAN). TLS has
//! verified the certificate before; here it is only read.

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
/// The extensions of a certificate, `[3]`.
const EXTENSIONS: u8 = 0xa3;
/// The version of a certificate, `[0]`, which may be left out.
const VERSION: u8 = 0xa0;
/// Names that are texts: mail addresses, hosts and URIs.
const TEXTS: [u8; 3] = [0x81, 0x82, 0x86];

/// `id-at-commonName`.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
/// `id-ce-subjectAltName`.
const OTHER_NAMES: [u8; 3] = [0x55, 0x1d, 0x11];

/// The names in a certificate (DER). None of what cannot be read.
pub(super) fn names(certificate: &[u8]) -> Vec<String> {
    let signed = inside(certificate, SEQUENCE).and_then(|inner| inside(inner, SEQUENCE));
    let fields: Vec<Element<'_>> = elements(signed.unwrap_or_default()).collect();
    // Number, algorithm, issuer and validity come before the subject.
    let subject = fields.iter().filter(|field| field.tag != VERSION).nth(4);
    let common = subject.into_iter().flat_map(|subject| common_names(subject.content));
    let extensions = fields.iter().find(|field| field.tag == EXTENSIONS);
    let others = extensions.into_iter().flat_map(|extensions| other_names(extensions.content));
    let texts = common.chain(others).filter_map(|text| std::str::from_utf8(text).ok());
    texts.map(str::to_owned).collect()
}

fn common_names(subject: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = elements(subject).filter(|one| one.tag == SET);
    let parts = parts.flat_map(|set| elements(set.content));
    parts.filter_map(|part| {
        let mut both = elements(part.content);
        let is_it = both.next().is_some_and(|id| id.is(OBJECT_ID, &COMMON_NAME));
        both.next().filter(|_| is_it).map(|value| value.content)
    })
}

fn other_names(extensions: &[u8]) -> impl Iterator<Item = &[u8]> {
    let all = elements(inside(extensions, SEQUENCE).unwrap_or_default());
    let named = all.filter(|extension| {
        elements(extension.content).next().is_some_and(|id| id.is(OBJECT_ID, &OTHER_NAMES))
    });
    let values = named.filter_map(|extension| {
        // A mark that it is critical may stand between.
        let value = elements(extension.content).find(|part| part.tag == OCTET_STRING)?;
        inside(value.content, SEQUENCE)
    });
    let names = values.flat_map(elements).filter(|name| TEXTS.contains(&name.tag));
    names.map(|name| name.content)
}

/// One element of DER.
#[derive(Clone, Copy)]
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
}

impl Element<'_> {
    fn is(&self, tag: u8, content: &[u8]) -> bool {
        self.tag == tag && self.content == content
    }
}

/// What is inside the element with which bytes begin, if it has that tag.
fn inside(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    elements(bytes).next().filter(|one| one.tag == tag).map(|one| one.content)
}

fn elements(bytes: &[u8]) -> impl Iterator<Item = Element<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (element, after) = split(rest)?;
        rest = after;
        Some(element)
    })
}

fn split(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let [tag, first, rest @ ..] = bytes else { return None };
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        // As many bytes as the lower bits say have the length.
        let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let add = |sum: usize, byte: &u8| sum.checked_mul(256)?.checked_add(usize::from(*byte));
        (length.iter().try_fold(0, add)?, rest)
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((Element { tag: *tag, content }, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_certificate_names_nobody() {
        for bytes in [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x02\x30\x00", b"x"] {
            assert_eq!(names(bytes), Vec::<String>::new());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            names(&bytes);
        }
    }
}
