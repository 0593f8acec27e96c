"""Gaussian densities over features: one Gaussian per class with labels, an EM mixture without."""

from ._collapse import EmMixture, LabelledGaussianMixture

__all__ = ["EmMixture", "LabelledGaussianMixture"]
