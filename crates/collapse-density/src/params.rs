//! Hyper-parameters: a builder that must be checked before it can fit.

use linfa::ParamGuard;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Form of the class covariances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Covariance {
    /// One full matrix per class, divisor `n_c − 1`. Source: DDU, `utils/gmm_utils.py`.
    #[default]
    Full,
    /// One matrix for all classes: the pooled within-class covariance, divisor `N − C`.
    Tied,
    /// One variance per class and feature, divisor `n_c − 1`.
    Diagonal,
    /// One full matrix per class, divisor `n_c`, shrunk towards a multiple of the identity.
    Shrinkage(Shrinkage),
    /// Leading eigenpairs of each class covariance (divisor `n_c − 1`) plus `ridge · I`. With
    /// `rank: None` all positive eigenvalues are kept, which is exact for `n_c < D`.
    LowRank {
        /// Eigenpairs kept per class.
        rank: Option<usize>,
        /// Variance added in every direction, > 0.
        ridge: f64,
    },
}

/// Rule for the weight of the identity in a shrunk covariance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shrinkage {
    /// Ledoit and Wolf, *A well-conditioned estimator for large-dimensional covariance matrices* (2004).
    LedoitWolf,
    /// Chen, Wiesel, Eldar and Hero, *Shrinkage algorithms for MMSE covariance estimation* (2010), in the
    /// form scikit-learn computes it.
    Oas,
}

/// What is added to the diagonal of every covariance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Jitter {
    /// The first of 0, 2.2250738585072014e-308, 1e-308, 1e-307, …, 1e-1 at which every class
    /// has a Cholesky factor. Source: DDU, `utils/gmm_utils.py`.
    #[default]
    Ladder,
    /// Always this value, ≥ 0.
    Fixed(f64),
}

impl Jitter {
    /// The values to try, in order.
    #[must_use]
    pub fn candidates(self) -> Vec<f64> {
        match self {
            Self::Fixed(value) => vec![value],
            Self::Ladder => [0.0, f64::MIN_POSITIVE]
                .into_iter()
                .chain((1..=308).rev().map(power_of_ten))
                .collect(),
        }
    }
}

/// `10^-exponent` as its decimal literal rounds, which `powi` does not promise.
fn power_of_ten(exponent: i32) -> f64 {
    format!("1e-{exponent}").parse().unwrap_or(0.0)
}

/// Unchecked parameters of a [`LabelledGaussianMixture`](crate::LabelledGaussianMixture).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params(ValidParams);

/// Checked parameters; only these can fit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidParams {
    n_classes: usize,
    covariance: Covariance,
    jitter: Jitter,
}

impl Params {
    /// DDU's defaults for `n_classes` classes: full covariances and the jitter ladder.
    #[must_use]
    pub fn new(n_classes: usize) -> Self {
        Self(ValidParams {
            n_classes,
            covariance: Covariance::default(),
            jitter: Jitter::default(),
        })
    }

    /// Sets the form of the covariances.
    #[must_use]
    pub fn covariance(mut self, covariance: Covariance) -> Self {
        self.0.covariance = covariance;
        self
    }

    /// Sets what is added to the diagonals.
    #[must_use]
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.0.jitter = jitter;
        self
    }
}

impl Params {
    /// Checks the parameters; also to be had as linfa's [`ParamGuard`].
    ///
    /// # Errors
    /// [`Error::Parameter`] names what is out of range.
    pub fn check(self) -> Result<ValidParams, Error> {
        ParamGuard::check(self)
    }
}

impl ValidParams {
    /// Number of classes.
    #[must_use]
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// Form of the covariances.
    #[must_use]
    pub fn covariance(&self) -> Covariance {
        self.covariance
    }

    /// What is added to the diagonals.
    #[must_use]
    pub fn jitter(&self) -> Jitter {
        self.jitter
    }
}

impl ParamGuard for Params {
    type Checked = ValidParams;
    type Error = Error;

    fn check_ref(&self) -> Result<&ValidParams, Error> {
        if self.0.n_classes == 0 {
            return Err(Error::Parameter {
                name: "n_classes",
                value: "0".into(),
                expected: "at least 1",
            });
        }
        if let Jitter::Fixed(value) = self.0.jitter
            && !(value >= 0.0 && value.is_finite())
        {
            return Err(Error::Parameter {
                name: "jitter",
                value: value.to_string(),
                expected: "a finite number >= 0",
            });
        }
        if let Covariance::LowRank { rank, ridge } = self.0.covariance {
            if !(ridge > 0.0 && ridge.is_finite()) {
                return Err(Error::Parameter {
                    name: "ridge",
                    value: ridge.to_string(),
                    expected: "a finite number > 0",
                });
            }
            if rank == Some(0) {
                return Err(Error::Parameter {
                    name: "rank",
                    value: "0".into(),
                    expected: "at least 1, or None for every positive eigenvalue",
                });
            }
        }
        Ok(&self.0)
    }

    fn check(self) -> Result<ValidParams, Error> {
        self.check_ref()?;
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_is_that_of_ddu() {
        let ladder = Jitter::Ladder.candidates();
        assert_eq!(ladder.len(), 310);
        assert_eq!(ladder[..4], [0.0, 2.2250738585072014e-308, 1e-308, 1e-307]);
        assert_eq!(ladder[308..], [1e-2, 1e-1]);
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        let message = |params: Params| params.check().unwrap_err().to_string();
        assert_eq!(message(Params::new(0)), "n_classes is 0: choose at least 1");
        assert!(message(Params::new(2).jitter(Jitter::Fixed(f64::NAN))).contains("NaN"));
        assert!(message(Params::new(2).jitter(Jitter::Fixed(-1.0))).contains("-1"));
        for (rank, ridge) in [(Some(0), 1.0), (None, 0.0), (None, f64::INFINITY)] {
            let covariance = Covariance::LowRank { rank, ridge };
            assert!(Params::new(2).covariance(covariance).check().is_err());
        }
        assert!(Params::new(2).check().is_ok());
    }
}
