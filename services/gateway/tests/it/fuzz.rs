//! Messages broken in a thousand ways, the same ones each time: nothing panics, and what is
//! written of them can be read again.

use tsunagi_gateway::hl7::charset::decode;
use tsunagi_gateway::hl7::{Message, batch};

/// A small generator of numbers that look random (splitmix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(below.max(1)).unwrap()).unwrap()
    }
}

/// Breaks a message in one to four places.
pub(crate) fn broken(message: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    const SIGNS: &[u8] = b"|^~\\&\r\n\x0b\x1c\x1b$B(BJ\"\x00\xff\x8f\xe9MSH";
    let mut bytes = message.to_vec();
    for _ in 0..=numbers.next(4) {
        let at = numbers.next(bytes.len());
        match numbers.next(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, SIGNS[numbers.next(SIGNS.len())]),
            2 if at < bytes.len() => bytes[at] = SIGNS[numbers.next(SIGNS.len())],
            3 if at < bytes.len() => {
                bytes.remove(at);
            }
            _ => {
                let piece = bytes[at..bytes.len().min(at + numbers.next(40))].to_vec();
                let to = numbers.next(bytes.len());
                bytes.splice(to..to, piece);
            }
        }
    }
    bytes
}

pub(crate) const SEEDS: [&[u8]; 4] = [
    b"MSH|^~\\&|HIS|H|GW|R|20260501||ADT^A01^ADT_A01|42|P|2.5\rEVN||20260501\rPID|1||7^^^H||Doe^Jo\\F\\hn||1940\rPV1|1|I|4E^401^1||||12^A^B\r",
    b"MSH|^~\\&|HIS123|SEND|GW|RCV|20111220||ADT^A08^ADT_A01|1|P|2.5||||||~ISO IR87||ISO 2022-1994\rPID|1||9||\x1b$B4V\x1b(B^\x1b$B2V;R\x1b(B^^^^^L^I\r",
    b"FHS|^~\\&|\rBHS|^~\\&|\rMSH#$%*@#A#B##C#2026##ADT$A40#7#P#2.3\rPID##\"\"#1%2\rMRG#3\rBTS|1\rFTS|1\r",
    b"\x0bMSH|^~\\&|||||||ORU^R01||P|2.x\nOBX|1|TX|||\\X41\\\\.br\\\\Z\n\x1c\r",
];

#[test]
fn nothing_broken_panics() {
    let mut numbers = Numbers(20_261_122);
    let mut read = 0;
    for round in 0..6_000 {
        let bytes = broken(SEEDS[round % SEEDS.len()], &mut numbers);
        for piece in batch::messages(&bytes) {
            let decoded = decode(piece, None);
            let Ok(message) = Message::parse(&decoded.text) else { continue };
            read += 1;
            for segment in message.segments() {
                for number in 0..30 {
                    for part in segment.field(number).repetitions() {
                        part.component(number).subcomponent(2).text();
                        part.text();
                    }
                }
            }
            decoded.charset.write(&decoded.text);
        }
    }
    assert!(read > 3_000, "{read}");
}
