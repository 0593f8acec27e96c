//! From a manifest to the runs it asks for.

use collapse_data::Benchmark;
use collapse_kernels::KernelPath;
use collapse_models::{Device, L2Mode, Net, NetConfig};
use collapse_results::{Group, Loss};
use collapse_train::loss::CollapseWeights;
use collapse_train::{KeepConfig, LossConfig, SgdConfig, TrainConfig, log_spaced_epochs};
use serde::Serialize;

use crate::error::Error;
use crate::manifest::{GroupSpec, Manifest, Precision};
use crate::observer::RunId;
use crate::store::RunManifest;

/// Changes when the computation of a run changes in a way that older results must not be mixed with.
const RUN_FORMAT: u32 = 1;

/// Everything that decides one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunPlan {
    /// Identifier of the group.
    pub group: String,
    /// Seed.
    pub seed: u64,
    /// The network.
    pub net: NetConfig,
    /// How it is trained.
    pub train: TrainConfig,
    /// Epochs at which geometry and the density's AUROC are measured, ascending.
    pub measure_at: Vec<usize>,
    /// Epochs of the whole evaluation, ascending; the last is the run's last.
    pub evaluate_at: Vec<usize>,
    /// Where it is computed.
    #[serde(skip_serializing_if = "is_cpu")]
    pub device: Device,
    /// Which checkpoints stay; decides no result.
    #[serde(skip)]
    pub keep: KeepConfig,
}

fn is_cpu(device: &Device) -> bool {
    *device == Device::Cpu
}

impl RunPlan {
    /// Group and seed.
    pub fn id(&self) -> RunId {
        RunId {
            group: self.group.clone(),
            seed: self.seed,
        }
    }

    /// The manifest of the run's folder.
    pub fn manifest(
        &self,
        benchmark: &Benchmark,
        path: KernelPath,
        code_version: &str,
    ) -> Result<RunManifest, Error> {
        let identity = serde_json::json!({
            "format": RUN_FORMAT,
            "run": self,
            "data": benchmark.hashes(),
            "kernel_path": path.name(),
        });
        Ok(RunManifest::new(identity, code_version))
    }
}

/// The precision a manifest means on this machine.
pub fn resolve_precision(precision: Precision, path: KernelPath) -> collapse_train::Precision {
    let hardware = matches!(path, KernelPath::AmxBf16 | KernelPath::Avx512Bf16);
    match precision {
        Precision::F32 => collapse_train::Precision::F32,
        Precision::Bf16 => collapse_train::Precision::Bf16,
        Precision::Auto if hardware => collapse_train::Precision::Bf16,
        Precision::Auto => collapse_train::Precision::F32,
    }
}

fn group_precision(
    manifest: &Manifest,
    group: &GroupSpec,
    path: KernelPath,
) -> collapse_train::Precision {
    resolve_precision(group.precision.unwrap_or(manifest.precision), path)
}

/// The runs of a manifest, group by group, seed by seed.
pub fn plan(
    manifest: &Manifest,
    benchmark: &Benchmark,
    path: KernelPath,
) -> Result<Vec<RunPlan>, Error> {
    let mut plans = Vec::new();
    for group in &manifest.groups {
        for &seed in &manifest.seeds {
            plans.push(plan_run(manifest, group, seed, benchmark, path)?);
        }
    }
    Ok(plans)
}

fn plan_run(
    manifest: &Manifest,
    group: &GroupSpec,
    seed: u64,
    benchmark: &Benchmark,
    path: KernelPath,
) -> Result<RunPlan, Error> {
    let images = benchmark.id().train_set();
    let mut net = NetConfig::new(group.net.parse::<Net>()?, images.n_classes());
    net.width = manifest.width;
    net.in_channels = images.shape().channels;
    net.input_size = images.shape().height;
    net.modified = group.modified;
    net.spectral_norm = group
        .spectral_norm
        .then_some(manifest.spectral_norm_coefficient);
    net.l2 = if group.l2 {
        L2Mode::TrainAndInference
    } else {
        L2Mode::Off
    };
    net.plan()?;

    let train = TrainConfig {
        seed,
        epochs: group.epochs,
        batch_size: manifest.batch,
        sgd: SgdConfig {
            learning_rate: group.learning_rate.unwrap_or(manifest.learning_rate),
            momentum: manifest.momentum,
            weight_decay: manifest.weight_decay,
            nesterov: false,
        },
        loss: match group.loss {
            Loss::CrossEntropy => LossConfig::default(),
            Loss::NeuralCollapse => LossConfig::NeuralCollapse {
                weights: CollapseWeights::default(),
            },
        },
        precision: group_precision(manifest, group, path),
        ..TrainConfig::default()
    };
    train.check()?;

    let mut evaluate_at = group.evaluate_at.clone();
    evaluate_at.push(group.epochs);
    evaluate_at.sort_unstable();
    evaluate_at.dedup();
    let mut measure_at = if manifest.measure_at.is_empty() {
        log_spaced_epochs(group.epochs)
    } else {
        manifest.measure_at.clone()
    };
    measure_at.retain(|&epoch| epoch <= group.epochs);
    measure_at.extend(&evaluate_at);
    measure_at.sort_unstable();
    measure_at.dedup();
    Ok(RunPlan {
        group: group.id.clone(),
        seed,
        net,
        train,
        measure_at,
        evaluate_at,
        device: Device::Cpu,
        keep: KeepConfig::default(),
    })
}

/// The group as the result file describes it.
pub fn describe_group(manifest: &Manifest, group: &GroupSpec, path: KernelPath) -> Group {
    Group {
        id: group.id.clone(),
        net: group.net.clone(),
        width: manifest.width,
        l2: group.l2,
        loss: group.loss,
        epochs: group.epochs,
        schedule: group.schedule,
        spectral_norm: group
            .spectral_norm
            .then_some(manifest.spectral_norm_coefficient),
        modified: group.modified,
        ablation: group.ablation,
        precision: manifest
            .groups
            .iter()
            .any(|group| group.precision.is_some())
            .then(|| group_precision(manifest, group, path).name().to_owned()),
        seeds: manifest.seeds.clone(),
    }
}
