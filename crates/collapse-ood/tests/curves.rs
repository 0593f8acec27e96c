//! The curves of a report against the figures that sum them up.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use collapse_ood::metrics::{Positive, Ranking, aurc, reliability, risk_coverage_curve};
use ndarray::array;

#[test]
fn curves_enclose_the_areas() {
    let id = [0.9, 0.8, 0.8, 0.3, 0.7, 0.2];
    let ood = [0.1, 0.8, 0.4, 0.3];
    let ranking = Ranking::new(&id, &ood).unwrap();
    let curve = ranking.roc_curve(1000);
    assert_eq!((curve[0], curve[curve.len() - 1]), ((0.0, 0.0), (1.0, 1.0)));
    let trapezoid = |pair: &[(f64, f64)]| 0.5 * (pair[1].0 - pair[0].0) * (pair[0].1 + pair[1].1);
    let area: f64 = curve.windows(2).map(trapezoid).sum();
    assert!((area - ranking.auroc()).abs() < 1e-12);
    for positive in [Positive::Id, Positive::Ood] {
        let curve = ranking.precision_recall_curve(positive, 1000);
        let first = curve[0].0 * curve[0].1;
        let steps = curve
            .windows(2)
            .map(|pair| (pair[1].0 - pair[0].0) * pair[1].1);
        let sum = first + steps.sum::<f64>();
        assert!((sum - ranking.average_precision(positive)).abs() < 1e-12);
    }
    // Few points are kept where few can be seen, the ends always.
    let many: Vec<f64> = (0..5000).map(f64::from).collect();
    let coarse = Ranking::new(&many, &many).unwrap().roc_curve(20);
    assert!(
        coarse.len() <= 42 && coarse[coarse.len() - 1] == (1.0, 1.0),
        "{}",
        coarse.len()
    );
    let correct = [true, false, true, true, false, false];
    let risks = risk_coverage_curve(&id, &correct, 1000).unwrap();
    let mean = risks.iter().map(|point| point.1).sum::<f64>() / risks.len() as f64;
    assert!((mean - aurc(&id, &correct).unwrap()).abs() < 1e-12);
    assert_eq!(risks[risks.len() - 1], (1.0, 0.5));
    let bins = reliability(
        array![[5.0, 0.0], [0.0, 5.0], [0.1, 0.0]].view(),
        &[0, 0, 0],
        1.0,
    )
    .unwrap();
    assert_eq!(bins.iter().map(|bin| bin.count).sum::<usize>(), 3);
    assert_eq!(
        (bins[14].count, bins[14].accuracy, bins[7].accuracy),
        (2, 0.5, 1.0)
    );
}
