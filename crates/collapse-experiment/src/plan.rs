//! From a manifest to the runs it asks for.

use collapse_data::Benchmark;
use collapse_data::controls::Control;
use collapse_kernels::KernelPath;
use collapse_models::{Device, L2Mode, Net, NetConfig};
use collapse_results::{DataSet, Group, Loss, Role, SetId};
use collapse_train::loss::CollapseWeights;
use collapse_train::{KeepConfig, LossConfig, SgdConfig, TrainConfig, log_spaced_epochs};
use serde::Serialize;

use crate::error::Error;
use crate::image_form::ImageForm;
use crate::manifest::{GroupSpec, Manifest, Precision};
use crate::observer::RunId;
use crate::store::RunManifest;

/// Changes when the computation of a run changes in a way that older results must not be mixed with.
///
/// 2: random numbers of images and of networks come from streams of one derivation.
const RUN_FORMAT: u32 = 2;

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
    /// At an epoch on the way, so many images of each set are measured; `None` = all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measure_images: Option<usize>,
    /// Which checkpoints stay; decides no result.
    #[serde(skip)]
    pub keep: KeepConfig,
}

impl RunPlan {
    /// Group and seed.
    pub fn id(&self) -> RunId {
        RunId {
            group: self.group.clone(),
            seed: self.seed,
        }
    }

    /// The epochs before the last at which something is measured.
    pub(crate) fn measured_before_last(&self) -> Vec<usize> {
        let epochs = self.measure_at.iter().chain(&self.evaluate_at).copied();
        let mut epochs: Vec<usize> = epochs.filter(|&e| e < self.train.epochs).collect();
        epochs.sort_unstable();
        epochs.dedup();
        epochs
    }

    /// The manifest of the run's folder.
    ///
    /// The machine is not part of the identity: kernel path and processor are recorded beside the result.
    ///
    /// # Errors
    /// [`Error::Argument`] when a setting has no form in JSON (an infinite number).
    pub fn manifest(
        &self,
        benchmark: &Benchmark,
        code_version: &str,
    ) -> Result<RunManifest, Error> {
        let run = serde_json::to_value(self).map_err(|error| Error::Argument {
            argument: "run",
            value: self.id().to_string(),
            remedy: format!("it cannot be written as JSON ({error})"),
        })?;
        let identity = serde_json::json!({
            "format": RUN_FORMAT,
            "run": run,
            "data": benchmark.hashes(),
        });
        let mut manifest = RunManifest::new(&self.group, self.seed, identity, code_version);
        manifest.data = describe_data(benchmark);
        Ok(manifest)
    }
}

/// What `auto` means on a device, which is a kernel path where it is the CPU: bf16 where [its products are the faster
/// ones](collapse_kernels::bf16_products_pay) and training knows it.
///
/// # Errors
/// If this machine cannot run the path.
pub fn auto_precision(
    device: Device,
    path: KernelPath,
) -> Result<collapse_train::Precision, Error> {
    let pays = device == Device::Cpu && collapse_kernels::bf16_products_pay(path)?;
    Ok(match pays {
        true => collapse_train::Precision::Bf16,
        false => collapse_train::Precision::F32,
    })
}

/// The precision a manifest means where `auto` is what is given.
#[must_use]
pub fn resolve_precision(
    precision: Precision,
    auto: collapse_train::Precision,
) -> collapse_train::Precision {
    match precision {
        Precision::F32 => collapse_train::Precision::F32,
        Precision::Bf16 => collapse_train::Precision::Bf16,
        Precision::Auto => auto,
    }
}

fn group_precision(
    manifest: &Manifest,
    group: &GroupSpec,
    auto: collapse_train::Precision,
) -> collapse_train::Precision {
    resolve_precision(group.precision.unwrap_or(manifest.precision), auto)
}

/// The names of all precisions of a manifest, `f32` before `bf16`.
pub(crate) fn precisions(manifest: &Manifest, auto: collapse_train::Precision) -> String {
    let groups = manifest.groups().iter();
    let mut names: Vec<&str> = groups
        .map(|group| group_precision(manifest, group, auto).name())
        .collect();
    names.sort_unstable_by_key(|name| std::cmp::Reverse(*name));
    names.dedup();
    names.join(" and ")
}

/// The runs of a manifest, group by group, seed by seed; `auto` is what that precision means here.
///
/// # Errors
/// [`Error::Models`] and [`Error::Train`] when these images do not fit a network.
pub fn plan(
    manifest: &Manifest,
    images: ImageForm,
    auto: collapse_train::Precision,
) -> Result<Vec<RunPlan>, Error> {
    let mut plans = Vec::new();
    for group in manifest.groups() {
        for &seed in manifest.seeds() {
            plans.push(plan_run(manifest, group, seed, images, auto)?);
        }
    }
    Ok(plans)
}

pub(crate) fn plan_run(
    manifest: &Manifest,
    group: &GroupSpec,
    seed: u64,
    images: ImageForm,
    auto: collapse_train::Precision,
) -> Result<RunPlan, Error> {
    let mut net = NetConfig::new(group.net.parse::<Net>()?, images.n_classes);
    net.width = manifest.width;
    net.in_channels = images.channels;
    net.input_size = images.side;
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
        precision: group_precision(manifest, group, auto),
        ..TrainConfig::default()
    };
    train.check()?;

    Ok(RunPlan {
        group: group.id.clone(),
        seed,
        net,
        train,
        measure_at: measured_epochs(manifest, group),
        evaluate_at: evaluated_epochs(group),
        measure_images: manifest.measure_images,
        keep: KeepConfig::default(),
    })
}

/// The epochs of a group's whole evaluations, ascending; the last epoch is one of them.
fn evaluated_epochs(group: &GroupSpec) -> Vec<usize> {
    let mut epochs = group.evaluate_at.clone();
    epochs.push(group.epochs);
    epochs.sort_unstable();
    epochs.dedup();
    epochs
}

/// The epochs after which a group's networks are measured, in whole evaluations or on the way, ascending.
pub(crate) fn measured_epochs(manifest: &Manifest, group: &GroupSpec) -> Vec<usize> {
    let mut epochs = if manifest.measure_at.is_empty() {
        log_spaced_epochs(group.epochs)
    } else {
        manifest.measure_at.clone()
    };
    epochs.retain(|&epoch| epoch <= group.epochs);
    epochs.extend(evaluated_epochs(group));
    epochs.sort_unstable();
    epochs.dedup();
    epochs
}

/// The group as the result file describes it.
pub(crate) fn describe_group(
    manifest: &Manifest,
    group: &GroupSpec,
    auto: collapse_train::Precision,
) -> Group {
    let groups_differ = manifest
        .groups()
        .iter()
        .any(|group| group.precision.is_some());
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
        precision: groups_differ.then(|| group_precision(manifest, group, auto).name().to_owned()),
        seeds: manifest.seeds().to_vec(),
        measure_images: manifest.measure_images,
    }
}

/// The image sets as the result file describes them.
pub(crate) fn describe_data(benchmark: &Benchmark) -> Vec<DataSet> {
    let describe = |set: &collapse_data::ImageSet, role: Role| DataSet {
        name: SetId::from(set.name()),
        role,
        images: set.len(),
        description: format!(
            "{} of {}, {}{}",
            set.part().name(),
            benchmark.name(),
            set.shape(),
            benchmark
                .note(set)
                .map_or_else(String::new, |note| format!("; {note}"))
        ),
        sha256: set.content_hash().to_hex(),
    };
    let mut sets = vec![
        describe(benchmark.id().train_set(), Role::Train),
        describe(benchmark.id().test_set(), Role::Test),
    ];
    sets.extend(
        benchmark
            .ood()
            .iter()
            .map(|view| describe(view.set(), ood_role(view.set().name()))),
    );
    sets
}

/// Whether the set that an in-distribution one is tested against is a generated control.
pub(crate) fn ood_role(name: &str) -> Role {
    match Control::find(name) {
        Some(_) => Role::Control,
        None => Role::Ood,
    }
}
