//! The spectral norm of a convolution against its operator as a plain matrix.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

mod support;

use collapse_kernels::{
    Conv, ConvolveParam, KernelPath, Shape, add_conv_sigma_gradient, conv_power_iteration,
    conv_sigma, with_kernel_path,
};
use proptest::prelude::*;
use support::{Stream, Sum, each_product, roundoff, wide};

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn normalised(x: &[f64]) -> Vec<f64> {
    let norm = norm(x);
    x.iter().map(|v| v / norm).collect()
}

/// Sums of products and how much larger, in norm, the sums of absolute products are.
fn product(len: usize, add: impl Fn(&mut [Sum])) -> (Vec<f64>, f64) {
    let mut sums = vec![Sum::default(); len];
    add(&mut sums);
    let (values, sizes): (Vec<f64>, Vec<f64>) = sums.iter().map(|s| (s.value, s.size)).unzip();
    let cancellation = norm(&sizes) / norm(&values);
    (values, cancellation)
}

fn assert_close<P: ConvolveParam>(what: &str, found: &[P], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    let scale = norm(expected);
    for (k, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f.to_f64() - e).abs() <= tolerance * scale,
            "{what}[{k}] = {f}, naive {e}, {scale:e} in all"
        );
    }
}

/// One round from random vectors, σ and its gradient.
fn check<P: ConvolveParam>(conv: Conv, input: Shape, seed: u64) {
    let output = conv.output_shape(input);
    let mut stream = Stream(seed);
    let oihw = stream.take::<P>(conv.weight_len());
    let (mut u, mut v) = (
        stream.take::<P>(output.len()),
        stream.take::<P>(input.len()),
    );
    let ws = wide(&oihw);

    let (us, vs) = (wide(&u), wide(&v));
    let terms = conv.weight_len().max(output.len()) + 8;
    let unit = roundoff::<P>() * terms as f64;
    let (gradient, lost) = product(ws.len(), |sums| {
        each_product(conv, input, |i, k, o| sums[k].add(us[o], vs[i]));
    });
    let mut found = vec![P::ZERO; conv.weight_len()];
    add_conv_sigma_gradient(conv, input.h, input.w, &u, &v, P::ONE, &mut found).unwrap();
    assert_close("gradient", &found, &gradient, unit * lost);

    let (back, lost_back) = product(input.len(), |sums| {
        each_product(conv, input, |i, k, o| sums[i].add(ws[k], us[o]));
    });
    let back = normalised(&back);
    let (forward, lost_forward) = product(output.len(), |sums| {
        each_product(conv, input, |i, k, o| sums[o].add(ws[k], back[i]));
    });
    let sigma = conv_power_iteration(conv, input.h, input.w, &oihw, &mut u, &mut v, 1).unwrap();
    // The errors of both sums, and of their norms.
    let tolerance = 2.0 * unit * (1.0 + lost_back) * (1.0 + lost_forward);
    assert_close("v", &v, &back, tolerance);
    assert_close("u", &u, &normalised(&forward), tolerance);
    assert_close("sigma", &[sigma], &[norm(&forward)], tolerance);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_round_is_the_operators(
        (kernel, stride) in prop_oneof![Just((3, 1)), Just((3, 2)), Just((1, 1)), Just((1, 2))],
        in_channels in 1usize..40,
        out_channels in 1usize..40,
        h in 1usize..10,
        w in 1usize..10,
        seed in any::<u64>(),
    ) {
        let conv = Conv::new(in_channels, out_channels, kernel, stride).unwrap();
        let input = Shape { h, w, n: 1, c: in_channels };
        check::<f64>(conv, input, seed);
        for path in KernelPath::available() {
            with_kernel_path(path, || check::<f32>(conv, input, seed)).unwrap();
        }
    }
}

#[test]
fn power_iteration_finds_the_largest_singular_value() {
    for (kernel, stride) in [(3, 1), (3, 2), (1, 1)] {
        let (conv, side) = (Conv::new(2, 3, kernel, stride).unwrap(), 4);
        let input = Shape {
            h: side,
            w: side,
            n: 1,
            c: 2,
        };
        let output = conv.output_shape(input);
        let mut stream = Stream(8);
        let oihw = stream.take::<f64>(conv.weight_len());
        let (mut u, mut v) = (
            stream.take::<f64>(output.len()),
            stream.take::<f64>(input.len()),
        );
        let sigma = conv_power_iteration(conv, side, side, &oihw, &mut u, &mut v, 2000).unwrap();
        // The operator as a matrix; M Mᵀ u = σ² u at the end.
        let mut matrix = vec![0.0; output.len() * input.len()];
        each_product(conv, input, |i, k, o| {
            matrix[o * input.len() + i] += oihw[k]
        });
        let back: Vec<f64> = (0..input.len())
            .map(|i| {
                (0..output.len())
                    .map(|o| matrix[o * input.len() + i] * u[o])
                    .sum()
            })
            .collect();
        for o in 0..output.len() {
            let image: f64 = (0..input.len())
                .map(|i| matrix[o * input.len() + i] * back[i])
                .sum();
            assert!((image - sigma * sigma * u[o]).abs() < 1e-6 * sigma * sigma);
        }
        assert!(
            (conv_sigma(conv, side, side, &oihw, &u, &v).unwrap() - sigma).abs() < 1e-12 * sigma
        );
        let mut gradient = vec![0.0; conv.weight_len()];
        add_conv_sigma_gradient(conv, side, side, &u, &v, 1.0, &mut gradient).unwrap();
        let linear: f64 = gradient.iter().zip(&oihw).map(|(a, b)| a * b).sum();
        assert!(
            (linear - sigma).abs() < 1e-12 * sigma,
            "σ is linear in the weights"
        );
    }
}
