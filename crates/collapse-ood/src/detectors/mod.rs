//! The detectors, one file each; every score is a confidence: larger = more in-distribution.
//!
//! With L2 on, detectors that compute with the head or with class statistics see ẑ = z / ‖z‖, what
//! the head saw; [`FeatureNorm`] sees the raw z; [`Knn`] and the `++` forms normalise always.

mod ash;
mod dice;
mod em;
mod energy;
mod ensemble;
mod fdbd;
mod feature_norm;
mod gen_entropy;
mod gmm;
mod grad_norm;
mod kl_matching;
mod knn;
mod lts;
mod mahalanobis;
mod max_logit;
mod max_softmax;
mod nci;
mod neco;
mod nnguide;
mod openmax;
mod react;
mod she;
mod softmax_entropy;
mod vim;
mod vra;

pub use ash::{Ash, AshVariant};
pub use dice::Dice;
pub use em::Em;
pub use energy::Energy;
pub use ensemble::{Ensemble, EnsembleMeasure};
pub use fdbd::{Fdbd, FdbdScale};
pub use feature_norm::FeatureNorm;
pub use gen_entropy::Gen;
pub use gmm::{Gmm, GmmSpace, GmmWithPriors};
pub use grad_norm::GradNorm;
pub use kl_matching::KlMatching;
pub use knn::Knn;
pub use lts::Lts;
pub use mahalanobis::{Mahalanobis, MahalanobisOptions, PooledCovariance};
pub use max_logit::MaxLogit;
pub use max_softmax::MaxSoftmax;
pub use nci::Nci;
pub use neco::{Neco, NecoComponents};
pub use nnguide::NnGuide;
pub use openmax::OpenMax;
pub use react::React;
pub use she::She;
pub use softmax_entropy::SoftmaxEntropy;
pub use vim::{Residual, Vim};
pub use vra::{Vra, VraVariant};
