//! Times one training step, its parts and an evaluation forward.
//!
//! `cargo run -p collapse-models --example step -- [net] [width] [batch] [f32|bf16] [side] [steps]`

use std::time::Instant;

use collapse_kernels::{NetworkElement, Sgd, bf16, kernel_path, pool_statistics, sgd_step};
use collapse_models::{Batch, HeadGradient, Net, NetConfig, Network, TensorId};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let get = |i: usize, default: &str| {
        arguments
            .get(i)
            .map_or_else(|| default.to_owned(), Clone::clone)
    };
    let net: Net = get(0, "resnet18").parse()?;
    let mut config = NetConfig::new(net, 10);
    config.width = get(1, "64").parse()?;
    let batch: usize = get(2, "128").parse()?;
    config.input_size = get(4, "32").parse()?;
    let steps: usize = get(5, "4").parse()?;
    match get(3, "f32").as_str() {
        "bf16" => time::<bf16>(&config, batch, steps),
        _ => time::<f32>(&config, batch, steps),
    }
}

fn time<T: NetworkElement<Param = f32>>(
    config: &NetConfig,
    n: usize,
    steps: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let side = config.input_size;
    let mut network = Network::<T>::new(config, 1)?;
    let gflop = 3.0 * network.plan().forward_flops() as f64 * n as f64 / 1e9;
    println!(
        "{} width {}, {n} images of {side}x{side}, {} on {}: {gflop:.0} GFLOP a step",
        config.net,
        config.width,
        T::NAME,
        kernel_path()?.name()
    );
    let values: Vec<f32> = (0..n * 3 * side * side)
        .map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0)
        .collect();
    let images = Batch::hwnc(n, side, 3, &values);
    let mut momentum: Vec<Vec<f32>> = network
        .parameters()
        .iter()
        .map(|(spec, _)| vec![0.0; spec.len()])
        .collect();
    for step in 0..steps {
        let start = Instant::now();
        let (output, tape) = network.forward_train(&images)?;
        let forward = start.elapsed();
        let c = config.n_classes;
        let gradient = (0..n * c)
            .map(|i| if i % c == (i / c) % c { -0.9 } else { 0.1 } / n as f32)
            .collect();
        let gradients = network.backward(tape, HeadGradient::of_logits(gradient))?;
        let backward = start.elapsed() - forward;
        let parameters = network.parameters_mut();
        let trainable: Vec<TensorId> = parameters.trainable().collect();
        for i in trainable {
            let sgd = Sgd {
                learning_rate: 0.01,
                momentum: 0.9,
                weight_decay: 5e-4,
                nesterov: false,
            };
            sgd_step(
                parameters.get_mut(i),
                &mut momentum[i],
                gradients.get(i),
                sgd,
            )?;
        }
        let total = start.elapsed();
        let sum: f64 = output.logits.iter().map(|&x| f64::from(x)).sum();
        println!(
            "step {step}: {:.1} ms (forward {:.1}, backward {:.1}, update {:.1}), {:.0} GFLOP/s, \
             logit sum {sum:.4}",
            total.as_secs_f64() * 1e3,
            forward.as_secs_f64() * 1e3,
            backward.as_secs_f64() * 1e3,
            (total - forward - backward).as_secs_f64() * 1e3,
            gflop / total.as_secs_f64()
        );
    }
    let start = Instant::now();
    network.prepare_train()?;
    println!(
        "power iteration and packing: {:.1} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
    let start = Instant::now();
    network.forward_eval(&images)?;
    println!("evaluation: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    println!("pool: {:?}", pool_statistics());
    Ok(())
}
