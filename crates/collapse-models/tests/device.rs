//! Training that leaves everything on candle's device: on its CPU, and on a GPU where this build and this machine have
//! one. Where they have none, the test says that it skips.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use collapse_kernels::{Float, Sgd};
use collapse_models::{
    Batch, CandleNet, Device, HeadGradient, L2Mode, Net, NetConfig, Optimizer, Output, Parameters,
    StepRule,
};
use collapse_random::Stream;

const N: usize = 6;

fn config() -> NetConfig {
    NetConfig {
        width: 4,
        input_size: 8,
        spectral_norm: Some(0.3),
        l2: L2Mode::TrainAndInference,
        ..NetConfig::new(Net::Resnet18, 3)
    }
}

fn random<P: Float>(n: usize, purpose: &str, step: u64) -> Vec<P> {
    let mut stream = Stream::new(21, purpose, step);
    (0..n).map(|_| P::from_f64(stream.normal())).collect()
}

fn rule<P: Float>(nesterov: bool, clip_norm: Option<f64>) -> StepRule<P> {
    StepRule {
        sgd: Sgd {
            learning_rate: P::from_f64(0.05),
            momentum: P::from_f64(0.9),
            weight_decay: P::from_f64(5e-4),
            nesterov,
        },
        clip_norm,
        ema_decay: Some(0.8),
    }
}

/// A network on `device` with its optimiser.
struct Trained<P> {
    net: CandleNet<P>,
    optimizer: Optimizer<P>,
    norms: Vec<Option<f64>>,
}

impl<P: Float + candle_core::WithDType> Trained<P> {
    fn begin(device: candle_core::Device) -> Self {
        let config = config();
        let parameters = Parameters::initialise(&config, 5).unwrap();
        let momentum = Parameters::zeros(&config.plan().unwrap());
        Self {
            optimizer: Optimizer::new(momentum, Some(parameters.clone())),
            net: CandleNet::new(&config, parameters, device).unwrap(),
            norms: Vec::new(),
        }
    }

    /// Steps on other images each; on the host they go through downloaded gradients and the host's optimiser.
    fn train(&mut self, steps: std::ops::Range<u64>, rule: &StepRule<P>, on_host: bool) {
        for step in steps {
            let images = random(N * 3 * 64, "images", step);
            let images = Batch::nchw(N, 8, 3, &images);
            // A linear functional of the logits, and the head's weights themselves.
            let mut loss = |output: &Output<P>, head: &[P]| HeadGradient {
                logits: Some(random(output.logits.len(), "logits", step)),
                head_input: None,
                weight: Some(head.to_vec()),
            };
            let norm = if on_host {
                let gradients = self.net.train_pass(&images, &mut loss).unwrap();
                let parameters = self.net.parameters_mut().unwrap();
                self.optimizer.step(parameters, gradients, rule)
            } else {
                self.net
                    .train_step(&images, &mut loss, rule, &mut self.optimizer)
            };
            self.norms.push(norm.unwrap());
        }
    }

    /// Fails unless all that training changes is as in `other`, within a share of the largest value.
    fn assert_near(&mut self, other: &mut Self, tolerance: f64) {
        for (a, b) in self.norms.iter().zip(&other.norms) {
            match (a, b) {
                (Some(a), Some(b)) => assert!((a - b).abs() <= tolerance * b, "{a} and {b}"),
                (a, b) => assert_eq!(a, b),
            }
        }
        let [ours, theirs] = [self, other].map(|side| {
            [
                side.net.parameters().unwrap().clone(),
                side.optimizer.momentum().unwrap().clone(),
                side.optimizer.average().unwrap().unwrap().clone(),
            ]
        });
        for (ours, theirs) in ours.iter().zip(&theirs) {
            for ((spec, a), (_, b)) in ours.iter().zip(theirs.iter()) {
                let scale = b
                    .iter()
                    .map(|x| Float::to_f64(*x).abs())
                    .fold(1e-3, f64::max);
                for (a, b) in a.iter().zip(b) {
                    let error = (Float::to_f64(*a) - Float::to_f64(*b)).abs() / scale;
                    assert!(error <= tolerance, "{}: {a:?} and {b:?}", spec.name);
                }
            }
        }
    }
}

#[test]
fn steps_on_the_device_are_those_of_the_host() {
    for (nesterov, clip_norm) in [(false, None), (true, Some(0.5)), (true, Some(1e6))] {
        let rule = rule::<f64>(nesterov, clip_norm);
        let mut there = Trained::begin(candle_core::Device::Cpu);
        let mut here = Trained::begin(candle_core::Device::Cpu);
        there.train(0..4, &rule, false);
        here.train(0..4, &rule, true);
        there.assert_near(&mut here, 1e-9);
        // What is changed on the host goes back to the device, and what a pass found there is not lost.
        for net in [&mut there.net, &mut here.net] {
            let parameters = net.parameters_mut().unwrap();
            let first = parameters.trainable().next().unwrap();
            parameters.get_mut(first)[0] += 0.25;
        }
        there.train(4..6, &rule, false);
        here.train(4..6, &rule, true);
        there.assert_near(&mut here, 1e-9);
        assert_eq!(there.norms.iter().all(Option::is_some), clip_norm.is_some());
    }
}

#[test]
fn a_gpu_trains_as_the_cpu() {
    for device in [Device::Cuda(0), Device::Metal(0)] {
        let opened = match device.open() {
            Ok(opened) => opened.unwrap(),
            Err(error) => {
                println!("skipped on {device}: {error}");
                continue;
            }
        };
        let rule = rule::<f32>(true, Some(1.0));
        let mut there = Trained::begin(opened);
        let mut here = Trained::begin(candle_core::Device::Cpu);
        there.train(0..3, &rule, false);
        here.train(0..3, &rule, false);
        there.assert_near(&mut here, 1e-2);
        println!("trained on {device}");
    }
}
