//! Winograd's algorithms on every path against naive sums in f64, within bounds derived from the transforms; adjoint identities.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

mod support;

use collapse_kernels::{
    Act, Conv, ConvWeights, ConvolutionAlgorithm, Float, KernelPath, NetworkElement, Shape, bf16,
    conv_backward_data, conv_backward_weights, conv_forward, with_convolution, with_kernel_path,
};
use proptest::prelude::*;
use support::winograd::{Algorithm, Problem, bound};
use support::{Stream, each_product, sum_roundoff, wide};

/// Operands, naive results in f64 and the sizes of Winograd's sums, in torch's order.
struct Case {
    conv: Conv,
    input: Shape,
    x: Vec<f64>,
    w: Vec<f64>,
    dy: Vec<f64>,
    base: Vec<f64>,
    y: Vec<f64>,
    dx: Vec<f64>,
    dw: Vec<f64>,
}

impl Case {
    /// Operands that every element type represents.
    fn new(conv: Conv, input: Shape, seed: u64) -> Self {
        let output = conv.output_shape(input);
        let mut stream = Stream(seed);
        let mut take = |len: usize| wide(&stream.take::<bf16>(len));
        let (x, dy) = (take(input.len()), take(output.len()));
        let (w, base) = (take(conv.weight_len()), take(input.len()));
        let (mut y, mut dx) = (vec![0.0; output.len()], vec![0.0; input.len()]);
        let mut dw = vec![0.0; w.len()];
        each_product(conv, input, |i, k, o| {
            y[o] += x[i] * w[k];
            dx[i] += dy[o] * w[k];
            dw[k] += x[i] * dy[o];
        });
        Self {
            conv,
            input,
            x,
            w,
            dy,
            base,
            y,
            dx,
            dw,
        }
    }

    fn problem(&self) -> Problem<'_> {
        Problem {
            conv: self.conv,
            input: self.input,
            x: &self.x,
            w: &self.w,
            dy: &self.dy,
        }
    }
}

/// Sizes of all sums of a case by one algorithm.
struct Sizes {
    y: Vec<f64>,
    dx: Vec<f64>,
    dw: Vec<f64>,
    /// Rows of the products: tiles of all images.
    rows: usize,
    side: usize,
}

impl Sizes {
    /// By one algorithm forward and one to the input.
    fn new(case: &Case, forward: &Algorithm, to_input: &Algorithm) -> Self {
        let problem = case.problem();
        let Shape { h, w, n, .. } = case.conv.output_shape(case.input);
        Self {
            y: problem.gathered(forward, false, false),
            dx: problem.gathered(to_input, true, false),
            dw: problem.to_weights(forward, false),
            rows: h.div_ceil(forward.m) * w.div_ceil(forward.m) * n,
            side: forward.m,
        }
    }
}

fn narrow<T: NetworkElement>(values: &[f64]) -> Vec<T::Param> {
    values.iter().map(|&v| T::Param::from_f64(v)).collect()
}

/// `Operand` is what the products round their operands to.
fn assert_within<Operand: NetworkElement, Result: NetworkElement>(
    what: &str,
    found: &[Result::Param],
    expected: &[f64],
    sizes: &[f64],
    terms: usize,
) {
    assert_eq!(found.len(), expected.len());
    for (k, ((found, expected), &size)) in found.iter().zip(expected).zip(sizes).enumerate() {
        let error = (found.to_f64() - expected).abs();
        let bound = bound::<Operand, Result>(size, terms, *expected);
        assert!(
            error <= bound,
            "{what}[{k}] = {found}, naive {expected}, error {error:e} > {bound:e}"
        );
    }
}

/// All directions and stores of one element type on the path and with the algorithm in force.
fn check<T: NetworkElement, Operand: NetworkElement<Param = T::Param>>(case: &Case, sizes: &Sizes) {
    let (conv, input) = (case.conv, case.input);
    let output = conv.output_shape(input);
    let act =
        |shape: Shape, values: &[f64]| Act::<T>::from_nchw(shape, &narrow::<T>(values)).unwrap();
    let (x, dy, base) = (
        act(input, &case.x),
        act(output, &case.dy),
        act(input, &case.base),
    );
    let (i, o) = (conv.in_channels(), conv.out_channels());
    let weights = ConvWeights::<T>::pack(
        conv,
        (input.h, input.w),
        &narrow::<T>(&case.w),
        T::Param::ONE,
    )
    .unwrap();

    let (y, statistics) = conv_forward(&x, &weights, true).unwrap();
    let y = y.to_nchw();
    assert_within::<Operand, T>("y", &y, &case.y, &sizes.y, i);
    let (plain, none) = conv_forward(&x, &weights, false).unwrap();
    assert!(none.is_none() && plain.to_nchw() == y);

    let dx = conv_backward_data(&dy, &weights, input, None).unwrap();
    assert_within::<Operand, T>("dx", &dx.to_nchw(), &case.dx, &sizes.dx, o);
    let added: Vec<f64> = case.dx.iter().zip(&case.base).map(|(d, b)| d + b).collect();
    let added_sizes: Vec<f64> = sizes
        .dx
        .iter()
        .zip(&case.base)
        .map(|(s, b)| s + b.abs())
        .collect();
    let dx = conv_backward_data(&dy, &weights, input, Some(base)).unwrap();
    assert_within::<Operand, T>("dx + base", &dx.to_nchw(), &added, &added_sizes, o);

    let mut dw = vec![T::Param::ONE; conv.weight_len()];
    // A scale that rounds nothing, and is undone.
    let (scale, back) = (T::Param::from_f64(-0.5), T::Param::from_f64(-2.0));
    conv_backward_weights(&x, &dy, conv, scale, &mut dw).unwrap();
    dw.iter_mut().for_each(|d| *d = *d * back);
    assert_within::<Operand, T::Param>("dw", &dw, &case.dw, &sizes.dw, sizes.rows + 32);

    let statistics = statistics.expect("asked for");
    let (y, plane) = (wide(&y), output.h * output.w);
    assert_eq!(statistics.count, plane * output.n);
    // Sums of the tiles of at most all images, less a value of the channel.
    let unit = sum_roundoff::<T>() * (2 * sizes.side * sizes.side * output.n + 8) as f64;
    for c in 0..output.c {
        let values: Vec<f64> = (0..output.n)
            .flat_map(|n| y[(n * output.c + c) * plane..][..plane].iter().copied())
            .collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        let largest = values.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        assert!(
            (statistics.mean[c].to_f64() - mean).abs() <= unit * largest,
            "mean of channel {c}"
        );
        assert!(
            (statistics.variance[c].to_f64() - variance).abs() <= 4.0 * unit * largest * largest,
            "variance of channel {c}"
        );
    }
}

/// Whether bf16 is multiplied as such on a path, or as f32.
fn multiplies_pairs(path: KernelPath) -> bool {
    matches!(path, KernelPath::Avx512Bf16 | KernelPath::AmxBf16)
}

/// The algorithms of a stride that have a name of their own, forward and to the input.
fn algorithms(stride: usize) -> Vec<(ConvolutionAlgorithm, [Algorithm; 2])> {
    let four = ConvolutionAlgorithm::Winograd4;
    if stride == 2 {
        return vec![(four, [Algorithm::strided(), Algorithm::unstrided()])];
    }
    let two = ConvolutionAlgorithm::Winograd2;
    vec![
        (two, [Algorithm::two(), Algorithm::two()]),
        (four, [Algorithm::four(), Algorithm::four()]),
    ]
}

fn check_all(conv: Conv, input: Shape, seed: u64) {
    let case = Case::new(conv, input, seed);
    for (algorithm, [forward, to_input]) in algorithms(conv.stride()) {
        let sizes = Sizes::new(&case, &forward, &to_input);
        with_convolution(algorithm, || {
            check::<f64, f64>(&case, &sizes);
            for path in KernelPath::available() {
                with_kernel_path(path, || {
                    check::<f32, f32>(&case, &sizes);
                    if multiplies_pairs(path) {
                        check::<bf16, bf16>(&case, &sizes);
                    } else {
                        check::<bf16, f32>(&case, &sizes);
                    }
                })
                .unwrap();
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 25, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_path_agrees_with_naive_sums(
        in_channels in 1usize..40,
        out_channels in 1usize..40,
        stride in 1usize..3,
        h in 1usize..11,
        w in 1usize..11,
        n in 1usize..20,
        seed in any::<u64>(),
    ) {
        check_all(Conv::new(in_channels, out_channels, 3, stride).unwrap(), Shape { h, w, n, c: in_channels }, seed);
    }

    /// ⟨conv(x), dy⟩ = ⟨x, convᵀ(dy)⟩ = ⟨w, dW⟩, up to what f64 rounds.
    #[test]
    fn the_three_directions_are_adjoint(
        in_channels in 1usize..40,
        out_channels in 1usize..40,
        h in 1usize..11,
        w in 1usize..11,
        n in 1usize..12,
        stride in 1usize..3,
        four in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let conv = Conv::new(in_channels, out_channels, 3, stride).unwrap();
        let input = Shape { h, w, n, c: in_channels };
        let output = conv.output_shape(input);
        let mut stream = Stream(seed);
        let (x, dy, weights) = (
            stream.take::<f64>(input.len()),
            stream.take::<f64>(output.len()),
            stream.take::<f64>(conv.weight_len()),
        );
        let algorithm = if four { ConvolutionAlgorithm::Winograd4 } else { ConvolutionAlgorithm::Winograd2 };
        let (y, dx, dw) = with_convolution(algorithm, || {
            let packed = ConvWeights::<f64>::pack(conv, (h, w), &weights, 1.0).unwrap();
            let (xa, dya) = (Act::from_nchw(input, &x).unwrap(), Act::from_nchw(output, &dy).unwrap());
            let mut dw = vec![0.0; conv.weight_len()];
            conv_backward_weights(&xa, &dya, conv, 1.0, &mut dw).unwrap();
            (
                conv_forward(&xa, &packed, false).unwrap().0.to_nchw(),
                conv_backward_data(&dya, &packed, input, None).unwrap().to_nchw(),
                dw,
            )
        });
        let inner = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let (forward, to_input, to_weights) = (inner(&y, &dy), inner(&x, &dx), inner(&weights, &dw));
        let scale = inner(&y, &y).sqrt() * inner(&dy, &dy).sqrt() + 1.0;
        prop_assert!((forward - to_input).abs() <= 1e-12 * scale, "{} {}", forward, to_input);
        prop_assert!((forward - to_weights).abs() <= 1e-12 * scale, "{} {}", forward, to_weights);
    }
}

#[test]
fn shapes_of_real_networks_agree() {
    for (i, o, stride, h, w, n) in [
        (3, 64, 1, 8, 8, 33),
        (64, 32, 1, 7, 7, 40),
        // Pages apart but for the gap between pixels.
        (16, 16, 1, 4, 4, 128),
        (16, 16, 2, 8, 8, 128),
        (130, 20, 1, 3, 14, 21),
        (32, 64, 2, 16, 16, 18),
        // Sums too large to keep several times.
        (200, 144, 1, 4, 4, 3),
        (100, 130, 2, 7, 8, 3),
    ] {
        let conv = Conv::new(i, o, 3, stride).unwrap();
        check_all(conv, Shape { h, w, n, c: i }, 7);
    }
}

/// The matrices that the bounds are made of do convolve.
#[test]
fn the_reference_matrices_are_exact() {
    for stride in [1, 2] {
        let conv = Conv::new(3, 2, 3, stride).unwrap();
        let case = Case::new(
            conv,
            Shape {
                h: 7,
                w: 12,
                n: 2,
                c: 3,
            },
            11,
        );
        let problem = case.problem();
        for (_, [forward, to_input]) in algorithms(stride) {
            for (found, expected) in [
                (problem.gathered(&forward, false, true), &case.y),
                (problem.gathered(&to_input, true, true), &case.dx),
                (problem.to_weights(&forward, true), &case.dw),
            ] {
                assert_eq!(found.len(), expected.len());
                for (f, e) in found.iter().zip(expected) {
                    assert!((f - e).abs() < 1e-12, "{f} {e}");
                }
            }
        }
    }
}

/// A channel far from zero keeps its variance, and a constant one has none.
#[test]
fn a_large_mean_does_not_spoil_the_variance() {
    let conv = Conv::new(16, 16, 3, 1).unwrap();
    let input = Shape {
        h: 8,
        w: 8,
        n: 24,
        c: 16,
    };
    // The identity, so that outputs are inputs.
    let mut w = vec![0.0f32; conv.weight_len()];
    (0..16).for_each(|c| w[(c * 16 + c) * 9 + 4] = 1.0);
    let mut stream = Stream(5);
    let noise: Vec<f32> = stream.take::<f32>(input.len());
    let x: Vec<f32> = noise
        .iter()
        .enumerate()
        .map(|(k, v)| if k / 64 % 16 == 0 { 3.0 } else { 4096.0 + v })
        .collect();
    for path in KernelPath::available() {
        let (y, statistics) = with_kernel_path(path, || {
            with_convolution(ConvolutionAlgorithm::Winograd4, || {
                let weights = ConvWeights::<f32>::pack(conv, (8, 8), &w, 1.0).unwrap();
                conv_forward(&Act::from_nchw(input, &x).unwrap(), &weights, true).unwrap()
            })
        })
        .unwrap();
        let (y, variance) = (wide(&y.to_nchw()), statistics.unwrap().variance);
        for c in 0..16 {
            let values: Vec<f64> = (0..24)
                .flat_map(|n| y[(n * 16 + c) * 64..][..64].iter().copied())
                .collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let expected =
                values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
            let error = (f64::from(variance[c]) - expected).abs();
            assert!(
                error <= 1e-4 * expected + 1e-9,
                "{path}: channel {c}: {} {expected}",
                variance[c]
            );
        }
    }
}
