//! Whole networks: training steps and evaluation by width, depth and precision.

use anyhow::Result;
use candle_core::Device;
use collapse_kernels::kernel_path;
use collapse_models::{Batch, CandleNet, L2Mode, Model, Net, NetConfig, Parameters};
use collapse_train::{Learner, Precision, TrainConfig, load_model};

use crate::case::{Case, Work};
use crate::inputs::noise_f32;
use crate::yardstick::Yardstick;

/// The rate of the timed steps; no schedule moves it.
const LEARNING_RATE: f64 = 0.01;

/// A training step costs a forward pass and twice as much again for both gradients.
const PASSES_PER_STEP: f64 = 3.0;

/// Operations for each byte that a network moves, about.
const OPERATIONS_PER_BYTE: f64 = 50.0;

/// A network in training and one batch.
pub struct Worker {
    learner: Learner,
    images: Vec<f32>,
    labels: Vec<usize>,
    side: usize,
    channels: usize,
}

impl Worker {
    /// Of `batch` images of noise.
    ///
    /// # Errors
    /// If the training configuration were not valid.
    pub fn new(config: &NetConfig, model: Box<dyn Model>, batch: usize) -> Result<Self> {
        let pixels = config.input_size * config.input_size * config.in_channels * batch;
        Ok(Self {
            learner: Learner::new(model, TrainConfig::default().check()?)?,
            images: noise_f32(1, pixels),
            labels: (0..batch).map(|i| i % config.n_classes).collect(),
            side: config.input_size,
            channels: config.in_channels,
        })
    }

    /// Features and logits of the batch, as in evaluation.
    ///
    /// # Errors
    /// Those of the network.
    pub fn features(&mut self) -> Result<()> {
        let batch = Batch::hwnc(self.labels.len(), self.side, self.channels, &self.images);
        self.learner.model().forward_eval(&batch)?;
        Ok(())
    }

    /// A step on the batch in memory.
    ///
    /// # Errors
    /// Those of the network.
    pub fn step(&mut self) -> Result<()> {
        let batch = Batch::hwnc(self.labels.len(), self.side, self.channels, &self.images);
        self.learner.step(&batch, &self.labels, LEARNING_RATE)?;
        Ok(())
    }

    /// A step on another batch.
    ///
    /// # Errors
    /// Those of the network.
    pub fn step_on(&mut self, batch: &Batch<'_, f32>, labels: &[usize]) -> Result<()> {
        self.learner.step(batch, labels, LEARNING_RATE)?;
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Pass {
    Step,
    Features,
}

#[derive(Clone, Copy)]
struct Spec {
    net: Net,
    width: usize,
    batch: usize,
    spectral_norm: bool,
    short: bool,
}

const fn spec(net: Net, width: usize, short: bool) -> Spec {
    Spec {
        net,
        width,
        batch: 8,
        spectral_norm: false,
        short,
    }
}

const SPECS: [Spec; 7] = [
    spec(Net::Resnet18, 8, false),
    spec(Net::Resnet18, 16, true),
    Spec {
        spectral_norm: true,
        ..spec(Net::Resnet18, 16, false)
    },
    spec(Net::Resnet18, 32, false),
    spec(Net::Resnet50, 8, false),
    spec(Net::WideResnet28, 16, false),
    spec(Net::Vgg16, 16, false),
];

pub(crate) fn cases() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for spec in SPECS {
        for precision in [Precision::F32, Precision::Bf16] {
            for pass in [Pass::Step, Pass::Features] {
                cases.push(spec.case(pass, precision)?);
            }
        }
    }
    cases.push(against_candle());
    Ok(cases)
}

impl Spec {
    fn config(self) -> NetConfig {
        NetConfig {
            width: self.width,
            l2: L2Mode::TrainAndInference,
            spectral_norm: self.spectral_norm.then_some(3.0),
            ..NetConfig::new(self.net, 10)
        }
    }

    fn case(self, pass: Pass, precision: Precision) -> Result<Case> {
        let (name, passes) = match pass {
            Pass::Step => ("step", PASSES_PER_STEP),
            Pass::Features => ("features", 1.0),
        };
        let net = if self.spectral_norm { "-sn" } else { "" };
        let id = format!(
            "{name}/{}{net}-width{}/{}/batch{}-seed1",
            self.net,
            self.width,
            precision.name(),
            self.batch
        );
        let operands = match precision {
            Precision::F32 => collapse_kernels::Precision::F32,
            Precision::Bf16 => collapse_kernels::Precision::Bf16,
        };
        let flops = passes * self.config().summary()?.flops as f64 * self.batch as f64;
        let bytes = (flops / OPERATIONS_PER_BYTE) as usize;
        let yardstick = Yardstick::roofline(kernel_path()?, operands, flops, bytes);
        let case = Case::new(id, self.batch, yardstick, move || {
            let config = self.config();
            let model = load_model(&config, precision, Parameters::initialise(&config, 1)?)?;
            work(Worker::new(&config, model, self.batch)?, pass)
        });
        Ok(case.in_short_form(self.short))
    }
}

fn work(mut worker: Worker, pass: Pass) -> Result<Work> {
    Ok(Box::new(move || match pass {
        Pass::Step => worker.step(),
        Pass::Features => worker.features(),
    }))
}

/// The same small network on candle's own operations is the yardstick.
fn against_candle() -> Case {
    let spec = Spec {
        batch: 2,
        ..spec(Net::Resnet18, 8, false)
    };
    let candle = move || {
        let config = spec.config();
        let model = CandleNet::new(&config, Parameters::initialise(&config, 1)?, Device::Cpu)?;
        work(
            Worker::new(&config, Box::new(model), spec.batch)?,
            Pass::Step,
        )
    };
    let yardstick = Yardstick::new("stock candle's step", candle);
    let id = format!(
        "step/resnet18-width8-against-candle/f32/batch{}-seed1",
        spec.batch
    );
    Case::new(id, spec.batch, yardstick, move || {
        let config = spec.config();
        let model = load_model(&config, Precision::F32, Parameters::initialise(&config, 1)?)?;
        work(Worker::new(&config, model, spec.batch)?, Pass::Step)
    })
}
