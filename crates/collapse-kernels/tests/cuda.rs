//! The operations on a GPU against candle's own on the CPU, in f64, forward and backward. Where no GPU is, they say that they
//! skip.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used)] // a failed operation of a test is a failed test

mod support;

use candle_core::{DType, Device, Tensor, Var};
use collapse_kernels::{Sgd, cuda};
use support::Stream;

/// Errors are measured against the largest value; cuDNN may choose Winograd, which errs by some 1e-5.
const TOLERANCE: f64 = 1e-4;

fn gpu() -> Option<Device> {
    match cuda::open(0) {
        Ok(device) => Some(device),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

fn random(stream: &mut Stream, shape: &[usize]) -> Tensor {
    let values = stream.take::<f32>(shape.iter().product());
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn f64_of(tensor: &Tensor) -> Tensor {
    tensor.to_dtype(DType::F64).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    let here = f64_of(&tensor.to_device(&Device::Cpu).unwrap());
    here.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_near(name: &str, ours: &Tensor, theirs: &Tensor) {
    assert_eq!(ours.dims(), theirs.dims(), "{name}");
    let (ours, theirs) = (values(ours), values(theirs));
    let scale = theirs.iter().fold(1e-6, |max: f64, x| max.max(x.abs()));
    for (i, (a, b)) in ours.iter().zip(&theirs).enumerate() {
        let error = (a - b).abs() / scale;
        assert!(error <= TOLERANCE, "{name}, value {i}: {a} and {b}");
    }
}

/// Compares outputs and all gradients of `there`, run on the GPU, and `here`, run on the CPU in f64: sums of many f32 values
/// about a mean far from zero would lose there what the GPU keeps.
fn compare(
    name: &str,
    gpu: &Device,
    stream: &mut Stream,
    inputs: &[Tensor],
    there: impl Fn(&[Tensor]) -> Tensor,
    here: impl Fn(&[Tensor]) -> Tensor,
) {
    let var = |x: Tensor| Var::from_tensor(&x).unwrap().into_inner();
    let far: Vec<Tensor> = inputs
        .iter()
        .map(|x| var(x.to_device(gpu).unwrap()))
        .collect();
    let near: Vec<Tensor> = inputs.iter().map(|x| var(f64_of(x))).collect();
    let (ours, theirs) = (there(&far), here(&near));
    assert_near(name, &ours, &theirs);
    let weights = random(stream, theirs.dims());
    let backward = |y: &Tensor| {
        let weights = weights.to_device(y.device()).unwrap();
        let weights = weights.to_dtype(y.dtype()).unwrap();
        (y * weights)
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap()
    };
    let (ours, theirs) = (backward(&ours), backward(&theirs));
    for (i, (far, near)) in far.iter().zip(&near).enumerate() {
        let (a, b) = (ours.get(far).unwrap(), theirs.get(near).unwrap());
        assert_near(&format!("{name}, gradient {i}"), a, b);
    }
}

#[test]
fn convolutions_are_those_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let stream = &mut Stream(1);
    for (n, c, o, side, kernel, stride) in [
        (3, 3, 8, 8, 3, 1),
        (2, 16, 24, 7, 3, 2),
        (2, 16, 32, 8, 3, 2),
        (2, 8, 16, 8, 1, 2),
        (2, 32, 8, 4, 1, 1),
        (8, 64, 64, 16, 3, 1),
    ] {
        let inputs = [
            random(stream, &[n, c, side, side]),
            random(stream, &[o, c, kernel, kernel]),
        ];
        let name = format!("{c} to {o} channels of side {side}, kernel {kernel}, stride {stride}");
        compare(
            &name,
            &gpu,
            stream,
            &inputs,
            |t| cuda::convolution(&t[0], &t[1], stride).unwrap(),
            |t| t[0].conv2d(&t[1], kernel / 2, stride, 1, 1).unwrap(),
        );
        let out = (side - 1) / stride + 1;
        let y = random(stream, &[n, o, out, out]);
        let padding = if stride > 1 { 1 - side % 2 } else { 0 };
        let there = |t: &Tensor| t.to_device(&gpu).unwrap();
        let ours = cuda::convolution_input_gradient(
            &there(&y),
            &there(&inputs[1]),
            (n, c, side, side),
            stride,
        );
        let weight = f64_of(&inputs[1]);
        let theirs = f64_of(&y).conv_transpose2d(&weight, kernel / 2, padding, stride, 1);
        assert_near(&name, &ours.unwrap(), &theirs.unwrap());
    }
}

fn of_channel(x: &Tensor) -> Tensor {
    x.reshape((1, x.elem_count(), 1, 1)).unwrap()
}

/// (mean, biased variance) by channel.
fn moments(x: &Tensor) -> (Tensor, Tensor) {
    let mean = x.mean_keepdim((0, 2, 3)).unwrap();
    let centred = x.broadcast_sub(&mean).unwrap();
    let variance = centred.sqr().unwrap().mean_keepdim((0, 2, 3)).unwrap();
    (mean.flatten_all().unwrap(), variance.flatten_all().unwrap())
}

fn activate(x: &Tensor, slope: f64) -> Tensor {
    let negative = x.neg().unwrap().relu().unwrap();
    (x.relu().unwrap() - (negative * slope).unwrap()).unwrap()
}

#[test]
fn batch_norm_is_that_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let stream = &mut Stream(2);
    for (n, c, side, slope) in [
        (4, 5, 8, 0.01),
        (3, 7, 5, 0.0),
        (16, 3, 1, 1.0),
        // So many values that some lie where an activation's slope changes: none here.
        (32, 64, 32, 1.0),
    ] {
        // Means far from zero show whether the variance loses digits.
        let x = (random(stream, &[n, c, side, side]) * 0.5).unwrap();
        let shift = (random(stream, &[1, c, 1, 1]) * 8.0).unwrap();
        let x = x.broadcast_add(&shift).unwrap();
        let inputs = [x, random(stream, &[c]), random(stream, &[c])];
        let (running_mean, running_variance) = (random(stream, &[c]), random(stream, &[c]));
        let name = format!("batch norm of {n} × {c} × {side} × {side}");
        compare(
            &name,
            &gpu,
            stream,
            &inputs,
            |t| {
                let there = |t: &Tensor| t.to_device(&gpu).unwrap();
                let (old_mean, old_variance) = (there(&running_mean), there(&running_variance));
                let found = cuda::batch_norm_moments(&t[0], &old_mean, &old_variance, 0.1).unwrap();
                let (mean, variance) = moments(&f64_of(&inputs[0]));
                assert_near(&name, &found.mean, &mean);
                assert_near(&name, &found.variance, &variance);
                let moved = |old: &Tensor, new: Tensor| {
                    ((f64_of(old) * 0.9).unwrap() + (new * 0.1).unwrap()).unwrap()
                };
                let count = (n * side * side) as f64;
                let unbiased = (variance * (count / (count - 1.0))).unwrap();
                assert_near(&name, &found.running_mean, &moved(&running_mean, mean));
                let expected = moved(&running_variance, unbiased);
                assert_near(&name, &found.running_variance, &expected);
                let (moments, scale) = ((&found.mean, &found.variance), (&t[1], &t[2]));
                cuda::batch_norm(&t[0], moments, scale, 1e-5, slope).unwrap()
            },
            |t| {
                let (mean, variance) = moments(&t[0]);
                let deviation = (variance + 1e-5).unwrap().sqrt().unwrap();
                let centred = t[0].broadcast_sub(&of_channel(&mean)).unwrap();
                let unit = centred.broadcast_div(&of_channel(&deviation)).unwrap();
                let scaled = unit.broadcast_mul(&of_channel(&t[1])).unwrap();
                activate(&scaled.broadcast_add(&of_channel(&t[2])).unwrap(), slope)
            },
        );
    }
}

#[test]
fn spectral_norms_are_those_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let stream = &mut Stream(3);
    let x = random(stream, &[3, 1000]);
    let norm = x.sqr().unwrap().sum_all().unwrap().sqrt().unwrap();
    let ours = cuda::unit_length(&x.to_device(&gpu).unwrap()).unwrap();
    assert_near("unit length", &ours, &x.broadcast_div(&norm).unwrap());
    // The norm counts, and does not.
    for coefficient in [0.5, 1e6] {
        let u = random(stream, &[40]);
        let far_u = u.to_device(&gpu).unwrap();
        let inputs = [
            random(stream, &[7, 5, 3, 3]),
            (&u + random(stream, &[40])).unwrap(),
        ];
        compare(
            &format!("weights over their norm, coefficient {coefficient}"),
            &gpu,
            stream,
            &inputs,
            |t| {
                let divided = cuda::divided_by_norm(&t[0], &t[1], &far_u, coefficient, 1e-5);
                divided.unwrap().0
            },
            |t| {
                let sigma = (&t[1] * f64_of(&u)).unwrap().sum_all().unwrap();
                let ratio = (sigma / coefficient).unwrap();
                let factor = ratio.maximum(&ratio.ones_like().unwrap()).unwrap();
                t[0].broadcast_div(&(factor + 1e-5).unwrap()).unwrap()
            },
        );
    }
}

#[test]
fn sums_and_steps_are_those_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let stream = &mut Stream(4);
    let inputs = [random(stream, &[3, 5, 7, 2]), random(stream, &[3, 5, 7, 2])];
    compare(
        "activated sum",
        &gpu,
        stream,
        &inputs,
        |t| cuda::add_activated(&t[0], &t[1], 0.01).unwrap(),
        |t| activate(&(&t[0] + &t[1]).unwrap(), 0.01),
    );
    for nesterov in [false, true] {
        let rule = Sgd {
            learning_rate: 0.1,
            momentum: 0.9,
            weight_decay: 5e-4,
            nesterov,
        };
        let in_f64 = Sgd {
            learning_rate: f64::from(rule.learning_rate),
            momentum: f64::from(rule.momentum),
            weight_decay: f64::from(rule.weight_decay),
            nesterov,
        };
        let [w, v, g] = [0; 3].map(|_| random(stream, &[33, 5]));
        let [far_w, far_v, far_g] = [&w, &v, &g].map(|t| t.to_device(&gpu).unwrap());
        let (far_w, far_v) = cuda::sgd_step(&far_w, &far_v, &far_g, rule).unwrap();
        let (mut new_w, mut new_v) = (values(&w), values(&v));
        collapse_kernels::sgd_step(&mut new_w, &mut new_v, &values(&g), in_f64).unwrap();
        let here = |x: Vec<f64>| Tensor::from_vec(x, (33, 5), &Device::Cpu).unwrap();
        assert_near("weights", &far_w, &here(new_w));
        assert_near("momentum", &far_v, &here(new_v));
    }
}
