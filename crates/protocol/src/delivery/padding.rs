//! Padmé: lengths that tell size classes only.
//!
//! A length keeps as many significant bits as its exponent has bits, and is rounded up to the next
//! such. The padding is at most 12 % of it, and a length of `L` bytes leaks O(log log L) bits.
//! Spec: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with
//! PURBs" (PoPETs 2019), section 4; docs/PROTOCOL.md, "Padding".

/// The shortest padded payload. A receipt by itself and the shortest of texts have one length.
pub(super) const MIN_PADDED_LENGTH: usize = 32;

/// The length that a payload of `length` bytes is padded to with zeros.
pub(super) fn padded_length(length: usize) -> usize {
    if length <= MIN_PADDED_LENGTH {
        return MIN_PADDED_LENGTH;
    }
    let exponent = length.ilog2(); // E
    let significant = exponent.ilog2() + 1; // S
    length.next_multiple_of(1 << (exponent - significant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padded_lengths_are_those_of_the_paper() {
        // E = 6 and S = 3 from 64 to 127: multiples of 8. E = 9, S = 4: multiples of 32.
        // E = 10, S = 4: of 64. E = 19, S = 5: of 16,384.
        let examples = [
            (0, 32),
            (1, 32),
            (32, 32),
            (33, 36),
            (63, 64),
            (64, 64),
            (65, 72),
            (88, 88),
            (89, 96),
            (512, 512),
            (513, 544),
            (1000, 1024),
            (1025, 1088),
            (737_294, 753_664),
        ];
        for (length, padded) in examples {
            assert_eq!(padded_length(length), padded, "{length}");
        }
    }

    #[test]
    fn padding_never_shortens_repeats_itself_or_takes_an_eighth() {
        let mut previous = 0;
        for length in 0..200_000 {
            let padded = padded_length(length);
            assert!(padded >= length && padded >= previous, "{length}");
            assert_eq!(padded_length(padded), padded, "{length}");
            assert!(length < MIN_PADDED_LENGTH || (padded - length) * 8 <= length, "{length}");
            previous = padded;
        }
    }
}
