//! One damaged copy.

use collapse_random::Stream;

/// A copy of `original` (not empty) with one to four places damaged; the seed decides where and how.
#[must_use]
pub fn mutate(original: &[u8], seed: u64) -> Vec<u8> {
    let mut draw = Stream::new(seed, "file damage", 0);
    let mut bytes = original.to_vec();
    for _ in 0..=draw.below(4) {
        damage(&mut bytes, &mut draw);
    }
    bytes
}

fn damage(bytes: &mut Vec<u8>, draw: &mut Stream) {
    let n = bytes.len();
    if n == 0 {
        return;
    }
    // Headers and footers steer the readers, so half of the damage falls on the first or last 200 bytes.
    let at = match draw.below(4) {
        0 => draw.below(n.min(200)),
        1 => n - 1 - draw.below(n.min(200)),
        _ => draw.below(n),
    };
    let word = at..(at + 4).min(n);
    match draw.below(8) {
        0 | 1 => bytes[at] ^= 1 << draw.below(8),
        2 => bytes[at] = draw.bits() as u8,
        3 => bytes.truncate(at.max(1)),
        4 => bytes[word].fill(0xff),
        5 => bytes[word].fill(if draw.below(2) == 0 { 0x7f } else { 0 }),
        6 => {
            let from = draw.below(n);
            let length = draw.below(64).min(n - from).min(n - at);
            bytes.copy_within(from..from + length, at);
        }
        _ if bytes[at].is_ascii_digit() => bytes[at] = b'0' + draw.below(10) as u8,
        _ => bytes.insert(at, draw.bits() as u8),
    }
}
