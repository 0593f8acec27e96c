//! Who took a run up, and after which epoch.

use collapse_results::{Maker, Span};
use serde::{Deserialize, Serialize};

/// Where a maker took a run up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Start {
    /// First epoch of which it computed something, from 1.
    epoch: usize,
    /// Whether another had begun that epoch.
    within: bool,
    maker: Maker,
}

/// Everyone who worked at a run, in order: the content of its `made-by.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Starts {
    starts: Vec<Start>,
}

impl Starts {
    /// Leaves out who began after `finished` epochs and, `within` one, some steps: what a killed process did after the
    /// checkpoint is done again.
    pub(super) fn forget_after(&mut self, finished: usize, within: bool) {
        self.starts
            .retain(|start| start.epoch <= finished + usize::from(within));
    }

    /// A kernel path other than `maker`'s that has had a part in it.
    pub(super) fn other_path(&self, maker: &Maker) -> Option<&str> {
        let mut paths = self.starts.iter().map(|start| &start.maker.kernel_path);
        paths
            .find(|path| **path != maker.kernel_path)
            .map(String::as_str)
    }

    /// Adds `maker`, who goes on after `finished` epochs, unless it was at it already.
    pub(super) fn add(&mut self, finished: usize, within: bool, maker: Maker) {
        if self.starts.last().is_none_or(|last| last.maker != maker) {
            self.starts.push(Start {
                epoch: finished + 1,
                within,
                maker,
            });
        }
    }

    /// The spans of epochs of a run of `epochs`.
    pub(crate) fn spans(&self, epochs: usize) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let ends = self.starts.iter().skip(1);
        let ends = ends.map(|next| next.epoch - 1 + usize::from(next.within));
        for (start, last_epoch) in self.starts.iter().zip(ends.chain([epochs])) {
            let first_epoch = spans.last().map_or(1, |span| span.last_epoch + 1);
            if last_epoch >= first_epoch {
                spans.push(Span {
                    first_epoch,
                    last_epoch,
                    maker: start.maker.clone(),
                });
            }
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use collapse_results::Maker;

    use crate::store::{ClaimedRun, RunManifest};

    fn maker(path: &str) -> Maker {
        Maker {
            code_version: "1".to_owned(),
            kernel_path: path.to_owned(),
            processor: "test".to_owned(),
        }
    }

    #[test]
    fn spans_say_who_trained_which_epochs() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = RunManifest::new("g", 1, serde_json::json!({}), "1");
        let claimed = ClaimedRun::take(&folder.path().join("run"), &manifest)
            .unwrap()
            .unwrap();
        let at = |finished, within, path| {
            claimed
                .record_start(finished, within, maker(path), false)
                .unwrap()
                .spans(10)
                .into_iter()
                .map(|span| (span.first_epoch, span.last_epoch, span.maker.kernel_path))
                .collect::<Vec<_>>()
        };
        let span = |first, last, path: &str| (first, last, path.to_owned());
        assert_eq!(at(0, false, "a"), [span(1, 10, "a")]);
        // Killed before its first checkpoint: nothing of it is left.
        assert_eq!(at(0, false, "b"), [span(1, 10, "b")]);
        assert_eq!(at(4, false, "b"), [span(1, 10, "b")]);
        assert_eq!(at(4, true, "a"), [span(1, 5, "b"), span(6, 10, "a")]);
        assert_eq!(at(10, false, "b"), [span(1, 5, "b"), span(6, 10, "a")]);
        let mixed = claimed
            .record_start(10, false, maker("a"), true)
            .unwrap_err();
        assert!(mixed.to_string().contains("--one-path"), "{mixed}");
    }
}
