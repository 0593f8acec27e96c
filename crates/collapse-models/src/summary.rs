//! A network in words: layers, shapes, parameters and operations.

use std::fmt;

use crate::plan::{Block, ConvId, NormId, Shortcut, Unit};
use crate::{L2Mode, NetConfig, Plan, Result};

/// One line of a summary.
#[derive(Clone, Debug, PartialEq)]
pub struct SummaryRow {
    /// Module name.
    pub layer: String,
    /// What it does.
    pub kind: String,
    /// Output shape, channels × height × width.
    pub output: String,
    /// Trainable values.
    pub parameters: usize,
    /// Forward operations of one image.
    pub flops: u64,
}

/// All layers of a network; displays as an aligned table.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The layers in order of execution.
    pub rows: Vec<SummaryRow>,
    /// Trainable values in all.
    pub parameters: usize,
    /// Forward operations of one image.
    pub flops: u64,
}

impl NetConfig {
    /// Lists layers, shapes, parameters and operations.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) when the configuration has no meaning.
    pub fn summary(&self) -> Result<Summary> {
        Ok(Summary::new(&self.plan()?))
    }
}

impl Summary {
    fn new(plan: &Plan) -> Self {
        let mut rows = Vec::new();
        for block in plan.blocks() {
            match block {
                Block::PostActivation {
                    units,
                    shortcut,
                    max_pool,
                } => {
                    for unit in units {
                        rows.push(convolution(plan, unit.conv));
                        rows.push(batch_norm(plan, unit.norm, plan.convs()[unit.conv].output));
                    }
                    rows.extend(around(plan, *shortcut, units));
                    if let (true, Some(last)) = (max_pool, units.last()) {
                        rows.push(max_pooling(plan, last.conv));
                    }
                }
                Block::PreActivation { units, shortcut } => {
                    for unit in units {
                        rows.push(batch_norm(plan, unit.norm, plan.convs()[unit.conv].input));
                        rows.push(convolution(plan, unit.conv));
                    }
                    rows.extend(around(plan, *shortcut, units));
                }
                &Block::Convolution(conv) => rows.push(convolution(plan, conv)),
                &Block::Activation(norm) => rows.push(batch_norm(plan, norm, plan.final_side)),
            }
        }
        let (weight, bias) = plan.head_tensors();
        let head = plan.tensors()[weight].len();
        rows.push(SummaryRow {
            layer: plan.tensors()[weight]
                .name
                .trim_end_matches(".weight")
                .to_owned(),
            kind: format!(
                "average pool {}, head {}",
                plan.final_side,
                match plan.config().l2 {
                    L2Mode::Off => "on raw features",
                    L2Mode::TrainAndInference => "on unit features",
                    L2Mode::TrainOnly => "on unit features in training",
                }
            ),
            output: plan.n_classes().to_string(),
            parameters: head + plan.tensors()[bias].len(),
            flops: 2 * head as u64,
        });
        Self {
            rows,
            parameters: plan.n_parameters(),
            flops: plan.forward_flops(),
        }
    }
}

fn convolution(plan: &Plan, index: ConvId) -> SummaryRow {
    let conv = &plan.convs()[index];
    let (kernel, channels) = (conv.conv.kernel(), conv.conv.out_channels());
    let weights = plan.tensors()[conv.weight].len();
    let spectral = if conv.spectral.is_some() {
        ", spectral norm"
    } else {
        ""
    };
    SummaryRow {
        layer: conv.name.clone(),
        kind: format!(
            "convolution {kernel}x{kernel} stride {}{spectral}",
            conv.conv.stride()
        ),
        output: map(channels, conv.output),
        parameters: weights,
        flops: 2 * weights as u64 * (conv.output * conv.output) as u64,
    }
}

fn batch_norm(plan: &Plan, index: NormId, side: usize) -> SummaryRow {
    let norm = &plan.norms()[index];
    let dropped = plan.config().dropout > 0.0 && norm.name.ends_with(".bn2");
    SummaryRow {
        layer: norm.name.clone(),
        kind: if dropped {
            format!("batch norm, activation, dropout {}", plan.config().dropout)
        } else {
            "batch norm, activation".to_owned()
        },
        output: map(norm.channels, side),
        parameters: 2 * norm.channels,
        flops: 0,
    }
}

/// The layers of a shortcut around units; an identity has none.
fn around(plan: &Plan, shortcut: Shortcut, units: &[Unit]) -> Vec<SummaryRow> {
    match (shortcut, units.last()) {
        (Shortcut::PoolPad { stride }, Some(last)) => {
            let conv = &plan.convs()[last.conv];
            let block = conv.name.rsplit_once('.').map_or("", |parts| parts.0);
            vec![SummaryRow {
                layer: format!("{block}.shortcut"),
                kind: format!("average pool {stride}, zero channels"),
                output: map(conv.conv.out_channels(), conv.output),
                parameters: 0,
                flops: 0,
            }]
        }
        (Shortcut::Projection(unit), _) => vec![
            convolution(plan, unit.conv),
            batch_norm(plan, unit.norm, plan.convs()[unit.conv].output),
        ],
        (Shortcut::Convolution(conv), _) => vec![convolution(plan, conv)],
        _ => Vec::new(),
    }
}

fn max_pooling(plan: &Plan, conv: ConvId) -> SummaryRow {
    let conv = &plan.convs()[conv];
    SummaryRow {
        layer: "maximum".to_owned(),
        kind: "max pool 2".to_owned(),
        output: map(conv.conv.out_channels(), conv.output / 2),
        parameters: 0,
        flops: 0,
    }
}

fn map(channels: usize, side: usize) -> String {
    format!("{channels}x{side}x{side}")
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<26} {:<42} {:>14} {:>12} {:>12}",
            "layer", "kind", "output", "parameters", "MFLOP"
        )?;
        for row in &self.rows {
            writeln!(
                f,
                "{:<26} {:<42} {:>14} {:>12} {:>12.2}",
                row.layer,
                row.kind,
                row.output,
                row.parameters,
                row.flops as f64 / 1e6
            )?;
        }
        write!(
            f,
            "{} parameters, {:.3} GFLOP an image and forward",
            self.parameters,
            self.flops as f64 / 1e9
        )
    }
}
