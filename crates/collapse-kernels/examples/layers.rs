//! Milliseconds and GFLOP/s of every layer shape of a ResNet18, for every operation.
//!
//! `cargo run --release -p collapse-kernels --example layers -- [width] [batch] [side] [channels in]`
//! Rates count the taps in the zero padding too, as is usual; the kernels skip them.

use collapse_kernels::{
    Act, Activation, BatchNorm, Conv, ConvWeights, Error, Float, NetworkElement, Precision,
    Residual, Shape, bf16, bn_act_backward, bn_act_forward, conv_backward_data,
    conv_backward_weights, conv_forward, kernel_path, peak_gflops_register_loop, pool_statistics,
};
use std::time::Instant;

/// Least of several runs, in seconds: other work on the machine only ever adds.
fn least<R>(mut work: impl FnMut() -> R) -> f64 {
    let once = |work: &mut dyn FnMut() -> R| {
        let start = Instant::now();
        std::hint::black_box(work());
        start.elapsed().as_secs_f64()
    };
    let mut work = &mut work as &mut dyn FnMut() -> R;
    let first = once(&mut work);
    let repetitions = (0.3 / first).clamp(3.0, 200.0) as usize;
    (0..repetitions)
        .map(|_| once(&mut work))
        .fold(first, f64::min)
}

fn layers<T: NetworkElement>(
    width: usize,
    batch: usize,
    side: usize,
    in_channels: usize,
) -> Result<(), Error> {
    let stage = |k: usize| (width << k, side.div_ceil(1 << k));
    // (in, out, kernel, stride, input side, how many in the network)
    let mut shapes = vec![
        (in_channels, width, 3, 1, side, 1),
        (width, width, 3, 1, side, 4),
    ];
    for k in 1..4 {
        let ((c_in, h), (c_out, h_out)) = (stage(k - 1), stage(k));
        shapes.extend([(c_in, c_out, 3, 2, h, 1), (c_out, c_out, 3, 1, h_out, 3)]);
    }
    let path = kernel_path()?;
    let precision = if T::NAME == "bf16" {
        Precision::Bf16
    } else {
        Precision::F32
    };
    let peak = peak_gflops_register_loop(path, precision)?;
    println!(
        "{} on {path}: batch {batch}, least of several runs; registers alone reach {peak:.0} GFLOP/s",
        T::NAME
    );
    println!(
        "{:<24} {:>14} {:>14} {:>14} {:>8} {:>8} {:>8}   ms (GFLOP/s)",
        "layer", "forward", "to input", "to weights", "bn fwd", "bn bwd", "pack"
    );
    let mut totals = [0.0; 6];
    for (c_in, c_out, kernel, stride, h, count) in shapes {
        let conv = Conv::new(c_in, c_out, kernel, stride)?;
        let input = Shape {
            h,
            w: h,
            n: batch,
            c: c_in,
        };
        let output = conv.output_shape(input);
        let values = |len: usize| -> Vec<T::Param> {
            (0..len)
                .map(|i| T::Param::from_f64((i * 7919 % 1009) as f64 / 1009.0 - 0.5))
                .collect()
        };
        let oihw = values(conv.weight_len());
        let mut weights = ConvWeights::<T>::pack(conv, (h, h), &oihw, T::Param::ONE)?;
        let (x, dy) = (
            Act::<T>::from_hwnc(input, &values(input.len()))?,
            Act::<T>::from_hwnc(output, &values(output.len()))?,
        );
        let mut dw = vec![T::Param::ZERO; conv.weight_len()];
        let (ones, zeros) = (vec![T::Param::ONE; c_out], vec![T::Param::ZERO; c_out]);
        let bn = BatchNorm {
            mean: &zeros,
            variance: &ones,
            eps: T::Param::from_f64(1e-5),
            weight: &ones,
            bias: &zeros,
        };
        let act = Activation::LeakyRelu(0.01);
        let out = bn_act_forward(&dy, &bn, act, Residual::None)?;
        let mut gradient = Some(dy.duplicate());
        let mut seconds = [0.0; 6];
        seconds[0] = least(|| conv_forward(&x, &weights, true));
        if c_in != in_channels {
            seconds[1] = least(|| conv_backward_data(&dy, &weights, input, None));
        }
        seconds[2] = least(|| conv_backward_weights(&x, &dy, conv, T::Param::ONE, &mut dw));
        seconds[3] = least(|| bn_act_forward(&dy, &bn, act, Residual::None));
        seconds[4] = least(|| {
            let back = bn_act_backward(gradient.take()?, &out, &dy, &bn, act, false).ok()?;
            gradient = Some(back.dy);
            Some(())
        });
        seconds[5] = least(|| weights.repack(&oihw, T::Param::ONE));
        let rate = |s: f64| {
            if s > 0.0 {
                format!("{:7.2} ({:4.0})", s * 1e3, conv.flops(input) / s / 1e9)
            } else {
                "-".into()
            }
        };
        println!(
            "{:<24} {:>14} {:>14} {:>14} {:8.2} {:8.2} {:8.2}",
            format!("{count}× {c_in}→{c_out} {kernel}×{kernel}/{stride} {h}×{h}"),
            rate(seconds[0]),
            rate(seconds[1]),
            rate(seconds[2]),
            seconds[3] * 1e3,
            seconds[4] * 1e3,
            seconds[5] * 1e3,
        );
        totals
            .iter_mut()
            .zip(seconds)
            .for_each(|(t, s)| *t += s * f64::from(count));
    }
    let all: f64 = totals.iter().sum();
    println!(
        "network: {}; sum {:.1} ms\n",
        totals.map(|t| format!("{:.1}", t * 1e3)).join(" + "),
        all * 1e3
    );
    Ok(())
}

fn main() -> Result<(), Error> {
    let argument = |k: usize, default: usize| {
        std::env::args()
            .nth(k)
            .and_then(|a| a.parse().ok())
            .unwrap_or(default)
    };
    let (width, batch, side, channels) = (
        argument(1, 64),
        argument(2, 128),
        argument(3, 32),
        argument(4, 3),
    );
    layers::<f32>(width, batch, side, channels)?;
    layers::<bf16>(width, batch, side, channels)?;
    println!("{:?}", pool_statistics());
    Ok(())
}
