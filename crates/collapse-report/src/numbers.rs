//! Numbers in words: one typesetting for tables, figures and evidence.
//!
//! A minus is the sign `−`, an explicit plus stands where a difference is meant, and what would
//! be all zeros or a row of digits is written with a power of ten.

/// Digits from which a number is written with a power of ten.
const LARGE: f64 = 1e15;

/// `value` with so many decimals.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    typeset(plain(value, decimals))
}

/// `value` with so many decimals and its sign.
pub(crate) fn signed(value: f64, decimals: usize) -> String {
    let text = plain(value, decimals);
    let zero = text.bytes().all(|b| matches!(b, b'0' | b'.' | b'-'));
    match zero || text.starts_with('-') {
        true => typeset(text),
        false => format!("+{}", typeset(text)),
    }
}

/// `value` as a mantissa and a power of ten, e.g. `1e−21`; 0 as `0`.
pub(crate) fn scientific(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    typeset(format!("{value:e}"))
}

/// A p-value; what is too small for three decimals is named as such.
pub(crate) fn p_value(value: f64) -> String {
    match value < 0.001 {
        true => "p < 0.001".to_owned(),
        false => format!("p = {value:.3}"),
    }
}

/// The smallest p-value that a permutation can give.
pub(crate) fn smallest_p(value: f64) -> String {
    match value < 0.005 {
        true => typeset(format!("{value:.1e}")),
        false => format!("{value:.4}")
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned(),
    }
}

/// An interval of differences.
pub(crate) fn signed_range((low, high): (f64, f64), decimals: usize) -> String {
    format!("{} to {}", signed(low, decimals), signed(high, decimals))
}

fn plain(value: f64, decimals: usize) -> String {
    let size = value.abs();
    if size != 0.0 && size < 0.5 * 10f64.powi(-(decimals as i32)) {
        return format!("{value:.1e}");
    }
    if size >= LARGE || size >= 1e7 && decimals > 0 {
        return format!("{value:.2e}");
    }
    format!("{value:.decimals$}")
}

/// ASCII digits with the sign of a minus.
pub(crate) fn typeset(ascii: String) -> String {
    ascii.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_set_alike_and_lengths_are_bounded() {
        assert_eq!(fixed(-1.25, 1), "−1.2");
        assert_eq!(signed(1.25, 1), "+1.2");
        assert_eq!(signed(-1.25, 1), "−1.2");
        assert_eq!(signed(0.0, 2), "0.00");
        assert_eq!(fixed(1e-21, 2), "1.0e−21");
        assert_eq!(fixed(1e300, 0), "1.00e300");
        assert_eq!(scientific(1e-21), "1e−21");
        assert_eq!(scientific(0.0), "0");
        assert_eq!(signed_range((-1.0, 2.0), 0), "−1 to +2");
        assert_eq!(p_value(1e-9), "p < 0.001");
        assert_eq!(smallest_p(1.0), "1");
        assert_eq!(smallest_p(0.25), "0.25");
        assert_eq!(smallest_p(0.0625), "0.0625");
        assert_eq!(smallest_p(6.1e-5), "6.1e−5");
    }
}
