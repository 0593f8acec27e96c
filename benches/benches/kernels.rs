//! Convolutions of every stage of a ResNet18 and of a bottleneck, and the fused passes between them, in f32 and bf16.
//!
//! Throughput of the convolutions counts floating-point operations, so `Gelem/s` reads as GFLOP/s.

use collapse_benches::{noise, noise_f32};
use collapse_kernels::{
    Act, Activation, BatchNorm, Conv, ConvWeights, NetworkElement, Residual, Result, Sgd, Shape,
    bf16, bn_act_backward, bn_act_forward, conv_backward_data, conv_backward_weights, conv_forward,
    kernel_path, sgd_step,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const BATCH: usize = 32;

/// Input side, channels in and out, kernel, stride.
const LAYERS: [(usize, usize, usize, usize, usize); 7] = [
    (32, 3, 64, 3, 1),
    (32, 64, 64, 3, 1),
    (32, 64, 128, 3, 2),
    (16, 128, 128, 3, 1),
    (8, 256, 256, 3, 1),
    (4, 512, 512, 3, 1),
    (32, 64, 256, 1, 1),
];

fn activations<T: NetworkElement<Param = f32>>(seed: u64, shape: Shape) -> Result<Act<T>> {
    Act::from_hwnc(shape, &noise_f32(seed, shape.len()))
}

fn convolutions<T: NetworkElement<Param = f32>>(c: &mut Criterion, precision: &str) -> Result<()> {
    for (side, c_in, c_out, kernel, stride) in LAYERS {
        let conv = Conv::new(c_in, c_out, kernel, stride)?;
        let input = Shape {
            h: side,
            w: side,
            n: BATCH,
            c: c_in,
        };
        let x = activations::<T>(1, input)?;
        let dy = activations::<T>(2, conv.output_shape(input))?;
        let weights =
            ConvWeights::<T>::pack(conv, (side, side), &noise_f32(3, conv.weight_len()), 0.1)?;
        let mut dw = vec![0.0; conv.weight_len()];

        // Once outside the clock, where an error stops the benchmark instead of being timed.
        conv_forward(&x, &weights, true)?;
        conv_backward_data(&dy, &weights, input, None)?;
        conv_backward_weights(&x, &dy, conv, 1.0, &mut dw)?;

        let mut group = c.benchmark_group(format!(
            "conv_{precision}/{kernel}x{kernel}s{stride}_{c_in}to{c_out}_at_{side}"
        ));
        group.throughput(Throughput::Elements(conv.flops(input) as u64));
        group.bench_function("forward", |b| b.iter(|| conv_forward(&x, &weights, true)));
        group.bench_function("backward_data", |b| {
            b.iter(|| conv_backward_data(&dy, &weights, input, None))
        });
        group.bench_function("backward_weights", |b| {
            b.iter(|| conv_backward_weights(&x, &dy, conv, 1.0, &mut dw))
        });
        group.finish();
    }
    Ok(())
}

fn normalisations<T: NetworkElement<Param = f32>>(
    c: &mut Criterion,
    precision: &str,
) -> Result<()> {
    let shape = Shape {
        h: 32,
        w: 32,
        n: BATCH,
        c: 64,
    };
    let y = activations::<T>(1, shape)?;
    let shortcut = activations::<T>(2, shape)?;
    let parameters = [noise(3), noise(4)]
        .map(|values| values.take(shape.c).map(|v| v as f32).collect::<Vec<_>>());
    let variance = vec![0.3; shape.c];
    let bn = BatchNorm {
        mean: &parameters[0],
        variance: &variance,
        eps: 1e-5,
        weight: &parameters[0],
        bias: &parameters[1],
    };
    let act = Activation::LeakyRelu(0.01);
    let out = bn_act_forward(&y, &bn, act, Residual::Identity(&shortcut))?;

    bn_act_backward(shortcut.duplicate(), &out, &y, &bn, act, true)?;

    let mut group = c.benchmark_group(format!("batch_norm_{precision}"));
    group.throughput(Throughput::Bytes((shape.len() * size_of::<T>()) as u64));
    group.bench_function("forward", |b| {
        b.iter(|| bn_act_forward(&y, &bn, act, Residual::None))
    });
    group.bench_function("forward_residual", |b| {
        b.iter(|| bn_act_forward(&y, &bn, act, Residual::Identity(&shortcut)));
    });
    group.bench_function("backward", |b| {
        b.iter_batched(
            || shortcut.duplicate(),
            |dout| bn_act_backward(dout, &out, &y, &bn, act, true),
            BatchSize::LargeInput,
        );
    });
    group.finish();
    Ok(())
}

fn optimiser(c: &mut Criterion) {
    let n = 11_000_138;
    let gradient = noise_f32(1, n);
    let (mut weights, mut momentum) = (noise_f32(2, n), vec![0.0; n]);
    let sgd = Sgd {
        learning_rate: 1e-6,
        momentum: 0.9,
        weight_decay: 5e-4,
        nesterov: false,
    };
    let mut group = c.benchmark_group("sgd_step");
    group.throughput(Throughput::Elements(n as u64));
    group.bench_function("resnet18_parameters", |b| {
        b.iter(|| sgd_step(&mut weights, &mut momentum, &gradient, sgd));
    });
    group.finish();
}

fn all(c: &mut Criterion) -> Result<()> {
    eprintln!("kernel path: {}", kernel_path()?.name());
    convolutions::<f32>(c, "f32")?;
    convolutions::<bf16>(c, "bf16")?;
    normalisations::<f32>(c, "f32")?;
    normalisations::<bf16>(c, "bf16")?;
    optimiser(c);
    Ok(())
}

fn kernels(c: &mut Criterion) {
    all(c).unwrap_or_else(|error| panic!("{error}"));
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = kernels
}
criterion_main!(benches);
