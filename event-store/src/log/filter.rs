//! Says of most events that are not there that they are not there: a split block Bloom filter,
//! as in the Parquet format's specification (BloomFilter.md).

/// Bits for each event: about one in a hundred that are not there is taken for one that is.
const BITS_PER_EVENT: u64 = 10;
const LANES: usize = 8;
/// Bytes of one block.
const BLOCK_BYTES: usize = LANES * 4;

const SALTS: [u32; LANES] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    blocks: Box<[[u32; LANES]]>,
}

impl Filter {
    /// An empty filter with room for so many.
    pub fn for_events(events: u64) -> Self {
        let bits = events.saturating_mul(BITS_PER_EVENT).max(1);
        let blocks = bits.div_ceil(8 * u64::try_from(BLOCK_BYTES).unwrap_or(u64::MAX));
        let blocks = usize::try_from(blocks).unwrap_or(1);
        Self { blocks: vec![[0; LANES]; blocks].into() }
    }

    pub fn add(&mut self, hash: u64) {
        let masks = masks(hash);
        if let Some(block) = self.blocks.get_mut(self.block_of(hash)) {
            for (lane, mask) in block.iter_mut().zip(masks) {
                *lane |= mask;
            }
        }
    }

    /// False only if it was never added.
    pub fn may_have(&self, hash: u64) -> bool {
        let block = self.blocks.get(self.block_of(hash));
        block.is_some_and(|block| {
            // All lanes without a branch: it is asked of every file for every event.
            block.iter().zip(masks(hash)).fold(0, |missing, (lane, mask)| missing | !lane & mask)
                == 0
        })
    }

    fn block_of(&self, hash: u64) -> usize {
        let blocks = u64::try_from(self.blocks.len()).unwrap_or(u64::MAX);
        usize::try_from(((hash >> 32) * blocks) >> 32).unwrap_or(0)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        self.blocks.iter().flatten().flat_map(|lane| lane.to_be_bytes()).collect()
    }

    /// None if it is not a whole number of blocks.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (lanes, rest) = bytes.as_chunks::<4>();
        let (blocks, left) = lanes.as_chunks::<LANES>();
        (rest.is_empty() && left.is_empty() && !blocks.is_empty()).then(|| Self {
            blocks: blocks.iter().map(|block| block.map(u32::from_be_bytes)).collect(),
        })
    }
}

fn masks(hash: u64) -> [u32; LANES] {
    let low = u32::try_from(hash & u64::from(u32::MAX)).unwrap_or(0);
    SALTS.map(|salt| 1 << (low.wrapping_mul(salt) >> 27))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> u64 {
        number
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(31)
            .wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    #[test]
    fn what_was_added_is_there_and_most_else_is_not() {
        let mut filter = Filter::for_events(10_000);
        for number in 0..10_000 {
            filter.add(hash(number));
        }
        assert!((0..10_000).all(|number| filter.may_have(hash(number))));
        let mistaken = (10_000..110_000).filter(|number| filter.may_have(hash(*number))).count();
        assert!(mistaken < 3_000, "{mistaken} of 100,000");
    }

    #[test]
    fn a_filter_reads_as_it_was_written() {
        let mut filter = Filter::for_events(100);
        filter.add(hash(1));
        assert_eq!(Filter::from_bytes(&filter.to_bytes()), Some(filter));
        assert_eq!(Filter::from_bytes(&[0; 31]), None);
        assert_eq!(Filter::from_bytes(&[]), None);
    }
}
