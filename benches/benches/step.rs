//! Forward and backward of whole networks: the quick scale's (width 16, grey 28×28) and CIFAR's at width 32.

use collapse_benches::noise_f32;
use collapse_kernels::{NetworkElement, bf16, kernel_path};
use collapse_models::{Batch, HeadGradient, L2Mode, Net, NetConfig, Network, Result};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

struct Case {
    name: &'static str,
    config: NetConfig,
    batch: usize,
}

fn cases() -> [Case; 2] {
    let base = NetConfig {
        l2: L2Mode::TrainAndInference,
        spectral_norm: Some(3.0),
        ..NetConfig::new(Net::Resnet18, 8)
    };
    [
        Case {
            name: "resnet18_w16_grey28",
            config: NetConfig {
                width: 16,
                in_channels: 1,
                input_size: 28,
                ..base.clone()
            },
            batch: 64,
        },
        Case {
            name: "resnet18_w32_rgb32",
            config: NetConfig { width: 32, ..base },
            batch: 64,
        },
    ]
}

fn network<T: NetworkElement<Param = f32>>(c: &mut Criterion, precision: &str) -> Result<()> {
    for Case {
        name,
        config,
        batch,
    } in cases()
    {
        let (side, channels) = (config.input_size, config.in_channels);
        let values = noise_f32(1, side * side * batch * channels);
        let images = Batch::hwnc(batch, side, channels, &values);
        let gradient = noise_f32(2, batch * config.n_classes);
        let mut net = Network::<T>::new(&config, 1)?;

        // Once outside the clock, where an error stops the benchmark instead of being timed.
        net.forward_eval(&images)?;
        let (_, tape) = net.forward_train(&images)?;
        net.backward(tape, HeadGradient::of_logits(gradient.clone()))?;

        let mut group = c.benchmark_group(format!("{name}_{precision}"));
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function("forward_eval", |b| b.iter(|| net.forward_eval(&images)));
        group.bench_function("forward_backward", |b| {
            b.iter(|| {
                let (_, tape) = net.forward_train(&images)?;
                net.backward(tape, HeadGradient::of_logits(gradient.clone()))
            });
        });
        group.finish();
    }
    Ok(())
}

fn step(c: &mut Criterion) {
    let path = kernel_path().unwrap_or_else(|error| panic!("{error}"));
    eprintln!("kernel path: {}", path.name());
    network::<f32>(c, "f32").unwrap_or_else(|error| panic!("{error}"));
    network::<bf16>(c, "bf16").unwrap_or_else(|error| panic!("{error}"));
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(std::time::Duration::from_millis(500))
        .measurement_time(std::time::Duration::from_secs(2));
    targets = step
}
criterion_main!(benches);
