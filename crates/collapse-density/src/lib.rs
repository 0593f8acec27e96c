//! Labelled Gaussian mixtures over features in linfa's manner.
