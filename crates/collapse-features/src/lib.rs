//! The feature file: features, logits, labels and head of one split, readable from any framework.
