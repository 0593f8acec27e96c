//! How a run is trained: one configuration, checked before the first step.

use serde::{Deserialize, Serialize};

use crate::loss::LossConfig;
use crate::{Error, Result, Schedule};

/// Number type of activations; parameters, statistics and losses are f32 or better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit everywhere: the reference.
    #[default]
    F32,
    /// bf16 activations and convolution operands, f32 accumulation.
    Bf16,
}

impl Precision {
    /// Name in records: `f32` or `bf16`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

/// Stochastic gradient descent in PyTorch's form: g ← g + λw; v ← μv + g; w ← w − ηv
/// (Nesterov: w ← w − η(g + μv)).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SgdConfig {
    /// Base rate η. Source: DDU, 0.1.
    pub learning_rate: f64,
    /// Momentum μ. Source: DDU, 0.9.
    pub momentum: f64,
    /// Weight decay λ on all parameters. Source: DDU, 5·10⁻⁴.
    pub weight_decay: f64,
    /// Nesterov's form.
    pub nesterov: bool,
}

impl Default for SgdConfig {
    fn default() -> Self {
        Self {
            learning_rate: 0.1,
            momentum: 0.9,
            weight_decay: 5e-4,
            nesterov: false,
        }
    }
}

/// Configuration of a training run; the defaults are those of `docs/method.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Decides initialisation, order and augmentation.
    pub seed: u64,
    /// Epochs, at least 1.
    pub epochs: usize,
    /// Images a step, at least 2; the last partial batch is kept.
    pub batch_size: usize,
    /// The optimiser.
    pub sgd: SgdConfig,
    /// How the rate falls.
    pub schedule: Schedule,
    /// Epochs of linear warm-up; 0 = none.
    pub warm_up_epochs: usize,
    /// The loss.
    pub loss: LossConfig,
    /// Random crop and flip.
    pub augment: bool,
    /// Number type of activations.
    pub precision: Precision,
    /// Largest gradient norm; larger ones are scaled down. `None` = no clipping.
    pub clip_norm: Option<f64>,
    /// Decay of an exponential moving average of the weights, which is then what is evaluated.
    pub ema_decay: Option<f64>,
    /// A loss above this stops the run as diverged.
    pub divergence_limit: f64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            epochs: 60,
            batch_size: 128,
            sgd: SgdConfig::default(),
            schedule: Schedule::default(),
            warm_up_epochs: 0,
            loss: LossConfig::default(),
            augment: true,
            precision: Precision::default(),
            clip_norm: None,
            ema_decay: None,
            divergence_limit: 1e4,
        }
    }
}

/// A configuration that was checked; only it can be trained.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidTrainConfig(TrainConfig);

impl std::ops::Deref for ValidTrainConfig {
    type Target = TrainConfig;

    fn deref(&self) -> &TrainConfig {
        &self.0
    }
}

impl TrainConfig {
    /// The same configuration as one that can be trained.
    ///
    /// # Errors
    /// [`Error::Config`] with the first field that has no meaning, its value and the valid range.
    pub fn check(&self) -> Result<ValidTrainConfig> {
        self.check_numbers()?;
        self.schedule.check()?;
        self.loss.check()?;
        Ok(ValidTrainConfig(self.clone()))
    }

    fn check_numbers(&self) -> Result<()> {
        let require = |ok: bool, field, value: String, remedy| {
            if ok {
                Ok(())
            } else {
                Err(Error::Config {
                    field,
                    value,
                    remedy,
                })
            }
        };
        let SgdConfig {
            learning_rate,
            momentum,
            weight_decay,
            ..
        } = self.sgd;
        require(
            (1..=1_000_000).contains(&self.epochs),
            "epochs",
            self.epochs.to_string(),
            "choose 1 to 1000000",
        )?;
        require(
            (2..=65_536).contains(&self.batch_size),
            "batch_size",
            self.batch_size.to_string(),
            "choose 2 to 65536 (batch norm needs two images)",
        )?;
        require(
            learning_rate.is_finite() && learning_rate > 0.0,
            "sgd.learning_rate",
            learning_rate.to_string(),
            "choose a positive number",
        )?;
        require(
            (0.0..1.0).contains(&momentum),
            "sgd.momentum",
            momentum.to_string(),
            "choose 0 up to, but not including, 1",
        )?;
        require(
            weight_decay.is_finite() && weight_decay >= 0.0,
            "sgd.weight_decay",
            weight_decay.to_string(),
            "choose 0 or a positive number",
        )?;
        require(
            self.warm_up_epochs <= self.epochs,
            "warm_up_epochs",
            self.warm_up_epochs.to_string(),
            "choose at most as many as there are epochs",
        )?;
        if let Some(norm) = self.clip_norm {
            require(
                norm.is_finite() && norm > 0.0,
                "clip_norm",
                norm.to_string(),
                "choose a positive number or leave it out",
            )?;
        }
        if let Some(decay) = self.ema_decay {
            require(
                (0.0..1.0).contains(&decay),
                "ema_decay",
                decay.to_string(),
                "choose 0 up to, but not including, 1, or leave it out",
            )?;
        }
        require(
            self.divergence_limit > 0.0,
            "divergence_limit",
            self.divergence_limit.to_string(),
            "choose a positive number",
        )
    }

    /// Learning rate of `epoch` (from 1), before warm-up.
    #[must_use]
    pub fn learning_rate(&self, epoch: usize) -> f64 {
        self.schedule
            .learning_rate(self.sgd.learning_rate, epoch - 1, self.epochs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_without_meaning_is_named_with_its_remedy() {
        let wrong = |change: fn(&mut TrainConfig), field: &str, value: &str| {
            let mut config = TrainConfig::default();
            change(&mut config);
            let text = config.check().unwrap_err().to_string();
            assert!(
                text.contains(&format!("`{field}` is {value}; choose")),
                "{text}"
            );
        };
        wrong(|c| c.epochs = 0, "epochs", "0");
        wrong(|c| c.batch_size = 1, "batch_size", "1");
        wrong(|c| c.warm_up_epochs = 61, "warm_up_epochs", "61");
        wrong(
            |c| c.sgd.learning_rate = f64::NAN,
            "sgd.learning_rate",
            "NaN",
        );
        wrong(|c| c.sgd.momentum = 1.0, "sgd.momentum", "1");
        wrong(|c| c.clip_norm = Some(0.0), "clip_norm", "0");
        wrong(|c| c.ema_decay = Some(1.0), "ema_decay", "1");
        wrong(|c| c.divergence_limit = f64::NAN, "divergence_limit", "NaN");
        assert_eq!(
            *TrainConfig::default().check().unwrap(),
            TrainConfig::default()
        );
    }
}
