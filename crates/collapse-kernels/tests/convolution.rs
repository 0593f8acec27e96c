//! The direct kernels of every path against naive sums in f64, within bounds derived from the arithmetic; the same bytes for any number
//! of threads, whatever the algorithm.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

mod support;

use collapse_kernels::{
    Act, Conv, ConvWeights, ConvolutionAlgorithm, Float, KernelPath, NetworkElement, Shape, bf16,
    conv_backward_data, conv_backward_weights, conv_forward, with_convolution, with_kernel_path,
};
use proptest::prelude::*;
use support::{Stream, Sum, each_product, sum_roundoff, wide};

fn assert_within<T: NetworkElement>(
    what: &str,
    found: &[T::Param],
    expected: &[Sum],
    extra: usize,
) {
    assert_eq!(found.len(), expected.len());
    for (k, (f, e)) in found.iter().zip(expected).enumerate() {
        let error = (f.to_f64() - e.value).abs();
        let bound = e.bound::<T>(extra);
        assert!(
            error <= bound,
            "{what}[{k}] = {f}, naive {}, error {error:e} > {bound:e}",
            e.value
        );
    }
}

/// Forward with statistics, gradient to the input (fresh and added) and to the weights.
fn check<T: NetworkElement>(conv: Conv, input: Shape, seed: u64) {
    let output = conv.output_shape(input);
    let mut stream = Stream(seed);
    let (x, dy) = (
        stream.take::<T>(input.len()),
        stream.take::<T>(output.len()),
    );
    let (w, base) = (
        stream.take::<T>(conv.weight_len()),
        stream.take::<T>(input.len()),
    );
    let (xs, dys, ws) = (wide(&x), wide(&dy), wide(&w));
    let mut sums = vec![Sum::default(); output.len()];
    let mut to_input = vec![Sum::default(); input.len()];
    let mut added: Vec<Sum> = vec![Sum::default(); input.len()];
    let mut to_weights = vec![Sum::default(); conv.weight_len()];
    added
        .iter_mut()
        .zip(wide(&base))
        .for_each(|(s, b)| s.add(b, 1.0));
    each_product(conv, input, |i, k, o| {
        sums[o].add(xs[i], ws[k]);
        to_input[i].add(dys[o], ws[k]);
        added[i].add(dys[o], ws[k]);
        to_weights[k].add(xs[i], dys[o]);
    });

    let weights = ConvWeights::<T>::pack(conv, (input.h, input.w), &w, T::Param::ONE).unwrap();
    let (x, dy) = (
        Act::<T>::from_nchw(input, &x).unwrap(),
        Act::<T>::from_nchw(output, &dy).unwrap(),
    );
    let (y, statistics) = conv_forward(&x, &weights, true).unwrap();
    let y = y.to_nchw();
    assert_within::<T>("y", &y, &sums, 0);
    let dx = conv_backward_data(&dy, &weights, input, None).unwrap();
    assert_within::<T>("dx", &dx.to_nchw(), &to_input, 0);
    let base = Act::<T>::from_nchw(input, &base).unwrap();
    let dx = conv_backward_data(&dy, &weights, input, Some(base)).unwrap();
    assert_within::<T>("dx + base", &dx.to_nchw(), &added, 1);
    let mut dw = vec![T::Param::ONE; conv.weight_len()];
    // A scale that rounds nothing, and is undone.
    let (scale, back) = (T::Param::from_f64(-0.5), T::Param::from_f64(-2.0));
    conv_backward_weights(&x, &dy, conv, scale, &mut dw).unwrap();
    dw.iter_mut().for_each(|d| *d = *d * back);
    assert_within::<T::Param>("dw", &dw, &to_weights, 32);

    let statistics = statistics.expect("asked for");
    let (y, plane) = (wide(&y), output.h * output.w);
    assert_eq!(statistics.count, plane * output.n);
    for c in 0..output.c {
        let values: Vec<f64> = (0..output.n)
            .flat_map(|n| y[(n * output.c + c) * plane..][..plane].iter().copied())
            .collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        let largest = values.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        let unit = sum_roundoff::<T>() * (output.n + 8) as f64;
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

fn check_all(conv: Conv, input: Shape, seed: u64) {
    with_convolution(ConvolutionAlgorithm::Direct, || {
        check::<f64>(conv, input, seed);
        for path in KernelPath::available() {
            with_kernel_path(path, || {
                check::<f32>(conv, input, seed);
                check::<bf16>(conv, input, seed);
            })
            .unwrap();
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_path_agrees_with_naive_sums(
        (kernel, stride) in prop_oneof![Just((3, 1)), Just((3, 2)), Just((1, 1)), Just((1, 2))],
        in_channels in 1usize..50,
        out_channels in 1usize..50,
        h in 1usize..8,
        w in 1usize..8,
        n in 1usize..35,
        seed in any::<u64>(),
    ) {
        check_all(Conv::new(in_channels, out_channels, kernel, stride).unwrap(), Shape { h, w, n, c: in_channels }, seed);
    }
}

#[test]
fn shapes_of_real_networks_agree() {
    for (i, o, kernel, stride, h, w, n) in [
        (3, 64, 3, 1, 5, 5, 40),
        (64, 128, 3, 2, 4, 4, 33),
        (80, 96, 1, 1, 3, 3, 17),
        (16, 16, 3, 1, 7, 7, 64),
        // Wide enough that images are taken in several blocks, the last a short one.
        (64, 8, 3, 1, 2, 24, 70),
        (130, 20, 3, 2, 3, 14, 41),
        // Narrow: half registers, and maps that are multiplied where they stand, of one block of images and of several.
        (3, 8, 3, 1, 5, 5, 40),
        (8, 8, 3, 1, 4, 24, 90),
        (16, 5, 3, 2, 6, 24, 90),
        (8, 16, 3, 2, 6, 6, 33),
        (20, 7, 1, 1, 3, 3, 50),
        (7, 40, 3, 1, 3, 5, 35),
        // Pages apart but for the gap between pixels.
        (16, 32, 3, 1, 4, 5, 128),
        (32, 16, 3, 2, 5, 4, 128),
        (16, 16, 1, 1, 3, 3, 128),
    ] {
        let conv = Conv::new(i, o, kernel, stride).unwrap();
        check_all(conv, Shape { h, w, n, c: i }, 7);
    }
}

#[test]
fn the_number_of_threads_does_not_show() {
    fn bytes<T: NetworkElement>(algorithm: ConvolutionAlgorithm, threads: usize) -> Vec<u8> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let conv = Conv::new(40, 72, 3, 1).unwrap();
        let input = Shape {
            h: 9,
            w: 21,
            n: 67,
            c: 40,
        };
        let mut stream = Stream(3);
        let (x, w) = (
            stream.take::<T>(input.len()),
            stream.take::<T>(conv.weight_len()),
        );
        let work = || {
            let weights =
                ConvWeights::<T>::pack(conv, (input.h, input.w), &w, T::Param::ONE).unwrap();
            let x = Act::<T>::from_nchw(input, &x).unwrap();
            let (y, statistics) = conv_forward(&x, &weights, true).unwrap();
            let dx = conv_backward_data(&y, &weights, input, None).unwrap();
            let mut dw = vec![T::Param::ZERO; conv.weight_len()];
            conv_backward_weights(&x, &y, conv, T::Param::ONE, &mut dw).unwrap();
            let statistics = statistics.unwrap();
            let all = [
                y.to_nchw(),
                dx.to_nchw(),
                dw,
                statistics.mean,
                statistics.variance,
            ]
            .concat();
            all.iter().flat_map(|v| v.to_f64().to_le_bytes()).collect()
        };
        pool.install(|| with_convolution(algorithm, work))
    }
    for algorithm in ConvolutionAlgorithm::ALL {
        let one = (
            bytes::<f32>(algorithm, 1),
            bytes::<bf16>(algorithm, 1),
            bytes::<f64>(algorithm, 1),
        );
        for threads in [2, 3, 7] {
            assert!(
                one.0 == bytes::<f32>(algorithm, threads),
                "{algorithm}, f32"
            );
            assert!(
                one.1 == bytes::<bf16>(algorithm, threads),
                "{algorithm}, bf16"
            );
            assert!(
                one.2 == bytes::<f64>(algorithm, threads),
                "{algorithm}, f64"
            );
        }
    }
}

#[test]
fn misuse_is_refused_with_the_remedy() {
    assert!(
        Conv::new(3, 8, 5, 1)
            .unwrap_err()
            .to_string()
            .contains("kernel 5")
    );
    let conv = Conv::new(3, 8, 3, 1).unwrap();
    let error = ConvWeights::<f32>::pack(conv, (4, 4), &[0.0; 5], 1.0)
        .err()
        .unwrap();
    assert!(error.to_string().contains("5 elements") && error.to_string().contains("216"));
    let weights = ConvWeights::<f32>::pack(conv, (4, 4), &[0.0; 216], 1.0).unwrap();
    let x = Act::<f32>::zeros(Shape {
        h: 4,
        w: 4,
        n: 2,
        c: 4,
    });
    assert!(conv_forward(&x, &weights, false).is_err());
    let other = KernelPath::available()
        .into_iter()
        .find(|&p| p != collapse_kernels::kernel_path().unwrap());
    if let Some(other) = other {
        let x = Act::<f32>::zeros(Shape {
            h: 4,
            w: 4,
            n: 2,
            c: 3,
        });
        let error = with_kernel_path(other, || conv_forward(&x, &weights, false).err())
            .unwrap()
            .unwrap();
        assert!(error.to_string().contains("pack them again"));
    }
    assert!(
        "sse9"
            .parse::<KernelPath>()
            .unwrap_err()
            .to_string()
            .contains("portable")
    );
}
