//! A small SVG canvas: panels with axes, marks and a legend that wraps.
//!
//! Drawn here and not by a chart library because colours must follow the reader's theme: marks
//! carry classes, and one style sheet gives them their colours in light and dark.

use std::fmt::Write;

use crate::render::escape;

/// Width of every figure in SVG units.
pub(crate) const WIDTH: f64 = 760.0;

/// How values become positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Linear,
    Log,
    /// log(1 + x), for epochs that start at 0.
    LogOnePlus,
    /// log₂ x with powers of two as ticks, for widths and batches.
    LogTwo,
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
}

impl Scale {
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
        let bare = Self { kind, low, high };
        let (a, b) = (bare.transform(low), bare.transform(high));
        let room = match kind {
            Kind::Linear => ((b - a) * 0.06).max(1e-9 + 0.001 * a.abs()),
            Kind::Log => ((b - a) * 0.06).max(0.08),
            Kind::LogTwo => ((b - a) * 0.06).max(0.2),
            Kind::LogOnePlus => ((b - a) * 0.03).max(0.02),
        };
        Some(Self {
            kind,
            low: bare.invert(a - room),
            high: bare.invert(b + room),
        })
    }

    fn transform(&self, value: f64) -> f64 {
        match self.kind {
            Kind::Linear => value,
            Kind::Log => value.log10(),
            Kind::LogTwo => value.log2(),
            Kind::LogOnePlus => value.ln_1p(),
        }
    }

    fn invert(&self, position: f64) -> f64 {
        match self.kind {
            Kind::Linear => position,
            Kind::Log => 10f64.powf(position),
            Kind::LogTwo => position.exp2(),
            Kind::LogOnePlus => position.exp_m1(),
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
        match self.kind {
            Kind::Linear => self.linear_ticks(most),
            Kind::Log => self.log_ticks(most),
            Kind::LogTwo => self.power_of_two_ticks(most),
            Kind::LogOnePlus => self.epoch_ticks(most),
        }
    }

    fn linear_ticks(&self, most: usize) -> Vec<(f64, String)> {
        let rough = (self.high - self.low) / most.max(1) as f64;
        let base = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|m| m * base)
            .find(|step| *step >= rough)
            .unwrap_or(10.0 * base);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last)
            .map(|i| {
                let value = i as f64 * step;
                let label = if step >= 1e5 {
                    format!("{value:.0e}")
                } else {
                    format!("{value:.decimals$}")
                };
                (value, label.replace('-', "−"))
            })
            .collect()
    }

    fn log_ticks(&self, most: usize) -> Vec<(f64, String)> {
        let (low, high) = (self.low.log10(), self.high.log10());
        let decades: Vec<i32> = (low.ceil() as i32..=high.floor() as i32).collect();
        if decades.len() >= 2 {
            let stride = decades.len().div_ceil(most.max(1)) as i32;
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
            .flat_map(|d| multiples.iter().map(move |m| (m * 10f64.powi(d), d)))
            .filter(|(value, _)| *value >= self.low && *value <= self.high)
            .map(|(value, d)| {
                let decimals = (1 - d).max(0) as usize;
                let text = format!("{value:.decimals$}");
                let text = match text.contains('.') {
                    true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                    false => text,
                };
                (value, text)
            })
            .collect()
    }

    fn power_of_two_ticks(&self, most: usize) -> Vec<(f64, String)> {
        let (low, high) = (
            self.low.log2().ceil() as i32,
            self.high.log2().floor() as i32,
        );
        let stride = usize::try_from(high - low + 1)
            .unwrap_or(0)
            .div_ceil(most.max(1))
            .max(1);
        (low..=high)
            .step_by(stride)
            .map(|exponent| {
                (
                    f64::from(exponent).exp2(),
                    format!("{}", f64::from(exponent).exp2()),
                )
            })
            .collect()
    }

    fn epoch_ticks(&self, most: usize) -> Vec<(f64, String)> {
        let all = [0, 1, 2, 5, 10, 20, 50, 100, 200, 350, 1000];
        let inside: Vec<i32> = all
            .into_iter()
            .filter(|e| f64::from(*e) >= self.low - 1e-9 && f64::from(*e) <= self.high)
            .collect();
        let stride = inside.len().div_ceil(most.max(1)).max(1);
        inside
            .iter()
            .step_by(stride)
            .map(|e| (f64::from(*e), e.to_string()))
            .collect()
    }
}

fn power_of_ten(exponent: i32) -> String {
    match exponent {
        0 => return "1".into(),
        1 => return "10".into(),
        2 => return "100".into(),
        -1 => return "0.1".into(),
        -2 => return "0.01".into(),
        _ => {}
    }
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
    format!("10{digits}")
}

/// A rectangle with a scale on each side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panel {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) x: Scale,
    pub(crate) y: Scale,
}

impl Panel {
    pub(crate) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (
            self.left + self.width * self.x.unit(x),
            self.top + self.height * (1.0 - self.y.unit(y)),
        )
    }
}

/// SVG elements being written.
#[derive(Default)]
pub(crate) struct Canvas {
    pub(crate) body: String,
}

impl Canvas {
    pub(crate) fn raw(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.body.write_fmt(element);
    }

    pub(crate) fn text(&mut self, x: f64, y: f64, anchor: &str, class: &str, words: &str) {
        let words = escape(words);
        self.raw(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{words}</text>"
        ));
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        self.raw(format_args!(
            "<path class=\"{class}\" d=\"M{:.1} {:.1}L{:.1} {:.1}\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    pub(crate) fn path(&mut self, points: &[(f64, f64)], class: &str) {
        let mut d = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let _ = write!(d, "{}{x:.1} {y:.1}", if index == 0 { "M" } else { "L" });
        }
        self.raw(format_args!("<path class=\"{class}\" d=\"{d}\"/>"));
    }

    /// A marker of series `index`: shape and colour both tell it.
    pub(crate) fn marker(&mut self, index: usize, (x, y): (f64, f64), r: f64, title: &str) {
        let title = if title.is_empty() {
            String::new()
        } else {
            format!("<title>{}</title>", escape(title))
        };
        let color = index % COLORS;
        let d = match index % 6 {
            0 => {
                self.raw(format_args!(
                    "<circle class=\"m s{color}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r:.1}\">{title}</circle>"
                ));
                return;
            }
            1 => polygon(&[
                (x - 0.9 * r, y - 0.9 * r),
                (x + 0.9 * r, y - 0.9 * r),
                (x + 0.9 * r, y + 0.9 * r),
                (x - 0.9 * r, y + 0.9 * r),
            ]),
            2 => polygon(&[
                (x, y - 1.2 * r),
                (x + 1.1 * r, y + 0.8 * r),
                (x - 1.1 * r, y + 0.8 * r),
            ]),
            3 => polygon(&[
                (x, y - 1.3 * r),
                (x + 1.3 * r, y),
                (x, y + 1.3 * r),
                (x - 1.3 * r, y),
            ]),
            4 => polygon(&[
                (x, y + 1.2 * r),
                (x + 1.1 * r, y - 0.8 * r),
                (x - 1.1 * r, y - 0.8 * r),
            ]),
            _ => polygon(&[
                (x - 1.2 * r, y - 0.4 * r),
                (x, y - 1.2 * r),
                (x + 1.2 * r, y - 0.4 * r),
                (x + 0.7 * r, y + r),
                (x - 0.7 * r, y + r),
            ]),
        };
        self.raw(format_args!(
            "<path class=\"m s{color}\" d=\"{d}\">{title}</path>"
        ));
    }

    /// Grid, frame, ticks and labels of a panel.
    pub(crate) fn frame(&mut self, panel: &Panel, title: &str, x_label: &str, y_label: &str) {
        let bottom = panel.top + panel.height;
        for (value, label) in panel.x.ticks((panel.width / 40.0) as usize) {
            let (x, _) = panel.at(value, panel.y.low);
            self.line((x, panel.top), (x, bottom), "gr");
            self.text(x, bottom + 16.0, "middle", "tk", &label);
        }
        if !y_label.is_empty() {
            for (value, label) in panel.y.ticks((panel.height / 32.0) as usize) {
                let (_, y) = panel.at(panel.x.low, value);
                self.line((panel.left, y), (panel.left + panel.width, y), "gr");
                self.text(panel.left - 7.0, y + 4.0, "end", "tk", &label);
            }
        }
        self.line(
            (panel.left, bottom),
            (panel.left + panel.width, bottom),
            "ax",
        );
        self.text(panel.left, panel.top - 9.0, "start", "ti", title);
        if !x_label.is_empty() {
            self.text(
                panel.left + panel.width / 2.0,
                bottom + 34.0,
                "middle",
                "lb",
                x_label,
            );
        }
        if !y_label.is_empty() && y_label != " " {
            let (x, y) = (panel.left - 46.0, panel.top + panel.height / 2.0);
            let words = escape(y_label);
            self.raw(format_args!(
                "<text transform=\"translate({x:.1} {y:.1}) rotate(-90)\" text-anchor=\"middle\" class=\"lb\">{words}</text>"
            ));
        }
    }

    /// Series with markers, wrapped to the figure's width; returns the height used.
    pub(crate) fn legend(&mut self, top: f64, entries: &[(usize, String)]) -> f64 {
        let (mut x, mut y) = (14.0, top + 14.0);
        for (index, label) in entries {
            let width = 30.0 + 7.2 * label.chars().count() as f64;
            if x + width > WIDTH - 6.0 && x > 14.0 {
                x = 14.0;
                y += 20.0;
            }
            self.marker(*index, (x + 6.0, y - 4.0), 4.5, "");
            self.text(x + 17.0, y, "start", "lg", label);
            x += width;
        }
        y - top + 8.0
    }
}

fn polygon(points: &[(f64, f64)]) -> String {
    let mut d = String::new();
    for (index, (x, y)) in points.iter().enumerate() {
        let _ = write!(d, "{}{x:.1} {y:.1}", if index == 0 { "M" } else { "L" });
    }
    d.push('z');
    d
}

/// Number of series colours in the style sheet.
pub(crate) const COLORS: usize = 8;
