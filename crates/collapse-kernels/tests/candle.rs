//! The candle operations against candle's own, values and gradients, and the CPU kernels against the device fallback.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use candle_core::{DType, Device, Result, Tensor, Var};
use collapse_kernels::Activation;
use collapse_kernels::candle_ops::{
    BatchStatistics, avg_pool_shortcut, batch_norm_act, conv2d, global_avg_pool,
};

fn var(dims: &[usize], seed: u64) -> Var {
    let mut state = seed;
    let len: usize = dims.iter().product();
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    let values: Vec<f64> = (0..len).map(next).collect();
    Var::from_tensor(&Tensor::from_vec(values, dims, &Device::Cpu).unwrap()).unwrap()
}

fn assert_close(a: &Tensor, b: &Tensor) {
    let difference = (a - b)
        .unwrap()
        .abs()
        .unwrap()
        .flatten_all()
        .unwrap()
        .max(0)
        .unwrap()
        .to_scalar::<f64>()
        .unwrap();
    assert!(difference < 1e-10, "largest difference {difference:e}");
}

/// Same value and same gradients to all `vars`, under a loss that is not symmetric.
fn same(vars: &[&Var], ours: Tensor, theirs: Tensor) {
    assert_close(&ours, &theirs);
    let probe = var(ours.dims(), 99);
    let loss = |t: &Tensor| {
        (t * probe.as_tensor())
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap()
    };
    let (a, b) = (loss(&ours), loss(&theirs));
    for v in vars {
        assert_close(
            a.get(v).expect("gradient of ours"),
            b.get(v).expect("gradient of candle's"),
        );
    }
}

#[test]
fn convolution() {
    for (kernel, stride, side) in [(3, 1, 5), (3, 2, 6), (1, 1, 4)] {
        let (x, w) = (var(&[3, 5, side, side], 1), var(&[7, 5, kernel, kernel], 2));
        let theirs = x.conv2d(&w, kernel / 2, stride, 1, 1).unwrap();
        same(&[&x, &w], conv2d(&x, &w, stride).unwrap(), theirs);
    }
    assert!(conv2d(&var(&[1, 2, 4, 4], 1), &var(&[2, 2, 5, 5], 2), 1).is_err());
}

/// Written out in candle's operations.
fn plain_norm(
    y: &Tensor,
    w: &Tensor,
    b: &Tensor,
    residual: Option<&Tensor>,
    slope: f64,
) -> Result<Tensor> {
    let c = y.dim(1)?;
    let mean = y.mean_keepdim((0, 2, 3))?;
    let centred = y.broadcast_sub(&mean)?;
    let variance = centred.sqr()?.mean_keepdim((0, 2, 3))?;
    let normed = centred.broadcast_div(&(variance + 1e-5)?.sqrt()?)?;
    let mut sum = normed
        .broadcast_mul(&w.reshape((1, c, 1, 1))?)?
        .broadcast_add(&b.reshape((1, c, 1, 1))?)?;
    if let Some(residual) = residual {
        sum = (sum + residual)?;
    }
    sum.relu()? - (sum.neg()?.relu()? * slope)?
}

#[test]
fn batch_norm_with_activation_and_residual() {
    let (y, w, b, r) = (
        var(&[4, 3, 5, 5], 1),
        var(&[3], 2),
        var(&[3], 3),
        var(&[4, 3, 5, 5], 4),
    );
    let norm = |residual: Option<&Tensor>| {
        batch_norm_act(
            &y,
            &w,
            &b,
            residual,
            BatchStatistics::OfBatch,
            1e-5,
            Activation::LeakyRelu(0.01),
        )
        .unwrap()
    };
    same(
        &[&y, &w, &b],
        norm(None).out,
        plain_norm(&y, &w, &b, None, 0.01).unwrap(),
    );
    same(
        &[&y, &w, &b, &r],
        norm(Some(&r)).out,
        plain_norm(&y, &w, &b, Some(&r), 0.01).unwrap(),
    );

    let trained = norm(None);
    let running = BatchStatistics::Running {
        mean: &trained.mean,
        variance: &trained.variance,
    };
    let evaluated =
        batch_norm_act(&y, &w, &b, None, running, 1e-5, Activation::LeakyRelu(0.01)).unwrap();
    assert_close(&trained.out, &evaluated.out);
    assert!(evaluated.out.sum_all().unwrap().backward().is_err());
}

#[test]
fn shortcut_and_global_pool() {
    let x = var(&[2, 3, 4, 4], 5);
    let theirs = x.avg_pool2d(2).unwrap().pad_with_zeros(1, 0, 4).unwrap();
    same(&[&x], avg_pool_shortcut(&x, 7, 2).unwrap(), theirs);
    same(
        &[&x],
        avg_pool_shortcut(&x, 5, 1).unwrap(),
        x.pad_with_zeros(1, 0, 2).unwrap(),
    );
    same(&[&x], global_avg_pool(&x).unwrap(), x.mean((2, 3)).unwrap());
    let odd = var(&[1, 2, 5, 5], 6);
    assert_eq!(avg_pool_shortcut(&odd, 2, 2).unwrap().dims(), [1, 2, 3, 3]);
    assert!(avg_pool_shortcut(&x, 2, 1).is_err());
}

#[test]
fn element_types_do_not_mix_silently() {
    let x = var(&[1, 2, 4, 4], 5);
    let w = var(&[2, 2, 3, 3], 6).to_dtype(DType::F32).unwrap();
    assert!(
        conv2d(&x, &w, 1)
            .unwrap_err()
            .to_string()
            .contains("convert")
    );
    let half = conv2d(
        &x.to_dtype(DType::BF16).unwrap(),
        &w.to_dtype(DType::BF16).unwrap(),
        1,
    )
    .unwrap();
    assert_eq!(half.dtype(), DType::BF16);
}
