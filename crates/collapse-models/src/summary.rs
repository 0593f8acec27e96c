//! A network in words: layers, shapes, parameters and operations.

use std::fmt;

use crate::{NetConfig, Plan, Result, Shortcut};

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
    /// Lists layers, shapes, parameters and operations; fails when the configuration does.
    pub fn summary(&self) -> Result<Summary> {
        Ok(Summary::new(&self.plan()?))
    }
}

impl Summary {
    fn new(plan: &Plan) -> Self {
        let mut rows = Vec::new();
        for block in plan.blocks() {
            let mut units = block.units.clone();
            if let Shortcut::Projection(unit) = block.shortcut {
                units.push(unit);
            }
            for unit in units {
                let conv = &plan.convs()[unit.conv];
                let norm = &plan.norms()[unit.norm];
                let (kernel, channels) = (conv.conv.kernel, conv.conv.out_channels);
                let weights = plan.tensors()[conv.weight].len();
                let spectral = if conv.spectral.is_some() {
                    ", spectral norm"
                } else {
                    ""
                };
                rows.push(SummaryRow {
                    layer: conv.name.clone(),
                    kind: format!(
                        "convolution {kernel}x{kernel} stride {}{spectral}",
                        conv.conv.stride
                    ),
                    output: format!("{channels}x{}x{}", conv.output, conv.output),
                    parameters: weights,
                    flops: 2 * weights as u64 * (conv.output * conv.output) as u64,
                });
                rows.push(SummaryRow {
                    layer: norm.name.clone(),
                    kind: "batch norm, activation".to_owned(),
                    output: format!("{channels}x{}x{}", conv.output, conv.output),
                    parameters: 2 * norm.channels,
                    flops: 0,
                });
            }
            if let (Shortcut::PoolPad { stride }, Some(last)) = (block.shortcut, block.units.last())
            {
                let conv = &plan.convs()[last.conv];
                rows.push(SummaryRow {
                    layer: format!(
                        "{}.shortcut",
                        conv.name.rsplit_once('.').map_or("", |p| p.0)
                    ),
                    kind: format!("average pool {stride}, zero channels"),
                    output: format!("{}x{}x{}", conv.conv.out_channels, conv.output, conv.output),
                    parameters: 0,
                    flops: 0,
                });
            }
        }
        let (weight, bias) = plan.head_tensors();
        let head = plan.tensors()[weight].len();
        rows.push(SummaryRow {
            layer: plan.tensors()[weight]
                .name
                .trim_end_matches(".weight")
                .to_owned(),
            kind: format!("average pool, head (L2 {:?})", plan.config().l2),
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
