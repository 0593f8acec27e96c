//! The detectors, one file each; every score is a confidence: larger = more in-distribution.
//!
//! With L2 on, detectors that compute with the head or with class statistics see ẑ = z / ‖z‖, what
//! the head saw; [`FeatureNorm`] sees the raw z; [`Knn`] and the `++` forms normalise always.

mod ash;
mod em;
mod energy;
mod fdbd;
mod feature_norm;
mod gen_entropy;
mod gmm;
mod knn;
mod mahalanobis;
mod max_logit;
mod max_softmax;
mod nci;
mod neco;
mod nnguide;
mod react;
mod she;
mod softmax_entropy;
mod vim;

pub use ash::{Ash, AshVariant};
pub use em::Em;
pub use energy::Energy;
pub use fdbd::{Fdbd, FdbdScale};
pub use feature_norm::FeatureNorm;
pub use gen_entropy::Gen;
pub use gmm::{Gmm, GmmSpace, GmmWithPriors};
pub use knn::Knn;
pub use mahalanobis::{Mahalanobis, MahalanobisOptions, PooledCovariance};
pub use max_logit::MaxLogit;
pub use max_softmax::MaxSoftmax;
pub use nci::Nci;
pub use neco::{Neco, NecoComponents};
pub use nnguide::NnGuide;
pub use react::React;
pub use she::She;
pub use softmax_entropy::SoftmaxEntropy;
pub use vim::{Residual, Vim};
