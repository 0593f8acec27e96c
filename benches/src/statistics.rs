//! Densities, geometry and ranking.

use anyhow::Result;
use collapse_density::{Divisor, LabelledGaussianMixture, TiedGaussian};
use collapse_geometry::{Head, measure, structure};
use collapse_kernels::kernel_path;
use collapse_ood::metrics::{auroc, detection};
use ndarray::{Array1, Array2};

use crate::case::{Case, Work};
use crate::inputs::{ClassFeatures, normals};
use crate::yardstick::Yardstick;

const N_CLASSES: usize = 10;
const ROWS: usize = 2000;
const QUERIES: usize = 1000;
const SCORES: usize = 100_000;

pub(crate) fn cases() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (d, short) in [(64, true), (256, false)] {
        cases.extend(density(d)?.map(|case| case.in_short_form(short)));
        cases.extend(geometry(d)?.map(|case| case.in_short_form(short)));
    }
    cases.extend(ranking());
    Ok(cases)
}

fn classes(d: usize) -> ClassFeatures {
    ClassFeatures {
        d,
        n_classes: N_CLASSES,
        separation: 1.0,
    }
}

fn density(d: usize) -> Result<[Case; 3]> {
    let path = kernel_path()?;
    let (n, m, c, dim) = (ROWS as f64, QUERIES as f64, N_CLASSES as f64, d as f64);
    let name = |what: &str, rows| format!("gda/{what}/{rows}x{d}-{N_CLASSES}-classes/seed1");
    let roofline = |flops, rows| Yardstick::roofline_f64(path, flops, 8 * rows * d);
    let fit_flops = n * dim * dim + c * dim * dim * dim / 3.0;
    let mixture = move || -> Result<(LabelledGaussianMixture, Array2<f64>)> {
        let (train, labels) = classes(d).draw(ROWS, "bench-train");
        let model = LabelledGaussianMixture::params(N_CLASSES)
            .check()?
            .fit_view(train.view(), &labels)?;
        Ok((model, classes(d).draw(QUERIES, "bench-queries").0))
    };
    Ok([
        Case::new(
            name("fit", ROWS),
            ROWS,
            roofline(fit_flops, ROWS),
            move || {
                let (train, labels) = classes(d).draw(ROWS, "bench-train");
                let params = LabelledGaussianMixture::params(N_CLASSES).check()?;
                Ok(Box::new(move || {
                    std::hint::black_box(params.fit_view(train.view(), &labels)?);
                    Ok(())
                }))
            },
        ),
        Case::new(
            name("score", QUERIES),
            QUERIES,
            roofline(m * c * dim * dim, QUERIES),
            move || {
                let (model, queries) = mixture()?;
                Ok(Box::new(move || {
                    std::hint::black_box(model.score(queries.view())?);
                    Ok(())
                }))
            },
        ),
        Case::new(
            name("tied-distances", QUERIES),
            QUERIES,
            roofline(m * dim * dim, QUERIES),
            move || {
                let (train, labels) = classes(d).draw(ROWS, "bench-train");
                let tied = TiedGaussian::fit(train.view(), &labels, N_CLASSES, Divisor::Samples)?;
                let queries = classes(d).draw(QUERIES, "bench-queries").0;
                Ok(Box::new(move || {
                    std::hint::black_box(tied.squared_distances(queries.view())?);
                    Ok(())
                }))
            },
        ),
    ])
}

fn geometry(d: usize) -> Result<[Case; 2]> {
    let flops = 2.0 * (ROWS * d * N_CLASSES) as f64 * 2.0;
    let yardstick = || -> Result<Yardstick> {
        Ok(Yardstick::roofline_f64(kernel_path()?, flops, 8 * ROWS * d))
    };
    let head = move || {
        let weight = normals(1, "bench-head", N_CLASSES * d);
        Array2::from_shape_vec((N_CLASSES, d), weight)
    };
    let measures = move || -> Result<Work> {
        let (features, labels) = classes(d).draw(ROWS, "bench-train");
        let (weight, bias) = (head()?, Array1::zeros(N_CLASSES));
        Ok(Box::new(move || {
            let head = Head {
                weight: weight.view(),
                bias: bias.view(),
            };
            std::hint::black_box(measure(features.view(), &labels, N_CLASSES, head)?);
            Ok(())
        }))
    };
    let means_alone = move || -> Result<Work> {
        let (means, _) = classes(d).draw(N_CLASSES, "bench-means");
        let weight = head()?;
        Ok(Box::new(move || {
            std::hint::black_box(structure(means.view(), weight.view())?);
            Ok(())
        }))
    };
    Ok([
        Case::new(
            format!("nc/measures/{ROWS}x{d}-{N_CLASSES}-classes/seed1"),
            ROWS,
            yardstick()?,
            measures,
        ),
        Case::new(
            format!("nc/structure/{N_CLASSES}x{d}/seed1"),
            N_CLASSES,
            yardstick()?,
            means_alone,
        ),
    ])
}

fn ranking() -> [Case; 2] {
    let scores = || {
        let values = normals(1, "bench-scores", SCORES);
        let (id, ood) = values.split_at(SCORES / 2);
        (id.iter().map(|v| v + 1.0).collect::<Vec<_>>(), ood.to_vec())
    };
    [
        Case::new(
            format!("auroc/{SCORES}-scores/seed1"),
            SCORES,
            Yardstick::sort(SCORES),
            move || {
                let (id, ood) = scores();
                Ok(Box::new(move || {
                    std::hint::black_box(auroc(&id, &ood)?);
                    Ok(())
                }))
            },
        )
        .in_short_form(true),
        Case::new(
            format!("detection-metrics/{SCORES}-scores/seed1"),
            SCORES,
            Yardstick::sort(SCORES),
            move || {
                let (id, ood) = scores();
                Ok(Box::new(move || {
                    std::hint::black_box(detection(&id, &ood)?);
                    Ok(())
                }))
            },
        ),
    ]
}
