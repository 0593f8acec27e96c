//! Image sets for out-of-distribution benchmarks: embedded sample, readers, splits, augmentation and batches.
