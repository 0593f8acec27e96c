//! The kernels' network against candle's operations and against difference quotients, over
//! architectures, shortcuts, odd sizes and heads.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use candle_core::Device;
use collapse_models::{
    Batch, CandleNet, Gradients, HeadGradient, L2Mode, Net, NetConfig, Network, Output, Parameters,
};
use collapse_random::Stream;

fn random(n: usize, purpose: &str) -> Vec<f64> {
    let mut stream = Stream::new(21, purpose, 0);
    (0..n).map(|_| stream.normal()).collect()
}

fn configurations() -> Vec<NetConfig> {
    let config = |net, width, input_size, in_channels, modified, spectral_norm, l2| NetConfig {
        net,
        width,
        in_channels,
        input_size,
        n_classes: 3,
        modified,
        spectral_norm,
        l2,
        temperature: 0.7,
        dropout: 0.0,
    };
    let wide = |width, input_size, modified, spectral_norm, dropout| NetConfig {
        dropout,
        ..config(
            Net::WideResnet28,
            width,
            input_size,
            3,
            modified,
            spectral_norm,
            L2Mode::TrainAndInference,
        )
    };
    vec![
        // 14 → 7 → 4 → 2: an odd map in front of a stride.
        config(
            Net::Resnet18,
            4,
            14,
            1,
            true,
            None,
            L2Mode::TrainAndInference,
        ),
        config(Net::Resnet18, 3, 14, 1, true, Some(0.3), L2Mode::TrainOnly),
        config(Net::Resnet18, 4, 12, 3, false, Some(0.3), L2Mode::Off),
        config(Net::Resnet34, 2, 8, 3, true, None, L2Mode::Off),
        config(
            Net::Resnet50,
            2,
            9,
            3,
            true,
            Some(0.3),
            L2Mode::TrainAndInference,
        ),
        config(Net::Resnet50, 2, 16, 1, false, None, L2Mode::Off),
        config(Net::Vgg16, 2, 32, 3, true, Some(0.3), L2Mode::Off),
        config(Net::Vgg16, 3, 24, 1, false, None, L2Mode::TrainAndInference),
        // A stem of 16 channels before 20, and one of 3 before 3.
        wide(20, 8, true, Some(0.3), 0.3),
        wide(3, 13, true, None, 0.5),
        wide(18, 9, false, None, 0.3),
        wide(17, 8, false, Some(0.3), 0.0),
    ]
}

struct Case {
    config: NetConfig,
    parameters: Parameters<f64>,
    images: Vec<f64>,
    n: usize,
}

impl Case {
    fn new(config: NetConfig) -> Self {
        let n = 6;
        let images = random(n * config.in_channels * config.input_size.pow(2), "images");
        Self {
            parameters: Parameters::initialise(&config, 5).unwrap(),
            config,
            images,
            n,
        }
    }

    fn batch(&self) -> Batch<'_, f64> {
        Batch::nchw(
            self.n,
            self.config.input_size,
            self.config.in_channels,
            &self.images,
        )
    }

    /// A random linear functional of logits, head input and head weights.
    fn functional(&self, output: &Output<f64>) -> HeadGradient<f64> {
        let d = output.features.len() / self.n;
        HeadGradient {
            logits: Some(random(output.logits.len(), "logits")),
            head_input: Some(random(output.features.len(), "features")),
            weight: Some(random(self.config.n_classes * d, "weight")),
        }
    }

    fn gradients(&self) -> (Output<f64>, Gradients<f64>, Network<f64>) {
        let mut network = Network::from_parameters(&self.config, self.parameters.clone()).unwrap();
        let (output, tape) = network.forward_train(&self.batch()).unwrap();
        let functional = self.functional(&output);
        let gradients = network.backward(tape, functional).unwrap();
        (output, gradients, network)
    }
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    let scale = b.iter().fold(1e-9f64, |m, x| m.max(x.abs()));
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .fold(0.0f64, |m, (a, b)| m.max((a - b).abs()))
        / scale
}

#[test]
fn kernels_and_candle_agree() {
    for config in configurations() {
        let case = Case::new(config);
        let (output, gradients, mut network) = case.gradients();
        let mut candle =
            CandleNet::new(&case.config, case.parameters.clone(), Device::Cpu).unwrap();
        let mut candle_output = None;
        let candle_gradients = candle
            .train_pass(&case.batch(), &mut |output, _| {
                candle_output = Some(output.clone());
                case.functional(output)
            })
            .unwrap();
        let candle_output = candle_output.unwrap();
        let name = format!("{:?}", case.config);
        assert!(
            distance(&output.logits, &candle_output.logits) < 1e-9,
            "{name}"
        );
        assert!(distance(&output.features, &candle_output.features) < 1e-9);
        for i in network.parameters().ids() {
            let (spec, values) = (network.parameters().spec(i), network.parameters().get(i));
            let theirs = candle.parameters().unwrap().get(i);
            assert!(distance(values, theirs) < 1e-9, "{name}: {}", spec.name);
            let error = distance(gradients.get(i), candle_gradients.get(i));
            assert!(error < 1e-6, "{name}: gradient of {}: {error:e}", spec.name);
        }
        let ours = network.forward_eval(&case.batch()).unwrap();
        let theirs = candle.forward_eval(&case.batch()).unwrap();
        assert!(distance(&ours.logits, &theirs.logits) < 1e-9, "{name}");
    }
}

#[test]
fn gradients_are_difference_quotients() {
    for config in configurations() {
        // With spectral norm u and v move with the weights; the reference holds them constant.
        if config.spectral_norm.is_some() {
            continue;
        }
        let case = Case::new(config);
        let (_, gradients, network) = case.gradients();
        let direction: Vec<Vec<f64>> = network
            .parameters()
            .iter()
            .map(|(spec, _)| random(spec.len(), &spec.name))
            .collect();
        let at = |step: f64| {
            let mut moved = case.parameters.clone();
            for i in network.parameters().trainable() {
                for (w, d) in moved.get_mut(i).iter_mut().zip(&direction[i]) {
                    *w += step * d;
                }
            }
            let (head, _) = network.plan().head_tensors();
            let weights = moved.get(head).to_vec();
            let mut network = Network::<f64>::from_parameters(&case.config, moved).unwrap();
            let (output, _) = network.forward_train(&case.batch()).unwrap();
            let functional = case.functional(&output);
            let dot = |a: Option<&[f64]>, b: &[f64]| -> f64 {
                a.unwrap().iter().zip(b).map(|(a, b)| a * b).sum()
            };
            dot(functional.logits.as_deref(), &output.logits)
                + dot(functional.head_input.as_deref(), output.head_input())
                + dot(functional.weight.as_deref(), &weights)
        };
        let step = 1e-8;
        let quotient = (at(step) - at(-step)) / (2.0 * step);
        let expected: f64 = network
            .parameters()
            .trainable()
            .flat_map(|i| gradients.get(i).iter().zip(&direction[i]))
            .map(|(g, d)| g * d)
            .sum();
        let error = (quotient - expected).abs() / expected.abs().max(1.0);
        assert!(error < 1e-3, "{:?}: {quotient} and {expected}", case.config);
    }
}

#[test]
fn weights_survive_the_file_and_wrong_ones_are_listed() {
    let config = &configurations()[2];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let parameters = Parameters::<f32>::initialise(config, 9).unwrap();
    collapse_models::weights::export(&path, &parameters).unwrap();
    let mut back = Parameters::<f32>::initialise(config, 10).unwrap();
    collapse_models::weights::load(&path, &mut back).unwrap();
    assert_eq!(back, parameters);

    let mut tensors = collapse_models::weights::read(&path).unwrap();
    let renamed = tensors.remove("layer2.0.shortcut.0.weight_orig").unwrap();
    tensors.insert(
        "module.layer2.0.downsample.0.weight_bar".to_owned(),
        renamed,
    );
    back.fill(&tensors).unwrap();

    tensors.remove("bn1.weight");
    tensors.insert("extra".to_owned(), (vec![1], vec![0.0]));
    tensors.insert("fc.bias".to_owned(), (vec![2], vec![0.0; 2]));
    let text = back.fill(&tensors).unwrap_err().to_string();
    for part in ["missing bn1.weight", "unexpected extra", "`fc.bias` is [2]"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(back, parameters, "a refused file changes nothing");
}

#[test]
fn wrong_configurations_and_batches_say_what_is_wrong() {
    let mut config = NetConfig::new(Net::Resnet18, 10);
    config.width = 0;
    assert!(
        config
            .plan()
            .unwrap_err()
            .to_string()
            .contains("`width` is 0")
    );
    config.width = 4;
    config.n_classes = 1;
    assert!(config.plan().unwrap_err().to_string().contains("n_classes"));
    config.n_classes = 2;
    let mut network = Network::<f32>::new(&config, 1).unwrap();
    let error = network.forward_eval(&Batch::nchw(1, 28, 3, &[0.0; 3 * 28 * 28]));
    assert!(error.unwrap_err().to_string().contains("28x28"));
    assert!("resnet19".parse::<Net>().is_err());
}

#[test]
fn dropout_is_a_function_of_seed_and_batch() {
    let case = Case::new(configurations()[8].clone());
    let run = |seed: u64, passes: usize| {
        let mut network =
            Network::<f64>::from_parameters(&case.config, case.parameters.clone()).unwrap();
        network.seed_dropout(seed);
        let mut outputs = Vec::new();
        for _ in 0..passes {
            outputs.push(network.forward_train(&case.batch()).unwrap().0.logits);
        }
        outputs
    };
    assert_eq!(run(1, 2), run(1, 2));
    assert_ne!(run(1, 1), run(2, 1));
    // The counter goes with the parameters: a network continued from them draws the same.
    let mut network =
        Network::<f64>::from_parameters(&case.config, case.parameters.clone()).unwrap();
    network.seed_dropout(1);
    network.forward_train(&case.batch()).unwrap();
    let mut next =
        Network::<f64>::from_parameters(&case.config, network.into_parameters()).unwrap();
    next.seed_dropout(1);
    let (output, _) = next.forward_train(&case.batch()).unwrap();
    assert_eq!(output.logits, run(1, 2)[1]);
}

#[test]
fn heads_of_other_code_bases_find_their_place() {
    for (config, file, own) in [
        (&configurations()[0], "module.linear.weight", "fc.weight"),
        (&configurations()[7], "head.weight", "classifier.weight"),
        (&configurations()[8], "net.linear.weight", "linear.weight"),
        (&configurations()[8], "fc.weight", "linear.weight"),
    ] {
        let parameters = Parameters::<f64>::initialise(config, 3).unwrap();
        let mut tensors: collapse_models::weights::NamedTensors = parameters
            .iter()
            .map(|(spec, values)| (spec.name.clone(), (spec.shape.clone(), values.to_vec())))
            .collect();
        let head = tensors.remove(own).unwrap();
        tensors.insert(file.to_owned(), head);
        let mut back = Parameters::<f64>::initialise(config, 4).unwrap();
        back.fill(&tensors).unwrap();
        assert_eq!(back, parameters, "{file}");
    }
}

#[test]
fn parameter_counts_are_the_reference_s() {
    for (net, modified, expected) in [
        (Net::Resnet18, true, 11_000_138),
        (Net::Resnet50, true, 20_744_266),
        (Net::Resnet18, false, 11_173_962),
        (Net::Resnet50, false, 23_520_842),
        // 36,479,194 is the published Wide-ResNet-28-10 with its projections.
        (Net::WideResnet28, false, 36_479_194),
        (Net::WideResnet28, true, 36_220_634),
        (Net::Vgg16, true, 14_724_042),
    ] {
        let mut config = NetConfig::new(net, 10);
        config.modified = modified;
        let summary = config.summary().unwrap();
        assert_eq!(summary.parameters, expected);
        let rows: usize = summary.rows.iter().map(|row| row.parameters).sum();
        assert_eq!(rows, expected);
    }
}
