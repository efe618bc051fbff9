//! Writes that are held back, over a file that they do not change.

use std::collections::BTreeMap;

const BLOCK: usize = 4096;

/// Blocks by their offsets.
#[derive(Default)]
pub(crate) struct Overlay(BTreeMap<u64, Box<[u8; BLOCK]>>);

impl Overlay {
    /// Keeps `bytes`; `below` fills a block that is written in part with what it holds so far.
    pub(crate) fn write(
        &mut self,
        mut offset: u64,
        mut bytes: &[u8],
        mut below: impl FnMut(u64, &mut [u8; BLOCK]),
    ) {
        while !bytes.is_empty() {
            let at = (offset % BLOCK as u64) as usize;
            let start = offset - at as u64;
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - at));
            let block = self.0.entry(start).or_insert_with(|| {
                let mut block = Box::new([0; BLOCK]);
                if now.len() < BLOCK {
                    below(start, &mut block);
                }
                block
            });
            block[at..at + now.len()].copy_from_slice(now);
            (offset, bytes) = (offset + now.len() as u64, rest);
        }
    }

    /// Puts what is kept over what `out`, read at `offset`, holds.
    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) {
        let end = offset + out.len() as u64;
        for (&start, block) in self.0.range(offset.saturating_sub(BLOCK as u64 - 1)..end) {
            let from = start.max(offset);
            let to = (start + BLOCK as u64).min(end);
            out[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&block[(from - start) as usize..(to - start) as usize]);
        }
    }

    /// Where the last block ends.
    pub(crate) fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(start, _)| start + BLOCK as u64)
    }

    /// Blocks and their offsets, in order.
    pub(crate) fn blocks(&self) -> impl DoubleEndedIterator<Item = (u64, &[u8])> {
        self.0.iter().map(|(&start, block)| (start, &block[..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A file under an overlay reads like a file that was written to.
        #[test]
        fn an_overlay_reads_like_what_was_written(
            writes in proptest::collection::vec((0..20_000usize, 1..9_000usize, any::<u8>()), 1..8),
            read in (0..20_000usize, 1..9_000usize),
        ) {
            let below: Vec<u8> = (0..40_000).map(|i| (i % 251) as u8).collect();
            let (mut written, mut overlay) = (below.clone(), Overlay::default());
            for (offset, length, byte) in writes {
                let bytes = vec![byte; length];
                overlay.write(offset as u64, &bytes, |at, block| {
                    block.copy_from_slice(&below[at as usize..at as usize + BLOCK]);
                });
                written[offset..offset + length].copy_from_slice(&bytes);
            }
            let (offset, length) = read;
            let mut out = below[offset..offset + length].to_vec();
            overlay.read(offset as u64, &mut out);
            prop_assert_eq!(&out, &written[offset..offset + length]);
        }
    }
}
