//! Seconds of the heavy operations: `cargo run -p collapse-ood --example ood_throughput [auroc N | knn BANK D QUERIES K]`.

use std::error::Error;
use std::time::Instant;

use collapse_ood::detectors::Knn;
use collapse_ood::metrics::Ranking;
use collapse_ood::{Detector, Inputs, TrainInputs};
use ndarray::Array2;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, otherwise: usize| -> Result<usize, std::num::ParseIntError> {
        arguments
            .get(index)
            .map_or(Ok(otherwise), |text| text.parse())
    };
    match arguments.first().map(String::as_str) {
        None | Some("auroc") => time_auroc(number(1, 10_000_000)?)?,
        Some("knn") => time_knn(
            number(1, 45_000)?,
            number(2, 512)?,
            number(3, 10_000)?,
            number(4, 50)?,
        )?,
        Some(other) => return Err(format!("`{other}` is neither auroc nor knn").into()),
    }
    Ok(())
}

/// Sum of four uniform numbers: near enough to a normal.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    (0..4)
        .map(|_| rng.next_u32() as f64 / f64::from(u32::MAX) - 0.5)
        .sum()
}

fn time_auroc(n: usize) -> Result<(), Box<dyn Error>> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let id: Vec<f64> = (0..n / 2).map(|_| normal(&mut rng) + 0.5).collect();
    let ood: Vec<f64> = (0..n - n / 2).map(|_| normal(&mut rng)).collect();
    for _ in 0..3 {
        let start = Instant::now();
        let auroc = Ranking::new(&id, &ood)?.auroc();
        println!(
            "auroc of {n} scores: {auroc:.6} in {:.3} s",
            start.elapsed().as_secs_f64()
        );
    }
    let start = Instant::now();
    let figures = Ranking::new(&id, &ood)?.detection();
    println!(
        "all figures: {figures:?} in {:.3} s",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn time_knn(n: usize, d: usize, queries: usize, k: usize) -> Result<(), Box<dyn Error>> {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut sample = |rows| Array2::from_shape_simple_fn((rows, d), || normal(&mut rng));
    let (bank, test) = (sample(n), sample(queries));
    let (labels, logits, test_logits) = (
        vec![0; n],
        Array2::zeros((n, 1)),
        Array2::zeros((queries, 1)),
    );
    let train = TrainInputs::new(Inputs::new(bank.view(), logits.view(), false)?, &labels)?;
    let knn = Knn::fit(&train, k)?;
    let inputs = Inputs::new(test.view(), test_logits.view(), false)?;
    for _ in 0..3 {
        let start = Instant::now();
        let mean = knn.score(&inputs)?.mean().unwrap_or(f64::NAN);
        println!(
            "knn of {queries} queries, {n} x {d}: mean {mean:.6} in {:.3} s",
            start.elapsed().as_secs_f64()
        );
    }
    Ok(())
}
