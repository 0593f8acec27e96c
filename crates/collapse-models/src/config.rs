//! What a network is: one small configuration, checked when its plan is made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Plan, Result};

/// The architectures.
///
/// Source: DDU (arXiv 2102.11582), `net/resnet.py`, `net/wide_resnet.py` and `net/vgg.py`;
/// ResNet-34 is the same construction with torchvision's block counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Net {
    /// Basic blocks 2, 2, 2, 2.
    Resnet18,
    /// Basic blocks 3, 4, 6, 3.
    Resnet34,
    /// Bottleneck blocks 3, 4, 6, 3.
    Resnet50,
    /// Bottleneck blocks 3, 4, 23, 3.
    Resnet101,
    /// Pre-activation blocks 4, 4, 4 with dropout; at its default width 160 Wide-ResNet-28-10.
    #[serde(rename = "wide-resnet28")]
    WideResnet28,
    /// Thirteen convolutions with max pooling.
    Vgg16,
}

impl Net {
    /// Every architecture.
    pub const ALL: [Self; 6] = [
        Self::Resnet18,
        Self::Resnet34,
        Self::Resnet50,
        Self::Resnet101,
        Self::WideResnet28,
        Self::Vgg16,
    ];

    /// The name used in files and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Resnet18 => "resnet18",
            Self::Resnet34 => "resnet34",
            Self::Resnet50 => "resnet50",
            Self::Resnet101 => "resnet101",
            Self::WideResnet28 => "wide-resnet28",
            Self::Vgg16 => "vgg16",
        }
    }

    /// Channels of the first stage in the reference: 64, of the wide network 16 · 10.
    #[must_use]
    pub fn default_width(self) -> usize {
        match self {
            Self::WideResnet28 => 160,
            _ => 64,
        }
    }

    /// Dropout rate in the reference: 0.3 in the wide network, which alone has dropout.
    #[must_use]
    pub fn default_dropout(self) -> f64 {
        match self {
            Self::WideResnet28 => 0.3,
            _ => 0.0,
        }
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Net {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|net| net.name() == name)
            .ok_or(Error::Config {
                field: "net",
                value: format!("`{name}`"),
                remedy: "known are resnet18, resnet34, resnet50, resnet101, wide-resnet28 and vgg16",
            })
    }
}

/// Where the head sees unit-length features ẑ = z / max(‖z‖₂, 10⁻¹²).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum L2Mode {
    /// Never: logits = W z + b.
    #[default]
    Off,
    /// In training and in inference. Source: Haas et al. (arXiv 2209.08378).
    TrainAndInference,
    /// In training only; inference applies the head to the raw z. Source: arXiv 2306.04072.
    TrainOnly,
}

impl L2Mode {
    /// Whether the head normalises in training (`true`) or in inference (`false` asks for it).
    #[must_use]
    pub fn applies(self, training: bool) -> bool {
        match self {
            Self::Off => false,
            Self::TrainAndInference => true,
            Self::TrainOnly => training,
        }
    }
}

/// Configuration of a network; [`NetConfig::plan`] checks it.
///
/// ```
/// use collapse_models::{Net, NetConfig};
///
/// let plan = NetConfig::new(Net::Resnet18, 10).plan()?;
/// assert_eq!(plan.n_parameters(), 11_000_138);
/// # Ok::<(), collapse_models::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetConfig {
    /// Architecture.
    pub net: Net,
    /// Channels of the first stage, 1..=1024; see [`Net::default_width`].
    pub width: usize,
    /// Image channels, 1 or 3.
    #[serde(default = "default_in_channels")]
    pub in_channels: usize,
    /// Image side in pixels, 8..=256.
    #[serde(default = "default_input_size")]
    pub input_size: usize,
    /// Classes, at least 2.
    pub n_classes: usize,
    /// LeakyReLU of slope 0.01 and parameter-free average-pool shortcuts (`mod` in DDU);
    /// otherwise ReLU and 1×1-convolution shortcuts.
    #[serde(default = "default_modified")]
    pub modified: bool,
    /// Coefficient of soft spectral normalisation on every convolution; `None` = off.
    #[serde(default)]
    pub spectral_norm: Option<f64>,
    /// Normalisation of the feature before the head.
    #[serde(default)]
    pub l2: L2Mode,
    /// The logits are divided by this; 1 in all groups.
    #[serde(default = "default_temperature")]
    pub temperature: f64,
    /// Share of the activations that dropout zeroes between the two convolutions of a wide
    /// block, 0..1; 0 in every other network.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropout: f64,
}

fn is_zero(rate: &f64) -> bool {
    *rate == 0.0
}
fn default_in_channels() -> usize {
    3
}
fn default_input_size() -> usize {
    32
}
fn default_modified() -> bool {
    true
}
fn default_temperature() -> f64 {
    1.0
}

impl NetConfig {
    /// The reference's network for 32×32 colour images: its own width and dropout, `mod` on,
    /// spectral norm with coefficient 3, no L2 head.
    #[must_use]
    pub fn new(net: Net, n_classes: usize) -> Self {
        Self {
            net,
            width: net.default_width(),
            in_channels: default_in_channels(),
            input_size: default_input_size(),
            n_classes,
            modified: default_modified(),
            spectral_norm: Some(3.0),
            l2: L2Mode::Off,
            temperature: default_temperature(),
            dropout: net.default_dropout(),
        }
    }

    /// The checked network: only a [`Plan`] can be built, and only a configuration that has one can be trained.
    ///
    /// # Errors
    /// [`Error::Config`] with the first field that has no meaning, its value and the valid range.
    pub fn plan(&self) -> Result<Plan> {
        self.check()?;
        Plan::new(self)
    }

    /// Whether every field has a meaning, without laying out the network.
    ///
    /// # Errors
    /// [`Error::Config`] with the first field that has none, its value and the valid range.
    pub fn check(&self) -> Result<()> {
        let wrong = |field, value: String, remedy| {
            Err(Error::Config {
                field,
                value,
                remedy,
            })
        };
        if !(1..=1024).contains(&self.width) {
            return wrong("width", self.width.to_string(), "choose 1 to 1024");
        }
        if self.in_channels != 1 && self.in_channels != 3 {
            return wrong(
                "in_channels",
                self.in_channels.to_string(),
                "choose 1 (grey) or 3 (colour)",
            );
        }
        if !(8..=256).contains(&self.input_size) {
            return wrong(
                "input_size",
                self.input_size.to_string(),
                "choose 8 to 256 pixels",
            );
        }
        if self.net == Net::Vgg16 && self.input_size < 16 {
            return wrong(
                "input_size",
                self.input_size.to_string(),
                "vgg16 halves the image four times: choose at least 16 pixels",
            );
        }
        if !(2..=100_000).contains(&self.n_classes) {
            return wrong(
                "n_classes",
                self.n_classes.to_string(),
                "choose 2 to 100000",
            );
        }
        if let Some(c) = self.spectral_norm
            && !(c.is_finite() && c > 0.0)
        {
            return wrong(
                "spectral_norm",
                c.to_string(),
                "choose a positive coefficient (3 in DDU) or leave it out",
            );
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return wrong(
                "temperature",
                self.temperature.to_string(),
                "choose a positive number",
            );
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return wrong(
                "dropout",
                self.dropout.to_string(),
                "choose 0 up to, but not including, 1",
            );
        }
        if self.dropout > 0.0 && self.net != Net::WideResnet28 {
            return wrong(
                "dropout",
                self.dropout.to_string(),
                "only wide-resnet28 has dropout: choose 0",
            );
        }
        Ok(())
    }
}
