//! Batch norm, pooling, head, optimiser and spectral norm: against plain f64 formulas and finite differences.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

mod support;

use collapse_kernels::{
    Act, Activation, BatchNorm, Float, KernelPath, NetworkElement, Residual, Sgd, Shape, add, bf16,
    bn_act_backward, bn_act_forward, channel_statistics, global_avg_pool, global_avg_pool_backward,
    linear_backward, linear_forward, max_pool2, max_pool2_backward, pool_pad_backward,
    pool_statistics, sgd_step, with_kernel_path,
};
use support::{Stream, roundoff, wide};

fn on_every_path(check: impl Fn()) {
    for path in KernelPath::available() {
        with_kernel_path(path, &check).unwrap();
    }
}

fn close<T: NetworkElement>(
    what: &str,
    found: &[T::Param],
    expected: &[f64],
    scale: f64,
    roundings: f64,
) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (k, (f, e)) in found.iter().zip(expected).enumerate() {
        let error = (f.to_f64() - e).abs();
        assert!(
            error <= roundings * roundoff::<T>() * scale,
            "{} {what}[{k}]: {f} against {e}",
            T::NAME
        );
    }
}

struct Norm<P> {
    mean: Vec<P>,
    variance: Vec<P>,
    weight: Vec<P>,
    bias: Vec<P>,
}

impl<P: Float> Norm<P> {
    fn random(stream: &mut Stream, c: usize) -> Self {
        let mut take = |offset: f64| -> Vec<P> {
            (0..c)
                .map(|_| P::from_f64(offset + 0.5 * stream.next()))
                .collect()
        };
        Self {
            mean: take(0.0),
            variance: take(1.0),
            weight: take(1.0),
            bias: take(0.0),
        }
    }

    fn view(&self) -> BatchNorm<'_, P> {
        BatchNorm {
            mean: &self.mean,
            variance: &self.variance,
            eps: P::from_f64(1e-5),
            weight: &self.weight,
            bias: &self.bias,
        }
    }

    fn apply(&self, value: f64, c: usize) -> f64 {
        let inverse = 1.0 / (self.variance[c].to_f64() + 1e-5).sqrt();
        self.weight[c].to_f64() * (value - self.mean[c].to_f64()) * inverse + self.bias[c].to_f64()
    }
}

/// Index into [N, C, H, W].
fn at(s: Shape, n: usize, c: usize, y: usize, x: usize) -> usize {
    ((n * s.c + c) * s.h + y) * s.w + x
}

fn positions(s: Shape) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..s.len()).map(move |k| {
        (
            k / (s.c * s.h * s.w),
            k / (s.h * s.w) % s.c,
            k / s.w % s.h,
            k % s.w,
        )
    })
}

fn forward<T: NetworkElement>() {
    let mut stream = Stream(11);
    // 128 images are a gap between pixels.
    for (h, stride, c_in, n) in [
        (3, 1, 5, 5),
        (4, 2, 20, 5),
        (4, 1, 33, 5),
        (3, 2, 20, 5),
        (2, 2, 20, 128),
    ] {
        let shape = Shape { h, w: h, n, c: 33 };
        let source = Shape {
            h: if h == 3 && stride == 2 { 5 } else { h * stride },
            w: if h == 3 && stride == 2 { 5 } else { h * stride },
            n,
            c: c_in,
        };
        let (y, branch, x) = (
            stream.take::<T>(shape.len()),
            stream.take::<T>(shape.len()),
            stream.take::<T>(source.len()),
        );
        let (bn, other) = (
            Norm::<T::Param>::random(&mut stream, 33),
            Norm::<T::Param>::random(&mut stream, 33),
        );
        let (ya, ba, xa) = (
            Act::<T>::from_nchw(shape, &y).unwrap(),
            Act::<T>::from_nchw(shape, &branch).unwrap(),
            Act::<T>::from_nchw(source, &x).unwrap(),
        );
        let (ys, bs, xs) = (wide(&y), wide(&branch), wide(&x));
        let window = if source.h.is_multiple_of(stride) {
            stride
        } else {
            1
        };
        let pooled = |n, c, oy: usize, ox: usize| {
            let cells = (0..window * window).map(|k| {
                xs[at(
                    source,
                    n,
                    c,
                    oy * stride + k / window,
                    ox * stride + k % window,
                )]
            });
            cells.sum::<f64>() / (window * window) as f64
        };
        for (case, residual) in [
            Residual::None,
            Residual::Identity(&ba),
            Residual::PoolPad { x: &xa, stride },
            Residual::BatchNorm {
                y: &ba,
                bn: other.view(),
            },
        ]
        .into_iter()
        .enumerate()
        {
            for slope in [1.0, 0.0, 0.01] {
                let act = if slope == 1.0 {
                    Activation::Identity
                } else {
                    Activation::LeakyRelu(slope)
                };
                let out = bn_act_forward(&ya, &bn.view(), act, residual)
                    .unwrap()
                    .to_nchw();
                let expected: Vec<f64> = positions(shape)
                    .enumerate()
                    .map(|(k, (n, c, oy, ox))| {
                        let added = match case {
                            0 => 0.0,
                            1 => bs[k],
                            2 if c < c_in => pooled(n, c, oy, ox),
                            2 => 0.0,
                            _ => other.apply(bs[k], c),
                        };
                        let sum = bn.apply(ys[k], c) + added;
                        if sum > 0.0 { sum } else { slope * sum }
                    })
                    .collect();
                close::<T>("out", &out, &expected, 8.0, 8.0);
            }
        }
        // Backward of the shortcut: ⟨g, pool(x)⟩ = ⟨poolᵀ(g), x⟩, written and added.
        let g = Act::<T>::from_nchw(shape, &y).unwrap();
        let dx = pool_pad_backward(&g, source, stride, None).unwrap();
        let twice = pool_pad_backward(&g, source, stride, Some(dx.duplicate())).unwrap();
        let mut left = 0.0;
        for (n, c, oy, ox) in positions(shape).filter(|p| p.1 < c_in) {
            left += ys[at(shape, n, c, oy, ox)] * pooled(n, c, oy, ox);
        }
        let right: f64 = wide(&dx.to_nchw())
            .iter()
            .zip(&xs)
            .map(|(a, b)| a * b)
            .sum();
        assert!(
            (left - right).abs() <= roundoff::<T>() * shape.len() as f64,
            "{left} {right}"
        );
        let doubled: Vec<f64> = wide(&dx.to_nchw()).iter().map(|v| 2.0 * v).collect();
        close::<T>("added", &twice.to_nchw(), &doubled, 2.0, 2.0);
    }
}

#[test]
fn forward_matches_the_formula_with_every_residual() {
    on_every_path(|| {
        forward::<f32>();
        forward::<f64>();
        forward::<bf16>();
    });
}

/// Against the formula written out in f64, from the same (rounded) inputs.
fn backward<T: NetworkElement>(n: usize) {
    let mut stream = Stream(5);
    let shape = Shape {
        h: 3,
        w: 4,
        n,
        c: 19,
    };
    let (y, residual, d) = (
        stream.take::<T>(shape.len()),
        stream.take::<T>(shape.len()),
        stream.take::<T>(shape.len()),
    );
    let act = |v: &[T::Param]| Act::<T>::from_nchw(shape, v).unwrap();
    let (ya, ra) = (act(&y), act(&residual));
    let statistics = channel_statistics(&ya).unwrap();
    let affine = Norm::<T::Param>::random(&mut stream, shape.c);
    let bn = BatchNorm {
        mean: &statistics.mean,
        variance: &statistics.variance,
        eps: T::Param::from_f64(1e-5),
        weight: &affine.weight,
        bias: &affine.bias,
    };
    let activation = Activation::LeakyRelu(0.01);
    let out = bn_act_forward(&ya, &bn, activation, Residual::Identity(&ra)).unwrap();
    let back = bn_act_backward(act(&d), &out, &ya, &bn, activation, true).unwrap();
    let lean = bn_act_backward(act(&d), &out, &ya, &bn, activation, false).unwrap();
    assert_eq!(back.dy.to_nchw(), lean.dy.to_nchw());
    assert!(lean.g.is_none());

    let (ys, ds, outs) = (wide(&y), wide(&d), wide(&out.to_nchw()));
    let g: Vec<f64> = ds
        .iter()
        .zip(&outs)
        .map(|(d, o)| if *o > 0.0 { *d } else { 0.01 * d })
        .collect();
    close::<T>("g", &back.g.unwrap().to_nchw(), &g, 1.0, 2.0);
    let count = (shape.h * shape.w * shape.n) as f64;
    let mut dy = vec![0.0; shape.len()];
    let (mut dweight, mut dbias) = (Vec::new(), Vec::new());
    for c in 0..shape.c {
        let of_channel: Vec<usize> = positions(shape)
            .enumerate()
            .filter(|(_, p)| p.1 == c)
            .map(|(k, _)| k)
            .collect();
        let (mean, inverse) = (
            statistics.mean[c].to_f64(),
            1.0 / (statistics.variance[c].to_f64() + 1e-5).sqrt(),
        );
        let sum_g: f64 = of_channel.iter().map(|&k| g[k]).sum();
        let sum_gx: f64 = of_channel
            .iter()
            .map(|&k| g[k] * (ys[k] - mean) * inverse)
            .sum();
        for k in of_channel {
            let x = (ys[k] - mean) * inverse;
            dy[k] =
                affine.weight[c].to_f64() * inverse * (g[k] - sum_g / count - x * sum_gx / count);
        }
        dweight.push(sum_gx);
        dbias.push(sum_g);
    }
    close::<T>("dy", &back.dy.to_nchw(), &dy, 4.0, 8.0);
    // The sums are taken over the rounded gradient: one rounding of each of `count` terms.
    close::<T>("dweight", &back.dweight, &dweight, count, 2.0);
    close::<T>("dbias", &back.dbias, &dbias, count, 2.0);
}

#[test]
fn backward_matches_the_formula() {
    on_every_path(|| {
        // 128 images are a gap between pixels.
        for n in [21, 128] {
            backward::<f32>(n);
            backward::<f64>(n);
            backward::<bf16>(n);
        }
    });
}

#[test]
fn the_number_of_threads_does_not_show() {
    fn bytes<T: NetworkElement>(threads: usize) -> Vec<f64> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let shape = Shape {
            h: 9,
            w: 7,
            n: 33,
            c: 70,
        };
        let mut stream = Stream(6);
        let (y, d) = (stream.take::<T>(shape.len()), stream.take::<T>(shape.len()));
        pool.install(|| {
            let (y, d) = (
                Act::<T>::from_nchw(shape, &y).unwrap(),
                Act::<T>::from_nchw(shape, &d).unwrap(),
            );
            let statistics = channel_statistics(&y).unwrap();
            let (ones, zeros) = (vec![T::Param::ONE; shape.c], vec![T::Param::ZERO; shape.c]);
            let (mean, variance) = (&statistics.mean, &statistics.variance);
            let bn = BatchNorm {
                mean,
                variance,
                eps: T::Param::from_f64(1e-5),
                weight: &ones,
                bias: &zeros,
            };
            let act = Activation::LeakyRelu(0.01);
            let out = bn_act_forward(&y, &bn, act, Residual::Identity(&d)).unwrap();
            let back = bn_act_backward(d.duplicate(), &out, &y, &bn, act, true).unwrap();
            wide(
                &[
                    out.to_nchw(),
                    back.dy.to_nchw(),
                    back.dweight,
                    back.dbias,
                    mean.clone(),
                    variance.clone(),
                ]
                .concat(),
            )
        })
    }
    for threads in [2, 5] {
        assert_eq!(bytes::<f32>(1), bytes::<f32>(threads));
        assert_eq!(bytes::<bf16>(1), bytes::<bf16>(threads));
    }
}

#[test]
fn a_large_mean_does_not_spoil_the_variance() {
    let shape = Shape {
        h: 6,
        w: 5,
        n: 40,
        c: 3,
    };
    let mut stream = Stream(9);
    let values: Vec<f32> = (0..shape.len())
        .map(|_| 1000.0 + stream.next() as f32)
        .collect();
    let statistics = channel_statistics(&Act::<f32>::from_nchw(shape, &values).unwrap()).unwrap();
    for c in 0..3 {
        let of: Vec<f64> = positions(shape)
            .zip(&values)
            .filter(|(p, _)| p.1 == c)
            .map(|(_, v)| f64::from(*v))
            .collect();
        let mean = of.iter().sum::<f64>() / of.len() as f64;
        let variance = of.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / of.len() as f64;
        assert!((f64::from(statistics.variance[c]) - variance).abs() < 1e-5 * variance);
    }
}

#[test]
fn pooling_and_its_gradients_are_transposes() {
    let mut stream = Stream(2);
    // 128 images are a gap between pixels.
    for (h, window, n) in [(4, 4, 3), (8, 4, 3), (5, 2, 3), (5, 2, 128)] {
        let shape = Shape { h, w: h, n, c: 18 };
        let x = stream.take::<f64>(shape.len());
        let z = global_avg_pool(&Act::<f64>::from_nchw(shape, &x).unwrap(), window).unwrap();
        let side = h / window;
        assert_eq!(z.len(), n * 18 * side * side);
        let mean: f64 = (0..window * window)
            .map(|k| x[at(shape, 1, 2, k / window, k % window)])
            .sum::<f64>()
            / (window * window) as f64;
        assert!((z[(18 + 2) * side * side] - mean).abs() < 1e-15);
        let dz = stream.take::<f64>(z.len());
        let dx = global_avg_pool_backward::<f64>(&dz, shape, window)
            .unwrap()
            .to_nchw();
        let left: f64 = z.iter().zip(&dz).map(|(a, b)| a * b).sum();
        let right: f64 = x.iter().zip(&dx).map(|(a, b)| a * b).sum();
        assert!((left - right).abs() < 1e-12);

        let act = Act::<f64>::from_nchw(shape, &x).unwrap();
        let out = max_pool2(&act).unwrap();
        let gradient = stream.take::<f64>(out.shape().len());
        let dx = max_pool2_backward(&Act::from_nchw(out.shape(), &gradient).unwrap(), &act)
            .unwrap()
            .to_nchw();
        let left: f64 = out
            .to_nchw()
            .iter()
            .zip(&gradient)
            .map(|(a, b)| a * b)
            .sum();
        let right: f64 = x.iter().zip(&dx).map(|(a, b)| a * b).sum();
        assert!((left - right).abs() < 1e-12);
        assert_eq!(dx.iter().filter(|v| **v != 0.0).count(), gradient.len());
        let sum = add(act.duplicate(), &act).unwrap().to_nchw();
        assert!(sum.iter().zip(&x).all(|(s, v)| *s == 2.0 * v));
    }
    assert!(
        global_avg_pool(
            &Act::<f32>::zeros(Shape {
                h: 2,
                w: 2,
                n: 1,
                c: 1
            }),
            3
        )
        .is_err()
    );
}

#[test]
fn layouts_round_trip() {
    let shape = Shape {
        h: 3,
        w: 2,
        n: 5,
        c: 7,
    };
    let values = Stream(1).take::<bf16>(shape.len());
    let act = Act::<bf16>::from_nchw(shape, &values).unwrap();
    assert_eq!(act.to_nchw(), values);
    assert_eq!(
        Act::<bf16>::from_hwnc(shape, &act.to_hwnc())
            .unwrap()
            .to_nchw(),
        values
    );
    assert!(act.is_finite());
    let mut spoiled = values;
    spoiled[17] = f32::NAN;
    assert!(!Act::<bf16>::from_nchw(shape, &spoiled).unwrap().is_finite());
    spoiled[17] = f32::INFINITY;
    assert!(!Act::<bf16>::from_nchw(shape, &spoiled).unwrap().is_finite());
}

#[test]
fn the_head_is_a_linear_layer() {
    let (n, d, c) = (5, 37, 4);
    let mut stream = Stream(4);
    let (x, w, b, g) = (
        stream.take::<f64>(n * d),
        stream.take::<f64>(c * d),
        stream.take::<f64>(c),
        stream.take::<f64>(n * c),
    );
    let logits = linear_forward(&x, &w, &b, n, d, c).unwrap();
    let expected: f64 = (0..d).map(|k| x[2 * d + k] * w[3 * d + k]).sum::<f64>() + b[3];
    assert!((logits[2 * c + 3] - expected).abs() < 1e-13);
    let back = linear_backward(&x, &w, &g, n, d, c).unwrap();
    let dx: f64 = (0..c).map(|k| g[c + k] * w[k * d + 5]).sum();
    let dw: f64 = (0..n).map(|k| g[k * c + 1] * x[k * d + 6]).sum();
    let db: f64 = (0..n).map(|k| g[k * c + 1]).sum();
    assert!(
        (back.dx[d + 5] - dx).abs() < 1e-13
            && (back.dw[d + 6] - dw).abs() < 1e-13
            && (back.db[1] - db).abs() < 1e-13
    );
}

#[test]
fn sgd_takes_pytorch_steps() {
    for nesterov in [false, true] {
        let sgd = Sgd {
            learning_rate: 0.1,
            momentum: 0.9,
            weight_decay: 0.01,
            nesterov,
        };
        let (mut w, mut v, mut weights, mut momentum) =
            (2.0f64, 0.0, vec![2.0f64; 40_000], vec![0.0; 40_000]);
        for step in 0..3 {
            let gradient = 0.5 + f64::from(step);
            let g = gradient + 0.01 * w;
            v = 0.9 * v + g;
            w -= 0.1 * if nesterov { g + 0.9 * v } else { v };
            sgd_step(&mut weights, &mut momentum, &vec![gradient; 40_000], sgd).unwrap();
            assert!(
                weights.iter().all(|x| (x - w).abs() < 1e-14)
                    && momentum.iter().all(|x| (x - v).abs() < 1e-14)
            );
        }
    }
}

#[test]
fn a_steady_state_allocates_nothing() {
    let shape = Shape {
        h: 8,
        w: 8,
        n: 16,
        c: 24,
    };
    let step = || {
        let x = Act::<f32>::zeros(shape);
        let y = x.duplicate();
        let statistics = channel_statistics(&y).unwrap();
        let (ones, zeros) = (vec![1.0; 24], vec![0.0; 24]);
        let bn = BatchNorm {
            mean: &statistics.mean,
            variance: &statistics.variance,
            eps: 1e-5,
            weight: &ones,
            bias: &zeros,
        };
        let out = bn_act_forward(&y, &bn, Activation::Identity, Residual::Identity(&x)).unwrap();
        drop(bn_act_backward(x, &out, &y, &bn, Activation::Identity, true).unwrap());
    };
    (0..20).for_each(|_| step());
    let before = pool_statistics();
    (0..1000).for_each(|_| step());
    let after = pool_statistics();
    // Other tests of this binary share the pool; a step that leaked would ask a thousand times.
    assert!(
        after.fresh_allocations - before.fresh_allocations < 500,
        "{before:?} {after:?}"
    );
}
