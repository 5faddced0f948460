//! Deterministic randomness: everything that is random in a real device is a function of a seed and of what it is for.

/// A bijective scrambler with full avalanche (the finaliser of SplitMix64).
pub(super) const fn mix(value: u64) -> u64 {
    let x = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Combines seed material into one seed; the order matters.
pub(super) fn seed_of(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |seed, part| mix(seed ^ mix(*part)))
}

/// A sequence of random words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Noise {
    state: u64,
}

impl Noise {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    /// A word whose bits are each set with a probability of `sixteenths`/16.
    pub(super) const fn biased(&mut self, sixteenths: u32) -> u64 {
        if sixteenths >= 16 {
            return u64::MAX;
        }
        // Binary expansion of the probability: from its lowest bit up, OR halves the distance to one, AND the distance to zero.
        let mut word = 0;
        let mut bit = 0;
        while bit < 4 {
            let random = self.next();
            word = if sixteenths >> bit & 1 == 1 { word | random } else { word & random };
            bit += 1;
        }
        word
    }
}

/// What static RAM cells hold after the supply was off for `cycles`: each cell forgets with a probability that grows with the time, and
/// then comes up in its preferred state, or, for some cells, in a random one.
pub(super) fn decay(ram: &mut [u8], seed: u64, boot: u64, cycles: u64) {
    // Time constant about 0.2 s at room temperature: a millisecond keeps nearly everything, a second nothing.
    let sixteenths = match cycles {
        0 => return,
        c if c < 16_000 => 0,
        c if c < 160_000 => 1,
        c if c < 800_000 => 3,
        c if c < 1_600_000 => 6,
        c if c < 3_200_000 => 10,
        c if c < 8_000_000 => 13,
        c if c < 16_000_000 => 15,
        _ => 16,
    };
    let mut lost = Noise::new(seed_of(&[seed, boot, 0x5241]));
    let mut noise = Noise::new(seed_of(&[seed, boot, 0x5242]));
    let cell = mix(seed ^ 0x5243);
    for (index, chunk) in ram.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let mask = if sixteenths == 0 { lost.biased(1) & lost.biased(1) } else { lost.biased(sixteenths) };
        let (random, chooser) = (noise.next(), noise.next() & noise.next());
        let preferred = mix(cell ^ index as u64);
        let up = preferred ^ (random & chooser);
        let old = u64::from_le_bytes(*chunk);
        *chunk = (old & !mask | up & mask).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probability_is_what_it_says() {
        for sixteenths in 0..=16 {
            let mut noise = Noise::new(7);
            let ones: u32 = (0..1000).map(|_| noise.biased(sixteenths).count_ones()).sum();
            let expected = 64_000 / 16 * sixteenths;
            assert!(ones.abs_diff(expected) < 1000, "{sixteenths}/16 gave {ones} of 64000");
        }
    }

    #[test]
    fn short_off_keeps_most_and_long_off_scrambles() {
        let kept = |cycles| {
            let mut ram = [0x5A_u8; 16384];
            decay(&mut ram, 3, 1, cycles);
            ram.iter().map(|byte| (!(byte ^ 0x5A)).count_ones()).sum::<u32>()
        };
        let all = 16384 * 8;
        assert!(kept(1_000) > all * 98 / 100);
        assert!(kept(100_000_000) < all * 55 / 100, "half of the bits agree by chance");
        assert!(kept(1_000) > kept(1_000_000) && kept(1_000_000) > kept(10_000_000));
    }
}
