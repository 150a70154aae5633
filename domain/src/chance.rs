//! Repeatable chance for tests: a printed seed, and the same numbers for the same seed.

/// A small generator (xorshift64*), good enough to vary tests.
pub struct Chance(u64);

impl Chance {
    /// Seeded by `TILL_SEED`, or by the test's name; the seed is printed, and cargo shows it when the test fails.
    pub fn new(test: &str) -> Self {
        let named = test
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        let seed = option_env!("TILL_SEED").and_then(|seed| seed.parse().ok()).unwrap_or(named).max(1);
        println!("{test}: seed {seed}");
        Chance(seed)
    }

    /// A number from 0 to `end` − 1.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}
