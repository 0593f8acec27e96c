//! Residual networks with the L2 head and spectral normalisation.
