//! Which terms a block may hold: a Bloom filter (Bloom 1970; two hashes make all, Kirsch and Mitzenmacher 2006). It
//! stands on disk for years, so its bits must never depend on the version of a library.

/// One in about a thousand blocks is read for nothing.
const BITS_PER_TERM: usize = 15;
const PROBES: u64 = 10;
/// Of one block; texts made to have as many terms as can be only make the filter less sharp.
pub(super) const BLOOM_BYTES_MAX: usize = 512 * 1024;

/// Below, all terms would share the same few bits.
const BLOOM_BYTES_MIN: usize = 64;

/// The filter's bits over distinct terms.
pub(super) fn build(terms: &[u64]) -> Vec<u8> {
    let bytes = (terms.len() * BITS_PER_TERM).div_ceil(8);
    let mut filter = vec![0; bytes.clamp(BLOOM_BYTES_MIN, BLOOM_BYTES_MAX)];
    for term in terms {
        for bit in bits(*term, filter.len()) {
            filter[bit / 8] |= 1 << (bit % 8);
        }
    }
    filter
}

/// `false`: it was not among the terms.
pub(super) fn may_hold(filter: &[u8], term: u64) -> bool {
    filter.is_empty() || bits(term, filter.len()).all(|bit| filter[bit / 8] & (1 << (bit % 8)) != 0)
}

fn bits(term: u64, bytes: usize) -> impl Iterator<Item = usize> {
    let size = bytes as u64 * 8;
    let step = mix(term) | 1;
    (0..PROBES).map(move |probe| (term.wrapping_add(probe.wrapping_mul(step)) % size) as usize)
}

/// The finisher of SplitMix64: each bit of the input changes half of the output's.
pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_hides_what_is_there_and_rarely_shows_what_is_not() {
        for count in [0, 1, 100, 10_000] {
            let terms: Vec<u64> = (0..count).map(|number| mix(number + 1)).collect();
            let filter = build(&terms);
            assert!(terms.iter().all(|term| may_hold(&filter, *term)));
            let others = (0..100_000u64).map(|number| mix(number + (1 << 40)));
            let shown = others.filter(|term| may_hold(&filter, *term)).count();
            assert!(shown < 300, "{shown} of 100,000 with {count} terms");
        }
    }
}
