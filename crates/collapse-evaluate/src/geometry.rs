//! Neural collapse of the training split.

use collapse_geometry::{ClassScatter, Collapse, Head, RowsView, Variability, measure};
use serde::Serialize;

use crate::splits::{CompleteSplits, Split};

/// NC measures of the training split, on what the head sees: all of them with a head, the variability without.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Geometry {
    /// NC1 to NC4.
    Whole(Box<Collapse>),
    /// NC1 and its relatives, which need no head.
    Variability(Variability),
    /// None.
    Undefined {
        /// Why.
        undefined: String,
    },
}

impl CompleteSplits {
    /// `None` without training features or without their labels.
    pub(crate) fn geometry(&self) -> Option<Geometry> {
        let train = self.train()?;
        of_train(train, train.features.head_features())
    }

    /// The same of the form of the features that the head does not see: of raw z where it sees normalised ẑ, of ẑ where
    /// it sees z. Training with normalisation and normalising afterwards are two things, and so are their measures.
    pub(crate) fn geometry_counterpart(&self) -> Option<Geometry> {
        let train = self.train()?;
        match train.features.l2() {
            true => of_train(train, train.features.features.view()),
            false => of_train(train, train.features.normalized_features()),
        }
    }
}

fn of_train(train: &Split, features: RowsView) -> Option<Geometry> {
    let set = &train.features;
    let labels = set.labels.as_deref()?;
    if features.ncols() == 0 {
        return Some(Geometry::Undefined {
            undefined: "there are logits alone, no features".to_owned(),
        });
    }
    let found = match &set.head {
        Some(head) => {
            let n_classes = head.weight.nrows();
            let head = Head {
                weight: head.weight.view(),
                bias: head.bias.view(),
            };
            measure(features, labels, n_classes, head).map(|found| Geometry::Whole(Box::new(found)))
        }
        None => {
            let n_classes = labels.iter().max().map_or(0, |label| label + 1);
            ClassScatter::new(n_classes, features.ncols())
                .and_then(|mut scatter| {
                    scatter.update(features, labels)?;
                    scatter.variability()
                })
                .map(Geometry::Variability)
        }
    };
    Some(found.unwrap_or_else(|error| Geometry::Undefined {
        undefined: error.to_string(),
    }))
}
