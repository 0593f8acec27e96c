//! Neural collapse, accuracy and detection over epochs.

use collapse_results::{EpochRecord, Geometry};

use super::Figure;
use super::layout::Grid;
use super::scale::{Kind, Scale};
use super::svg::{COLORS, Canvas, Panel, WIDTH};
use crate::lineup::{Lineup, Member, OF_THE_HEAD};

type Measure = (&'static str, fn(&Geometry) -> f64);

const PANELS: [Measure; 6] = [
    ("NC1: within-class scatter", |g| g.nc1),
    ("NC2: norms of class means", |g| g.nc2_equinorm_means),
    ("NC2: angles of class means", |g| g.nc2_equiangular_means),
    ("NC2: angles of classifier", |g| {
        g.nc2_equiangular_classifier
    }),
    ("NC3: self-duality", |g| g.nc3),
    ("NC4: nearest mean disagrees", |g| g.nc4),
];

/// (epoch, value) of one run.
type Curve = Vec<(f64, f64)>;

/// Curves of every seed of a group.
struct Bundle {
    series: usize,
    curves: Vec<Curve>,
}

impl Bundle {
    fn of(member: &Member<'_>, pick: impl Fn(&EpochRecord) -> Option<f64>) -> Self {
        let curves = member.runs.iter().map(|(run, _)| -> Curve {
            let measured = run.history.iter();
            measured
                .filter_map(|r| Some((r.epoch as f64, pick(r)?)))
                .collect()
        });
        Self {
            series: member.series,
            curves: curves.filter(|curve| !curve.is_empty()).collect(),
        }
    }

    /// Mean over the seeds at each epoch that all of them have.
    fn mean(&self) -> Curve {
        let Some(first) = self.curves.first() else {
            return Vec::new();
        };
        let at = |curve: &Curve, epoch: f64| {
            let found = curve.iter().find(|(e, _)| *e == epoch);
            found.map(|(_, value)| *value)
        };
        first
            .iter()
            .filter_map(|&(epoch, _)| {
                let values: Option<Vec<f64>> =
                    self.curves.iter().map(|curve| at(curve, epoch)).collect();
                let values = values?;
                Some((epoch, values.iter().sum::<f64>() / values.len() as f64))
            })
            .collect()
    }

    fn draw(&self, canvas: &mut Canvas, panel: &Panel) {
        let color = self.series % COLORS;
        let place = |curve: &Curve| -> Vec<(f64, f64)> {
            curve.iter().map(|(x, y)| panel.at(*x, *y)).collect()
        };
        if self.curves.len() > 1 {
            for curve in &self.curves {
                canvas.path(&place(curve), &format!("one s{color}"));
            }
        }
        let mean = place(&self.mean());
        canvas.path(&mean, &format!("mean s{color}"));
        if let Some(end) = mean.last() {
            canvas.marker(self.series, *end, 4.0, "");
        }
    }
}

fn of_geometry(pick: fn(&Geometry) -> f64) -> impl Fn(&EpochRecord) -> Option<f64> {
    move |record| record.geometry.as_ref().map(pick)
}

/// Accuracy and AUROC against training, the cost that both kinds of network share.
pub(super) fn progress(lineup: &Lineup<'_>) -> Option<Figure> {
    let shown: Vec<&Member<'_>> = lineup.finished().collect();
    let mut panels: Vec<(String, Vec<Bundle>)> = Vec::new();
    let mut add = |title: String, pick: &dyn Fn(&EpochRecord) -> Option<f64>| {
        let bundles = shown
            .iter()
            .map(|m| Bundle::of(m, |r| pick(r).map(|v| 100.0 * v)));
        let bundles: Vec<Bundle> = bundles.filter(|b| !b.curves.is_empty()).collect();
        if !bundles.is_empty() {
            panels.push((title, bundles));
        }
    };
    add("Validation accuracy (%)".to_owned(), &|record| {
        record.validation_accuracy
    });
    for set in &lineup.averaged {
        add(format!("AUROC {set} (%)"), &|record| {
            let found = record.auroc.iter().find(|(name, _)| name == set);
            found.map(|(_, value)| *value)
        });
    }
    if panels.is_empty() {
        return None;
    }
    let mut canvas = Canvas::default();
    let legend: Vec<(usize, String)> = shown.iter().map(|m| (m.series, m.label.clone())).collect();
    let grid = two_columns(&mut canvas, &legend);
    let n = panels.len();
    for (index, (title, bundles)) in panels.iter().enumerate() {
        let values = || bundles.iter().flat_map(|b| b.curves.iter().flatten());
        let x = Scale::around(Kind::LogOnePlus, values().map(|p| p.0))?;
        let y = Scale::around(Kind::Linear, values().map(|p| p.1))?;
        let panel = grid.panel(index, x, y);
        let last_row = index + grid.columns >= n;
        canvas.frame(&panel, title, if last_row { "epoch" } else { "" }, " ");
        for bundle in bundles {
            bundle.draw(&mut canvas, &panel);
        }
    }
    let caption = format!(
        "Accuracy on the validation split and AUROC of Gaussians on the features, where measured; \
         the epoch axis as log(1 + epoch). Thin: one line a seed; thick: their mean, with a marker \
         at the end of training. Every epoch of a network takes the same time. {}",
        lineup.made_from_sets()
    );
    Some(Figure::new(
        "progress",
        "Accuracy and detection over training",
        caption,
        grid.end(n) - 14.0,
        canvas,
    ))
}

/// Panels in two columns below the legend.
fn two_columns(canvas: &mut Canvas, legend: &[(usize, String)]) -> Grid {
    Grid {
        columns: 2,
        origin: (62.0, canvas.legend(0.0, legend) + 28.0),
        size: ((WIDTH - 2.0 * 72.0) / 2.0, 170.0),
        gap: (72.0, 66.0),
    }
}

pub(super) fn nc_over_epochs(lineup: &Lineup<'_>) -> Option<Figure> {
    let shown: Vec<&Member<'_>> = lineup
        .finished()
        .filter(|member| !Bundle::of(member, of_geometry(|g| g.nc1)).curves.is_empty())
        .collect();
    if shown.is_empty() {
        return None;
    }
    let mut canvas = Canvas::default();
    let legend: Vec<(usize, String)> = shown.iter().map(|m| (m.series, m.label.clone())).collect();
    let grid = two_columns(&mut canvas, &legend);
    for (index, (title, pick)) in PANELS.into_iter().enumerate() {
        let bundles: Vec<Bundle> = shown
            .iter()
            .map(|member| Bundle::of(member, of_geometry(pick)))
            .collect();
        draw_measure(&mut canvas, &grid, (index, title), &bundles);
    }
    let caption = format!(
        "Measured on the training split, {OF_THE_HEAD}; logarithmic axes, the epoch axis as \
         log(1 + epoch). Thin: one line a seed; thick: their mean, with a marker at the end of \
         training. All measures tend to 0 under collapse. {}",
        lineup.made_from
    );
    Some(Figure::new(
        "nc-epochs",
        "Neural collapse over epochs",
        caption,
        grid.end(PANELS.len()) - 14.0,
        canvas,
    ))
}

fn draw_measure(
    canvas: &mut Canvas,
    grid: &Grid,
    (index, title): (usize, &str),
    bundles: &[Bundle],
) {
    let values = || bundles.iter().flat_map(|b| b.curves.iter().flatten());
    let Some(x) = Scale::around(Kind::LogOnePlus, values().map(|p| p.0)) else {
        return;
    };
    let mut y = Scale::around(Kind::Log, values().map(|p| p.1))
        .unwrap_or_else(|| Scale::over(Kind::Log, 1e-4, 1.0));
    let zeros = values().any(|p| p.1 <= 0.0);
    if zeros {
        y.low /= 2.0;
    }
    let panel = grid.panel(index, x, y);
    let last_row = index + grid.columns >= PANELS.len();
    canvas.frame(&panel, title, if last_row { "epoch" } else { "" }, " ");
    if zeros {
        let corner = (panel.left + 5.0, panel.top + panel.height - 6.0);
        canvas.text(corner.0, corner.1, "start", "tk", "lower edge: 0");
    }
    for bundle in bundles {
        bundle.draw(canvas, &panel);
    }
}
