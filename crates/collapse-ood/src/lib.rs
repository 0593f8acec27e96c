//! Out-of-distribution detectors and detection metrics over features and logits.
