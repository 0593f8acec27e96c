//! Ensembles against their definitions.

use collapse_ood::{Inputs, ScoreId, ensemble_scores, fit_named, mean_softmax};
use ndarray::{Array2, ArrayView2, array};

fn softmax(row: &[f64]) -> Vec<f64> {
    let sum: f64 = row.iter().map(|v| v.exp()).sum();
    row.iter().map(|v| v.exp() / sum).collect()
}

fn entropy(p: &[f64]) -> f64 {
    -p.iter().map(|p| p * p.ln()).sum::<f64>()
}

fn members() -> Vec<Array2<f64>> {
    let member = |m: usize| {
        Array2::from_shape_fn((7, 4), |(i, j)| {
            ((i * 5 + j * 3 + m * m * 2) % 11) as f64 / 3.0
        })
    };
    (0..5).map(member).collect()
}

fn views(members: &[Array2<f64>]) -> Vec<ArrayView2<'_, f64>> {
    members.iter().map(|m| m.view()).collect()
}

#[test]
fn scores_follow_their_definition() {
    let members = members();
    let found = ensemble_scores(&views(&members)).unwrap();
    let means = mean_softmax(&views(&members)).unwrap();
    for i in 0..7 {
        let rows: Vec<Vec<f64>> = members
            .iter()
            .map(|m| softmax(&m.row(i).to_vec()))
            .collect();
        let mean: Vec<f64> = (0..4)
            .map(|c| rows.iter().map(|p| p[c]).sum::<f64>() / 5.0)
            .collect();
        assert!(
            mean.iter()
                .zip(means.row(i))
                .all(|(a, b)| (a - b).abs() < 1e-15)
        );
        let own = rows.iter().map(|p| entropy(p)).sum::<f64>() / 5.0;
        assert!((found.softmax_entropy[i] + entropy(&mean)).abs() < 1e-14);
        assert!((found.mutual_information[i] + entropy(&mean) - own).abs() < 1e-14);
        assert!(found.mutual_information[i] < 0.0);
    }
}

#[test]
fn equal_members_say_what_one_of_them_says() {
    let member = members().remove(3);
    let found = ensemble_scores(&[member.view(), member.view(), member.view()]).unwrap();
    assert!(found.mutual_information.iter().all(|v| v.abs() < 1e-15));
    let inputs = Inputs::new(member.view(), member.view(), false).unwrap();
    let train = collapse_ood::TrainInputs::new(inputs, &[0, 1, 2, 3, 0, 1, 2]).unwrap();
    let one = fit_named(
        &train,
        &collapse_ood::Settings::default(),
        ["softmax_entropy"],
    )
    .unwrap();
    let scored = one.score_set(
        "same",
        &Inputs::new(member.view(), member.view(), false).unwrap(),
    );
    let alone = scored.get(&ScoreId::SOFTMAX_ENTROPY).unwrap();
    for (a, b) in found.softmax_entropy.iter().zip(alone) {
        assert!((a - b).abs() < 1e-14);
    }
}

#[test]
fn the_order_of_members_does_not_matter_and_disagreement_is_information() {
    let mut members = members();
    let forward = ensemble_scores(&views(&members)).unwrap();
    members.reverse();
    let backward = ensemble_scores(&views(&members)).unwrap();
    for (a, b) in forward
        .mutual_information
        .iter()
        .zip(&backward.mutual_information)
    {
        assert!((a - b).abs() < 1e-14);
    }
    // Two members that are each sure of another class: ln 2 of entropy, all of it disagreement.
    let (a, b) = (array![[60.0, 0.0]], array![[0.0, 60.0]]);
    let found = ensemble_scores(&[a.view(), b.view()]).unwrap();
    assert!((found.softmax_entropy[0] + 2f64.ln()).abs() < 1e-14);
    assert!((found.mutual_information[0] + 2f64.ln()).abs() < 1e-14);
}

#[test]
fn sure_members_keep_their_order() {
    // Margins near 50: 1 − p is below the spacing of numbers near 1.
    let margins =
        Array2::from_shape_fn((3, 3), |(i, j)| if j == 0 { 50.0 + i as f64 } else { 0.0 });
    let other = &margins * 1.1;
    let found = ensemble_scores(&[margins.view(), other.view()]).unwrap();
    for scores in [&found.softmax_entropy, &found.mutual_information] {
        assert!(
            scores[0] < scores[1] && scores[1] < scores[2] && scores[2] < 0.0,
            "{scores}"
        );
    }
}

#[test]
fn what_is_no_ensemble_is_refused() {
    let one = array![[1.0, 2.0]];
    let refused = |members: &[ArrayView2<f64>]| ensemble_scores(members).unwrap_err().to_string();
    assert!(refused(&[one.view()]).contains("at least two"));
    assert!(
        refused(&[one.view(), array![[1.0], [2.0]].view()]).contains("that of the first member")
    );
    assert!(refused(&[one.view(), array![[f64::NAN, 2.0]].view()]).contains("logits"));
    let none = Array2::zeros((3, 0));
    assert!(refused(&[none.view(), none.view()]).contains("no classes"));
}
