//! The generator of the reference inputs: splitmix64, of whose outputs the upper 24 bits count.

/// A fresh stream for one seed; see [`fill`] and [`labels`].
#[derive(Debug, Clone)]
pub struct Generator {
    state: u64,
}

impl Generator {
    /// The stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 24 bits.
    pub fn next_24(&mut self) -> u32 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as u32
    }

    /// The next s = 2·k·2⁻²⁴ − 1 in −1..1, exact in f32 and f64.
    pub fn next_signed(&mut self) -> f64 {
        2.0 * (f64::from(self.next_24()) / f64::from(1u32 << 24)) - 1.0
    }
}

/// How [`fill`] turns s into a value: `offset + scale · (|s| or s)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fill {
    /// Factor.
    pub scale: f64,
    /// Summand.
    pub offset: f64,
    /// Whether |s| is taken.
    pub absolute: bool,
}

/// `n` values of a fresh stream, in f64 with one multiplication and one addition each.
#[must_use]
pub fn fill(seed: u64, n: usize, fill: Fill) -> Vec<f64> {
    let mut generator = Generator::new(seed);
    let value = |s: f64| fill.offset + fill.scale * if fill.absolute { s.abs() } else { s };
    (0..n).map(|_| value(generator.next_signed())).collect()
}

/// `n` labels below `n_classes` of a fresh stream.
#[must_use]
pub fn labels(seed: u64, n: usize, n_classes: usize) -> Vec<usize> {
    let mut generator = Generator::new(seed);
    (0..n)
        .map(|_| (generator.next_24() as usize * n_classes) >> 24)
        .collect()
}
