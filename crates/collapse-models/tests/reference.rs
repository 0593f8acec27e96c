//! The networks against numbers of DDU's unchanged code (float64): logits, loss, gradients of
//! every parameter, batch-norm statistics and spectral norms, with and without the L2 head.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::path::PathBuf;

use collapse_kernels::Float;
use collapse_models::{
    Batch, Gradients, HeadGradient, L2Mode, Net, NetConfig, Network, Parameters,
};
use serde_json::Value;

fn fixture(name: &str) -> Option<Value> {
    let crates = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    [
        "collapse-verify/fixtures/public",
        "../../shared/fixtures/public",
    ]
    .iter()
    .map(|folder| crates.join(folder).join(name))
    .find(|path| path.is_file())
    .map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

/// splitmix64, 24 bits each.
fn draws(seed: u64, n: usize) -> Vec<u64> {
    let mut state = seed;
    (0..n)
        .map(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (z ^ (z >> 31)) >> 40
        })
        .collect()
}

fn fill(seed: u64, n: usize, scale: f64, offset: f64, absolute: bool) -> Vec<f64> {
    let values = draws(seed, n).into_iter().map(|k| {
        let s = 2.0 * (k as f64 * f64::from(2.0f32.powi(-24))) - 1.0;
        let s = if absolute { s.abs() } else { s };
        f64::from((offset + scale * s) as f32)
    });
    values.collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![number(other)],
    }
}

fn config(variant: &Value, l2: L2Mode) -> NetConfig {
    let net: Net = variant["arch"].as_str().unwrap().parse().unwrap();
    let mut config = NetConfig::new(net, 10);
    config.modified = variant["mod"].as_bool().unwrap();
    config.spectral_norm = variant["sn"]
        .as_bool()
        .unwrap()
        .then(|| number(&variant["coeff"]));
    config.l2 = l2;
    config
}

fn filled(variant: &Value, config: &NetConfig) -> Parameters<f64> {
    let mut parameters = Parameters::<f64>::initialise(config, 0).unwrap();
    let specs = parameters.specs().to_vec();
    let tensors = variant["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), specs.len(), "number of tensors");
    for (tensor, spec) in tensors.iter().zip(specs) {
        assert_eq!(tensor[0].as_str().unwrap(), spec.name, "state_dict order");
        let shape: Vec<f64> = spec.shape.iter().map(|&s| s as f64).collect();
        assert_eq!(numbers(&tensor[2]), shape, "{}", spec.name);
        if tensor[1] == "skip" {
            continue;
        }
        let values = fill(
            tensor[3].as_u64().unwrap(),
            spec.len(),
            number(&tensor[4]),
            number(&tensor[5]),
            tensor[6].as_bool().unwrap(),
        );
        parameters.set(&spec.name, values).unwrap();
    }
    parameters
}

fn close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let scale = expected.iter().fold(1e-300f64, |m, x| m.max(x.abs()));
    let error = found
        .iter()
        .zip(expected)
        .fold(0.0f64, |m, (a, b)| m.max((a - b).abs()))
        / scale;
    assert!(
        error <= tolerance,
        "{what}: error {error:.2e} above {tolerance:.0e}"
    );
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn loss_gradient(logits: &[f64], labels: &[usize]) -> (f64, Vec<f64>) {
    let mut loss = 0.0;
    let mut gradient = Vec::new();
    for (row, &label) in logits.chunks_exact(10).zip(labels) {
        let max = row.iter().copied().fold(f64::MIN, f64::max);
        let log_sum = row.iter().map(|x| (x - max).exp()).sum::<f64>().ln() + max;
        loss += (log_sum - row[label]) / labels.len() as f64;
        for (k, x) in row.iter().enumerate() {
            let target = if k == label { 1.0 } else { 0.0 };
            gradient.push(((x - log_sum).exp() - target) / labels.len() as f64);
        }
    }
    (loss, gradient)
}

fn check_gradients(name: &str, network: &Network<f64>, gradients: &Gradients<f64>, rows: &Value) {
    let trainable: Vec<usize> = network.parameters().trainable().collect();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), trainable.len());
    for (row, index) in rows.iter().zip(trainable) {
        let spec = &network.parameters().specs()[index];
        assert_eq!(row[0].as_str().unwrap(), spec.name);
        let what = format!("{name} gradient of {}", spec.name);
        let values = gradients.get(index);
        let length = number(&row[2]);
        close(&what, &[norm(values)], &[length], 1e-9);
        let rms = length / (values.len() as f64).sqrt();
        for (found, expected) in values.iter().zip(numbers(&row[3])) {
            let error = (found - expected).abs() / rms;
            assert!(error < 1e-8, "{what}: {error:.1e} of its rms");
        }
        let sum = (values.iter().sum::<f64>() - number(&row[1])).abs();
        assert!(
            sum < 1e-9 * length * (values.len() as f64).sqrt(),
            "{what}: sum"
        );
    }
}

fn check(net: &str) {
    let Some(file) = fixture(&format!("model_{net}.json")) else {
        eprintln!("skipped: no model_{net}.json beside the workspace");
        return;
    };
    let input = &file["meta"]["input"];
    let n = number(&input["shape"][0]) as usize;
    let images = fill(
        input["seed"].as_u64().unwrap(),
        n * 3 * 32 * 32,
        number(&input["scale"]),
        0.0,
        false,
    );
    let labels: Vec<usize> = numbers(&file["meta"]["label_values"])
        .into_iter()
        .map(|x| x as usize)
        .collect();
    let batch = Batch::nchw(n, 32, 3, &images);
    for variant in file["variants"].as_array().unwrap() {
        for (key, l2) in [("plain", L2Mode::Off), ("l2", L2Mode::TrainAndInference)] {
            let name = format!("{} {key}", variant["id"].as_str().unwrap());
            let expected = &variant[key];
            let config = config(variant, l2);
            assert_eq!(
                config.plan().unwrap().n_parameters() as f64,
                number(&variant["param_count"])
            );
            let mut network = Network::from_parameters(&config, filled(variant, &config)).unwrap();

            let output = network.forward_eval(&batch).unwrap();
            let logits = numbers(&expected["eval0_logits"]);
            close(&format!("{name} eval0"), &output.logits, &logits, 1e-10);

            let (output, tape) = network.forward_train(&batch).unwrap();
            let logits = numbers(&expected["train1_logits"]);
            close(&format!("{name} train1"), &output.logits, &logits, 1e-10);
            let (loss, gradient) = loss_gradient(&output.logits, &labels);
            close(
                &format!("{name} loss"),
                &[loss],
                &[number(&expected["train1_loss"])],
                1e-10,
            );
            let gradients = network
                .backward(tape, HeadGradient::of_logits(gradient))
                .unwrap();
            check_gradients(&name, &network, &gradients, &expected["grads"]);

            if let Some(rows) = variant["sn_train1"].as_array() {
                for (conv, row) in rows.iter().enumerate() {
                    let spec = network.plan().convs();
                    let spec = spec
                        .iter()
                        .find(|spec| spec.name == row[0].as_str().unwrap())
                        .unwrap();
                    let sigma = network.parameters().get(spec.spectral.unwrap().sigma)[0];
                    let what = format!("{name} sigma of convolution {conv}");
                    close(&what, &[sigma.to_f64()], &[number(&row[1])], 1e-10);
                }
            }
            for row in variant["bn_after_train1"].as_array().unwrap() {
                let bn = row[0].as_str().unwrap();
                for (tensor, column) in [("running_mean", 2), ("running_var", 5)] {
                    let found = network.parameters().by_name(&format!("{bn}.{tensor}"));
                    let length = norm(found.unwrap());
                    let what = format!("{name} {bn}.{tensor}");
                    close(&what, &[length], &[number(&row[column])], 1e-10);
                }
            }
            let output = network.forward_eval(&batch).unwrap();
            let logits = numbers(&expected["eval1_logits"]);
            close(&format!("{name} eval1"), &output.logits, &logits, 1e-10);
        }
    }
}

#[test]
fn resnet18_is_the_reference() {
    check("resnet18");
}

#[test]
fn resnet50_is_the_reference() {
    check("resnet50");
}
