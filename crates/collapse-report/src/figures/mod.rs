//! Figures as SVG that follow the reader's light or dark theme.

mod curves;
mod histograms;
mod layout;
mod lines;
mod points;
mod scale;
mod scaling;
mod svg;

use collapse_results::Results;

pub use histograms::score_histograms;
pub use lines::{LineAxes, LinePanel, line_figure};
use svg::{Canvas, WIDTH};

use crate::lineup::Lineup;
use crate::render::escape;

/// Colours and type of every figure. The palette stays apart for the common forms of colour
/// blindness, and series differ by marker too.
pub(crate) const FIGURE_STYLE: &str = "\
.cf{--bg:#fff;--ink:#1c2024;--soft:#5c6670;--grid:#e8ebed;--c0:#0069a8;--c1:#d1541a;--c2:#0a8a66;--c3:#a3508b;--c4:#a87600;--c5:#4a9fd4;--c6:#5f6b76;--c7:#6f4fc0;\
font-family:system-ui,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}\
@media (prefers-color-scheme:dark){.cf{--bg:#1b1f23;--ink:#e6e9ec;--soft:#9aa5af;--grid:#2c3238;--c0:#5bb4f0;--c1:#ff8f5e;--c2:#3fcf9f;--c3:#e58fce;--c4:#f0c04a;--c5:#b4e1ff;--c6:#b4bec8;--c7:#b39dff}}\
.cf text{fill:var(--ink);font-size:12px}.cf .tk{fill:var(--soft);font-size:11px}.cf .lb{fill:var(--soft)}.cf .ti{font-weight:600;font-size:13px}\
.cf .gr{stroke:var(--grid);fill:none}.cf .ax{stroke:var(--soft);fill:none}.cf .bg{fill:var(--bg)}\
.cf .s0{color:var(--c0)}.cf .s1{color:var(--c1)}.cf .s2{color:var(--c2)}.cf .s3{color:var(--c3)}.cf .s4{color:var(--c4)}.cf .s5{color:var(--c5)}.cf .s6{color:var(--c6)}.cf .s7{color:var(--c7)}\
.cf .m{fill:currentColor;stroke:var(--bg);stroke-width:.8}.cf .f{fill:currentColor;opacity:.35;stroke:none}\
.cf .one{stroke:currentColor;fill:none;stroke-width:1;opacity:.38}.cf .mean{stroke:currentColor;fill:none;stroke-width:2.4;stroke-linejoin:round}\
.cf .out{stroke:currentColor;fill:none;stroke-width:1.7;stroke-linejoin:round}.cf .faint{opacity:.3}";

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Identifier, also its file name, e.g. `nc-epochs`.
    pub id: String,
    /// Title.
    pub title: String,
    /// What is drawn and from how many runs.
    pub caption: String,
    height: f64,
    body: String,
}

impl Figure {
    fn new(id: &str, title: &str, caption: String, height: f64, canvas: Canvas) -> Self {
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            caption,
            height,
            body: canvas.body,
        }
    }

    /// An `<svg>` for a page that brings the style sheet.
    pub fn inline(&self) -> String {
        format!(
            "<svg class=\"cf\" viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{}\">{}</svg>",
            self.height,
            escape(&self.title),
            self.body
        )
    }

    /// A file of its own, with title, background and style sheet.
    pub fn standalone(&self) -> String {
        let title = escape(&self.title);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"cf\" width=\"{WIDTH}\" height=\"{h:.0}\" \
             viewBox=\"0 -34 {WIDTH} {h:.0}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>\
             <desc>{}</desc><style>{FIGURE_STYLE}</style>\
             <rect class=\"bg\" x=\"0\" y=\"-34\" width=\"{WIDTH}\" height=\"{h:.0}\" rx=\"8\"/>\
             <text x=\"14\" y=\"-10\" style=\"font-size:15px;font-weight:600\">{title}</text>{}</svg>\n",
            escape(&self.caption),
            self.body,
            h = self.height + 34.0,
        )
    }
}

/// Every figure that the results have numbers for: accuracy and detection over training, NC over epochs, AUROC against NC1 over
/// all and within groups, AUROC of every seed, and a histogram figure for each score that has counts.
#[must_use]
pub fn figures(results: &Results) -> Vec<Figure> {
    of_lineup(&Lineup::of(results))
}

pub(crate) fn of_lineup(lineup: &Lineup<'_>) -> Vec<Figure> {
    let single = [
        points::strip(lineup),
        curves::progress(lineup),
        curves::nc_over_epochs(lineup),
        points::auroc_against_nc1(lineup),
        points::auroc_against_nc1_within(lineup),
    ];
    let mut drawn: Vec<Figure> = single.into_iter().flatten().collect();
    drawn.extend(histograms::histograms(lineup));
    drawn
}
