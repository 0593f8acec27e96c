use super::*;
use crate::{HeadGradient, L2Mode, Net};

/// Gradients and the tensors after a pass, with a tape or by candle's own graph.
fn pass(config: &NetConfig, taped: bool) -> (Vec<Vec<f64>>, Parameters<f64>) {
    let parameters = Parameters::<f64>::initialise(config, 3).unwrap();
    let mut net = CandleNet::new(config, parameters, Device::Cpu).unwrap();
    net.taped = taped;
    let side = config.input_size;
    let images: Vec<f64> = (0..4 * 3 * side * side)
        .map(|i| (f64::from(i as u32) * 0.7).sin())
        .collect();
    let mut loss = |output: &Output<f64>, weight: &[f64]| HeadGradient {
        logits: Some(output.logits.iter().map(|x| x.cos()).collect()),
        head_input: Some(output.features.iter().map(|x| 0.1 * x.sin()).collect()),
        weight: Some(weight.iter().map(|x| x * x).collect()),
    };
    let batch = Batch::nchw(4, side, 3, &images);
    let gradients = net.train_pass(&batch, &mut loss).unwrap();
    (gradients.values, net.parameters().unwrap().clone())
}

#[test]
fn the_tape_gives_the_gradients_of_candles_graph() {
    let base = |net| NetConfig {
        width: 4,
        input_size: 8,
        ..NetConfig::new(net, 3)
    };
    let small = base(Net::Resnet18);
    let configs = [
        NetConfig {
            spectral_norm: Some(0.3),
            l2: L2Mode::TrainAndInference,
            ..small.clone()
        },
        NetConfig {
            modified: false,
            spectral_norm: Some(0.3),
            ..small.clone()
        },
        // Odd maps, and a norm that does not count.
        NetConfig {
            input_size: 10,
            spectral_norm: Some(1e6),
            ..small
        },
        NetConfig {
            spectral_norm: Some(0.5),
            ..base(Net::Resnet50)
        },
        NetConfig {
            spectral_norm: Some(0.5),
            dropout: 0.3,
            ..base(Net::WideResnet28)
        },
        NetConfig {
            input_size: 32,
            spectral_norm: None,
            ..base(Net::Vgg16)
        },
    ];
    for config in configs {
        let (ours, tensors) = pass(&config, true);
        let (theirs, expected) = pass(&config, false);
        assert_eq!(tensors, expected, "{config:?}");
        for ((a, b), spec) in ours
            .iter()
            .zip(&theirs)
            .zip(config.plan().unwrap().tensors())
        {
            let scale = b.iter().fold(1e-12, |max: f64, x| max.max(x.abs()));
            let errors = a.iter().zip(b).map(|(a, b)| (a - b).abs() / scale);
            let error = errors.fold(0.0, f64::max);
            assert!(error < 1e-12, "{} of {config:?}: {error}", spec.name);
        }
    }
}
