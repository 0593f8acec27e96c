//! Neural collapse over epochs.

use collapse_results::{Geometry, Results};

use super::Figure;
use super::svg::{Canvas, Kind, Panel, Scale, WIDTH};
use crate::cast::{View, last_views};
use crate::tables::made_from;

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

fn curves(results: &Results, view: &View<'_>, pick: fn(&Geometry) -> f64) -> Vec<Curve> {
    results
        .runs_of(&view.group.id)
        .map(|run| {
            run.history
                .iter()
                .filter_map(|r| Some((r.epoch as f64, pick(r.geometry.as_ref()?))))
                .collect()
        })
        .filter(|curve: &Curve| !curve.is_empty())
        .collect()
}

/// Mean over the seeds at each epoch that all of them have.
fn mean_curve(curves: &[Curve]) -> Curve {
    let Some(first) = curves.first() else {
        return Vec::new();
    };
    first
        .iter()
        .filter_map(|(epoch, _)| {
            let values: Option<Vec<f64>> = curves
                .iter()
                .map(|curve| curve.iter().find(|(e, _)| e == epoch).map(|(_, v)| *v))
                .collect();
            let values = values?;
            Some((*epoch, values.iter().sum::<f64>() / values.len() as f64))
        })
        .collect()
}

pub(super) fn nc_over_epochs(results: &Results) -> Option<Figure> {
    let views: Vec<View<'_>> = last_views(results)
        .into_iter()
        .filter(|view| !view.group.ablation)
        .collect();
    let shown: Vec<(usize, &View<'_>)> = views
        .iter()
        .map(|view| (view.series(), view))
        .filter(|(_, view)| !curves(results, view, |g| g.nc1).is_empty())
        .collect();
    if shown.is_empty() {
        return None;
    }
    let mut canvas = Canvas::default();
    let legend: Vec<(usize, String)> = shown.iter().map(|(i, v)| (*i, v.label())).collect();
    let head = canvas.legend(0.0, &legend);
    let (height, gap) = (170.0, 66.0);
    let width = (WIDTH - 2.0 * 72.0) / 2.0;
    for (index, (title, pick)) in PANELS.into_iter().enumerate() {
        let all: Vec<(usize, Vec<Curve>)> = shown
            .iter()
            .map(|(i, view)| (*i, curves(results, view, pick)))
            .collect();
        let values = || all.iter().flat_map(|(_, curves)| curves.iter().flatten());
        let Some(x) = Scale::around(Kind::LogOnePlus, values().map(|p| p.0)) else {
            continue;
        };
        let mut y = Scale::around(Kind::Log, values().map(|p| p.1)).unwrap_or(Scale {
            kind: Kind::Log,
            low: 1e-4,
            high: 1.0,
        });
        let zeros = values().any(|p| p.1 <= 0.0);
        if zeros {
            y.low /= 2.0;
        }
        let (column, row) = (index % 2, index / 2);
        let panel = Panel {
            left: 62.0 + column as f64 * (width + 72.0),
            top: head + 28.0 + row as f64 * (height + gap),
            width,
            height,
            x,
            y,
        };
        canvas.frame(&panel, title, if row == 2 { "epoch" } else { "" }, " ");
        if zeros {
            canvas.text(
                panel.left + 5.0,
                panel.top + panel.height - 6.0,
                "start",
                "tk",
                "lower edge: 0",
            );
        }
        for (series, curves) in &all {
            let color = series % super::svg::COLORS;
            let place = |curve: &Curve| -> Vec<(f64, f64)> {
                curve.iter().map(|(x, y)| panel.at(*x, *y)).collect()
            };
            if curves.len() > 1 {
                for curve in curves {
                    canvas.path(&place(curve), &format!("one s{color}"));
                }
            }
            let mean = place(&mean_curve(curves));
            canvas.path(&mean, &format!("mean s{color}"));
            if let Some(end) = mean.last() {
                canvas.marker(*series, *end, 4.0, "");
            }
        }
    }
    let caption = format!(
        "Measured on the training split; logarithmic axes, the epoch axis as log(1 + epoch). \
         Thin: one line a seed; thick: their mean, with a marker at the end of training. All \
         measures tend to 0 under collapse. {}",
        made_from(results)
    );
    Some(Figure::new(
        "nc-epochs",
        "Neural collapse over epochs",
        caption,
        head + 28.0 + 3.0 * (height + gap) - 14.0,
        canvas,
    ))
}
