//! How the time of a training step grows with the network, the batch and the threads.

use collapse_results::{Align, Cell, Column, Table};
use serde::{Deserialize, Serialize};

use crate::render;

/// Name and version of the schema of [`Scaling`].
pub const SCALING_SCHEMA: &str = "collapse.scaling/1";

/// Median times of training steps: the content of a `scaling.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// Always [`SCALING_SCHEMA`].
    pub schema: String,
    /// Processor.
    pub machine: String,
    /// Kernel path, e.g. `amx-bf16`.
    pub kernel_path: String,
    /// `f32` or `bf16`.
    pub precision: String,
    /// Timed steps of each point.
    pub steps: usize,
    /// The command that made the file.
    pub command: String,
    /// One measurement each.
    pub points: Vec<StepTime>,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepTime {
    /// Network, e.g. `resnet18`.
    pub net: String,
    /// Channels of the first stage.
    pub width: usize,
    /// Images a step.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// Median seconds of a step.
    pub median_s: f64,
    /// Fastest step in seconds.
    pub min_s: f64,
    /// Slowest step in seconds.
    pub max_s: f64,
    /// 10⁹ floating-point operations a second, taps in the zero padding counted.
    pub gflops: f64,
    /// Of the rate of a loop on registers alone, with as many threads.
    pub share_of_peak: f64,
}

impl Scaling {
    /// Whether a point is measured.
    pub fn contains(&self, net: &str, width: usize, batch: usize, threads: usize) -> bool {
        self.points
            .iter()
            .any(|p| (p.net.as_str(), p.width, p.batch, p.threads) == (net, width, batch, threads))
    }

    /// The table as Markdown, with a line that says how it was made.
    pub fn markdown(&self) -> String {
        format!(
            "{}\n{}\n",
            render::markdown_rows(&self.table()),
            self.caption()
        )
    }

    pub(crate) fn caption(&self) -> String {
        format!(
            "{}, kernels {} ({}), median of {} steps, L2 head, no spectral norm; made by `{}`.",
            self.machine, self.kernel_path, self.precision, self.steps, self.command
        )
    }

    fn table(&self) -> Table {
        let column = |heading: &str, align| Column {
            key: heading.to_owned(),
            heading: heading.to_owned(),
            align,
        };
        let columns = vec![
            column("Network", Align::Left),
            column("Width", Align::Right),
            column("Batch", Align::Right),
            column("Threads", Align::Right),
            column("Step (ms)", Align::Right),
            column("Images/s", Align::Right),
            column("GFLOP/s", Align::Right),
            column("Of register peak (%)", Align::Right),
        ];
        let number = |value: f64, decimals| Cell::Number { value, decimals };
        let rows = self.points.iter().map(|point| {
            vec![
                Cell::Text {
                    text: point.net.clone(),
                },
                number(point.width as f64, 0),
                number(point.batch as f64, 0),
                number(point.threads as f64, 0),
                number(
                    1e3 * point.median_s,
                    if point.median_s < 0.1 { 1 } else { 0 },
                ),
                number(point.batch as f64 / point.median_s, 0),
                number(point.gflops, 0),
                number(100.0 * point.share_of_peak, 0),
            ]
        });
        Table {
            id: "scaling".to_owned(),
            title: "Time of a training step".to_owned(),
            caption: self.caption(),
            columns,
            row_keys: (0..self.points.len()).map(|i| i.to_string()).collect(),
            rows: rows.collect(),
        }
    }
}
