//! A whole forward and backward in bf16 on every path of the machine: as near to f32 as rounding to bf16 allows.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use collapse_kernels::{
    ConvolutionAlgorithm, KernelPath, NetworkElement, bf16, with_convolution, with_kernel_path,
};
use collapse_models::{Batch, HeadGradient, L2Mode, Net, NetConfig, Network};
use collapse_random::Stream;

struct Pass {
    logits: Vec<f64>,
    /// Of every parameter: its name and gradient.
    gradients: Vec<(String, Vec<f64>)>,
}

fn pass<T: NetworkElement<Param = f32>>(config: &NetConfig, n: usize) -> Pass {
    let mut network = Network::<T>::new(config, 5).unwrap();
    let mut stream = Stream::new(5, "images", 0);
    let side = config.input_size;
    let images: Vec<f32> = (0..n * side * side * config.in_channels)
        .map(|_| stream.normal() as f32)
        .collect();
    let (output, tape) = network
        .forward_train(&Batch::hwnc(n, side, config.in_channels, &images))
        .unwrap();
    let gradient = (0..n * config.n_classes)
        .map(|_| stream.normal() as f32)
        .collect();
    let gradients = network
        .backward(tape, HeadGradient::of_logits(gradient))
        .unwrap();
    let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|v| f64::from(*v)).collect() };
    Pass {
        logits: wide(&output.logits),
        gradients: network
            .parameters()
            .trainable()
            .map(|index| {
                let name = network.parameters().spec(index).name.clone();
                (name, wide(gradients.get(index)))
            })
            .collect(),
    }
}

/// ‖a − b‖ / ‖b‖.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    (squares(&mut a.iter().zip(b).map(|(x, y)| x - y)) / squares(&mut b.iter().copied())).sqrt()
}

/// Of every gradient.
fn distances(a: &Pass, b: &Pass) -> Vec<f64> {
    let pairs = a.gradients.iter().zip(&b.gradients);
    pairs.map(|((_, a), (_, b))| distance(a, b)).collect()
}

/// Every path with an algorithm beside the direct kernels of the portable path: bf16's distance to f32 at most `factor` times as large
/// (and a little).
fn check(algorithm: ConvolutionAlgorithm, factor: f64) {
    let near = |found: f64, portable: f64| found < factor * portable + 0.02;
    for (width, l2) in [(12, L2Mode::TrainAndInference), (32, L2Mode::Off)] {
        let mut config = NetConfig::new(Net::Resnet18, 10);
        (config.width, config.input_size, config.l2) = (width, 16, l2);
        let n = 24;
        let on = |path, algorithm| {
            let both = || (pass::<f32>(&config, n), pass::<bf16>(&config, n));
            with_kernel_path(path, || with_convolution(algorithm, both)).unwrap()
        };
        let (reference, rounded) = on(KernelPath::Portable, ConvolutionAlgorithm::Direct);
        let logits = distance(&rounded.logits, &reference.logits);
        let gradients = distances(&rounded, &reference);
        for path in KernelPath::available() {
            let (single, mixed) = on(path, algorithm);
            // Far below what bf16 changes.
            assert!(distance(&single.logits, &reference.logits) < 1e-4);
            let found = distance(&mixed.logits, &reference.logits);
            println!(
                "width {width}, {path}, {algorithm}: logits {found:.4}, {logits:.4} on the portable path"
            );
            assert!(near(found, logits), "{path}: logits {found}");
            for (((name, _), found), portable) in mixed
                .gradients
                .iter()
                .zip(distances(&mixed, &reference))
                .zip(&gradients)
            {
                assert!(
                    near(found, *portable),
                    "{path}: {name} {found}, {portable} on the portable path"
                );
            }
        }
    }
}

#[test]
fn every_path_rounds_alike() {
    // What another order of summation may add, in a rounding that many layers amplify.
    check(ConvolutionAlgorithm::Direct, 1.5);
}

#[test]
fn winograd_rounds_little_more() {
    // In bf16 both operands of a product are rounded once more, after their transform: in the forward pass, which decides, an error half
    // as large again (F(2×2)), on top of the order of summation.
    check(ConvolutionAlgorithm::Winograd, 1.5 * 1.5);
}
