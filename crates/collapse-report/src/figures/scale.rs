//! Scales: from values to positions along an axis, and the ticks on it.
//!
//! Any finite values make a scale of finite ends, and any scale a bounded number of ticks.

use collapse_results::SymmetricLog;

use crate::numbers::typeset;

/// Largest end of a linear scale.
const FARTHEST: f64 = 1e300;

/// How values become positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Linear,
    Log,
    /// log(1 + x), for epochs that start at 0.
    LogOnePlus,
    /// log₂ x with powers of two as ticks, for widths and batches.
    LogTwo,
    /// Linear around a centre, logarithmic far from it.
    SymmetricLog(SymmetricLog),
}

impl Kind {
    fn needs_positive(self) -> bool {
        matches!(self, Kind::Log | Kind::LogTwo)
    }
}

/// A scale over `low..=high`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) kind: Kind,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// The largest value drawn: an epoch axis ends with a tick there.
    largest: f64,
}

impl Scale {
    /// A scale from `low` to `high` exactly, widened where they are one value.
    pub(crate) fn over(kind: Kind, low: f64, high: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self {
            kind,
            low,
            high,
            largest: high,
        }
    }

    /// A scale around `values`, with a little room; `None` when there is no usable value.
    pub(crate) fn around(kind: Kind, values: impl Iterator<Item = f64>) -> Option<Self> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|v| v.is_finite() && (!kind.needs_positive() || *v > 0.0)) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            return None;
        }
        let bare = Self::over(kind, low, high);
        let (a, b) = (bare.transform(low), bare.transform(high));
        let room = match kind {
            Kind::Linear => ((b - a) * 0.06).max(1e-9 + 0.001 * a.abs()),
            Kind::Log => ((b - a) * 0.06).max(0.08),
            Kind::LogTwo => ((b - a) * 0.06).max(0.2),
            Kind::LogOnePlus => ((b - a) * 0.03).max(0.02),
            Kind::SymmetricLog(_) => ((b - a) * 0.03).max(0.05),
        };
        Some(Self {
            low: bare.invert(a - room),
            high: bare.invert(b + room),
            largest: high,
            ..bare
        })
    }

    fn transform(&self, value: f64) -> f64 {
        match self.kind {
            Kind::Linear => value,
            Kind::Log => value.log10(),
            Kind::LogTwo => value.log2(),
            Kind::LogOnePlus => value.ln_1p(),
            Kind::SymmetricLog(axis) => axis.position(value),
        }
    }

    /// The value at a position, kept where it and its transform are finite.
    fn invert(&self, position: f64) -> f64 {
        match self.kind {
            Kind::Linear => position.clamp(-FARTHEST, FARTHEST),
            Kind::Log => 10f64.powf(position).clamp(f64::MIN_POSITIVE, FARTHEST),
            Kind::LogTwo => position.exp2().clamp(f64::MIN_POSITIVE, FARTHEST),
            Kind::LogOnePlus => position.exp_m1().min(FARTHEST),
            Kind::SymmetricLog(axis) => axis.value(position).clamp(-FARTHEST, FARTHEST),
        }
    }

    /// Position in 0..=1; values beyond the ends are put on them.
    pub(crate) fn unit(&self, value: f64) -> f64 {
        if self.kind.needs_positive() && value <= 0.0 {
            return 0.0;
        }
        let (a, b) = (self.transform(self.low), self.transform(self.high));
        ((self.transform(value) - a) / (b - a)).clamp(0.0, 1.0)
    }

    /// Values and labels of at most about `most` ticks.
    pub(crate) fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        let most = most.max(1);
        match self.kind {
            Kind::Linear => self.linear_ticks(most),
            Kind::Log => self.log_ticks(most),
            Kind::LogTwo => self.power_of_two_ticks(most),
            Kind::LogOnePlus => self.epoch_ticks(most),
            Kind::SymmetricLog(axis) => self.symmetric_ticks(axis, most),
        }
    }

    fn linear_ticks(&self, most: usize) -> Vec<(f64, String)> {
        let rough = (self.high - self.low) / most as f64;
        let base = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|m| m * base)
            .find(|step| *step >= rough)
            .unwrap_or(10.0 * base);
        let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
        let first = (self.low / step).ceil();
        (0..=most)
            .map(|i| (first + i as f64) * step)
            .filter(|value| *value <= self.high)
            .map(|value| {
                let label = if step >= 1e5 {
                    format!("{value:.0e}")
                } else {
                    format!("{value:.decimals$}")
                };
                (value, typeset(label))
            })
            .collect()
    }

    fn log_ticks(&self, most: usize) -> Vec<(f64, String)> {
        let (low, high) = (self.low.log10(), self.high.log10());
        let decades: Vec<i32> = (low.ceil() as i32..=high.floor() as i32).collect();
        if decades.len() >= 2 {
            let stride = decades.len().div_ceil(most) as i32;
            return decades
                .into_iter()
                .filter(|d| d.rem_euclid(stride) == 0)
                .map(|d| (10f64.powi(d), power_of_ten(d)))
                .collect();
        }
        let multiples: &[f64] = if high - low > 0.6 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0]
        };
        (low.floor() as i32..=high.floor() as i32)
            .flat_map(|d| multiples.iter().map(move |m| (*m, d)))
            .map(|(m, d)| (m * 10f64.powi(d), m, d))
            .filter(|(value, _, _)| *value >= self.low && *value <= self.high)
            .map(|(value, m, d)| (value, short_decimal(m, d)))
            .collect()
    }

    fn power_of_two_ticks(&self, most: usize) -> Vec<(f64, String)> {
        let (low, high) = (
            self.low.log2().ceil() as i32,
            self.high.log2().floor() as i32,
        );
        let stride = usize::try_from(high - low + 1)
            .unwrap_or(0)
            .div_ceil(most)
            .max(1);
        (low..=high)
            .step_by(stride)
            .map(|exponent| {
                let value = f64::from(exponent).exp2();
                let label = match (0..=30).contains(&exponent) {
                    true => format!("{value}"),
                    false => power("2", exponent),
                };
                (value, label)
            })
            .collect()
    }

    /// The first epoch and the last one drawn; between them 1, 2, 5, 10, … where there is room.
    fn epoch_ticks(&self, most: usize) -> Vec<(f64, String)> {
        let round = |i: i32| [1.0, 2.0, 5.0][i as usize % 3] * 10f64.powi(i / 3);
        let inside = |epoch: &f64| *epoch >= self.low - 1e-9 && *epoch < self.largest;
        let mut candidates = std::iter::once(0.0)
            .chain((0..18).map(round))
            .filter(inside);
        let first = candidates.next();
        let mut between: Vec<f64> = candidates.collect();
        let mut ticks = vec![self.largest];
        let apart = |a: f64, b: f64| self.unit(a) - self.unit(b) >= 0.8 / most as f64;
        while let Some(epoch) = between.pop() {
            let above = ticks[ticks.len() - 1];
            if apart(above, epoch) && first.is_some_and(|first| apart(epoch, first)) {
                ticks.push(epoch);
            }
        }
        ticks.extend(first);
        let label = |epoch: f64| match epoch.fract() == 0.0 && epoch < 1e7 {
            true => format!("{epoch}"),
            false => typeset(format!("{epoch:.1e}")),
        };
        let labelled = ticks.into_iter().rev();
        labelled.map(|epoch| (epoch, label(epoch))).collect()
    }

    /// Values of two digits, about equally far apart on the axis.
    fn symmetric_ticks(&self, axis: SymmetricLog, most: usize) -> Vec<(f64, String)> {
        let (low, high) = (axis.position(self.low), axis.position(self.high));
        let mut ticks: Vec<f64> = (0..=most)
            .map(|i| axis.value(low + (high - low) * i as f64 / most as f64))
            .map(two_digits)
            .filter(|value| (self.low..=self.high).contains(value))
            .collect();
        ticks.dedup();
        let label = |value: f64| match value.abs() >= 1e5 || value != 0.0 && value.abs() < 1e-3 {
            true => typeset(format!("{value:e}")),
            false => typeset(format!("{value}")),
        };
        ticks.into_iter().map(|v| (v, label(v))).collect()
    }
}

/// Rounded to two significant digits, by way of the decimal text, so that it prints as such.
fn two_digits(value: f64) -> f64 {
    format!("{value:.1e}").parse().unwrap_or(value)
}

/// `multiple`·10^`exponent` without trailing zeros.
fn short_decimal(multiple: f64, exponent: i32) -> String {
    let value = multiple * 10f64.powi(exponent);
    if !(-6..=6).contains(&exponent) {
        return typeset(format!("{multiple}e{exponent}"));
    }
    let decimals = (1 - exponent).max(0) as usize;
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn power_of_ten(exponent: i32) -> String {
    match exponent {
        0 => "1".into(),
        1 => "10".into(),
        2 => "100".into(),
        -1 => "0.1".into(),
        -2 => "0.01".into(),
        _ => power("10", exponent),
    }
}

fn power(base: &str, exponent: i32) -> String {
    let digits: String = exponent
        .to_string()
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            '0' => '⁰',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            '4' => '⁴',
            '5' => '⁵',
            '6' => '⁶',
            '7' => '⁷',
            '8' => '⁸',
            _ => '⁹',
        })
        .collect();
    format!("{base}{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXIS: SymmetricLog = SymmetricLog {
        centre: 1500.0,
        unit: 100.0,
    };

    #[test]
    fn any_values_make_finite_scales_with_few_ticks() {
        let kinds = [
            Kind::Linear,
            Kind::Log,
            Kind::LogOnePlus,
            Kind::LogTwo,
            Kind::SymmetricLog(AXIS),
        ];
        let extremes = [0.0, 1e-307, 1e-40, 1.0, 1e40, 1e300];
        for kind in kinds {
            for low in extremes {
                for high in extremes {
                    let Some(scale) = Scale::around(kind, [low, high].into_iter()) else {
                        continue;
                    };
                    assert!(scale.low.is_finite() && scale.high.is_finite(), "{scale:?}");
                    let ticks = scale.ticks(7);
                    assert!(ticks.len() <= 30, "{} ticks of {scale:?}", ticks.len());
                    for (value, label) in ticks {
                        let place = scale.unit(value);
                        assert!(
                            (0.0..=1.0).contains(&place),
                            "{value} at {place}: {scale:?}"
                        );
                        assert!(label.chars().count() <= 24, "{label}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_epoch_axis_ends_with_its_last_epoch() {
        for last in [5.0, 8.0, 60.0, 350.0] {
            let scale = Scale::around(Kind::LogOnePlus, [0.0, last].into_iter()).expect("values");
            let ticks = scale.ticks(7);
            let labels: Vec<&str> = ticks.iter().map(|(_, label)| label.as_str()).collect();
            assert_eq!(
                labels.last(),
                Some(&format!("{last}").as_str()),
                "{labels:?}"
            );
            assert_eq!(labels.first(), Some(&"0"), "{labels:?}");
        }
    }
}
