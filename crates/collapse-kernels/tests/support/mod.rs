//! Naive references in f64, in torch's order, and the error a path may make.
#![allow(dead_code)]

pub mod winograd;

use collapse_kernels::{Conv, Element, Float, Shape};

/// A small fixed stream of values in (−1, 1): SplitMix64.
pub struct Stream(pub u64);

impl Stream {
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// Values representable in `T`.
    pub fn take<T: Element>(&mut self, len: usize) -> Vec<T::Param> {
        (0..len)
            .map(|_| T::narrow(T::Param::from_f64(self.next())).widen())
            .collect()
    }
}

pub fn wide<P: Float>(values: &[P]) -> Vec<f64> {
    values.iter().map(|v| v.to_f64()).collect()
}

/// Unit roundoff.
pub fn roundoff<T: Element>() -> f64 {
    match T::NAME {
        "f64" => f64::EPSILON / 2.0,
        "f32" => f64::from(f32::EPSILON) / 2.0,
        _ => 2f64.powi(-8),
    }
}

/// Unit roundoff of the accumulator.
pub fn sum_roundoff<T: Element>() -> f64 {
    if T::NAME == "f64" {
        f64::EPSILON / 2.0
    } else {
        f64::from(f32::EPSILON) / 2.0
    }
}

/// A sum of products: its value, the sum of absolute products, and the number of terms.
#[derive(Clone, Copy, Default)]
pub struct Sum {
    pub value: f64,
    pub size: f64,
    pub terms: usize,
}

impl Sum {
    pub fn add(&mut self, a: f64, b: f64) {
        self.value += a * b;
        self.size += (a * b).abs();
        self.terms += 1;
    }

    /// Any order of summation errs by at most γ_n Σ|ab|, γ_n = n·u/(1 − n·u) (Higham 2002, section 3.1), `extra` roundings of the
    /// sum on top, and one rounding to `T` at the end. Two units for the accumulator: vdpbf16ps and tdpbf16ps may truncate subnormals.
    pub fn bound<T: Element>(&self, extra: usize) -> f64 {
        let n = (self.terms + extra) as f64 * sum_roundoff::<T>();
        let gamma = n / (1.0 - n);
        let sum_error = gamma * self.size + self.terms as f64 * 2.0 * f64::from(f32::MIN_POSITIVE);
        sum_error + roundoff::<T>() * (self.value.abs() + sum_error)
    }
}

/// Calls `visit` with the indices of input, weight and output (torch's order) of every product of a convolution.
pub fn each_product(conv: Conv, input: Shape, mut visit: impl FnMut(usize, usize, usize)) {
    let output = conv.output_shape(input);
    let (k, p) = (conv.kernel(), conv.kernel() / 2);
    for n in 0..input.n {
        for o in 0..output.c {
            for y in 0..output.h {
                for x in 0..output.w {
                    for i in 0..input.c {
                        for ky in 0..k {
                            for kx in 0..k {
                                let (iy, ix) = (y * conv.stride() + ky, x * conv.stride() + kx);
                                if iy < p || ix < p || iy - p >= input.h || ix - p >= input.w {
                                    continue;
                                }
                                visit(
                                    ((n * input.c + i) * input.h + iy - p) * input.w + ix - p,
                                    ((o * input.c + i) * k + ky) * k + kx,
                                    ((n * output.c + o) * output.h + y) * output.w + x,
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}
