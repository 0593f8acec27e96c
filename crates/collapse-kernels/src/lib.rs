//! CPU kernels that train convolutional networks at hardware speed, as plain functions and candle custom operations.
