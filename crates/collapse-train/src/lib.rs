//! Losses, SGD, schedules, exact resume and feature extraction.
