//! Gradient through activation and training-mode batch norm.

use super::{Activation, BatchNorm, Place, lanes};
use crate::act::Act;
use crate::element::{Element, Float};
use crate::error::{Result, check_shape};
use crate::path::{Level, kernel_path, multiversion};
use crate::pool::Buffer;
use crate::shape::LANES;
use rayon::prelude::*;

/// Gradients of [`bn_act_backward`].
#[derive(Debug)]
pub struct BnBackward<T: Element> {
    /// To the normalised tensor `y`.
    pub dy: Act<T>,
    /// To the scale.
    pub dweight: Vec<T::Param>,
    /// To the shift.
    pub dbias: Vec<T::Param>,
    /// To the sum of normalised tensor and residual, if it was wanted.
    pub g: Option<Act<T>>,
}

/// Per channel, over the blocks of 16.
struct Coefficients<P> {
    mean: Vec<[P; LANES]>,
    inverse_deviation: Vec<[P; LANES]>,
}

impl<P: Float> Coefficients<P> {
    fn new(bn: &BatchNorm<P>) -> Self {
        let channels = bn.mean.len();
        let mut coefficients = Self {
            mean: lanes(channels),
            inverse_deviation: lanes(channels),
        };
        for c in 0..channels {
            coefficients.mean[c / LANES][c % LANES] = bn.mean[c];
            coefficients.inverse_deviation[c / LANES][c % LANES] = bn.inverse_deviation(c);
        }
        coefficients
    }
}

/// `dy = y_scale · y + g_scale · g + shift`.
struct Combination<P> {
    y_scale: Vec<[P; LANES]>,
    g_scale: Vec<[P; LANES]>,
    shift: Vec<[P; LANES]>,
}

impl<P: Float> Combination<P> {
    /// For `count` values a channel.
    fn new(bn: &BatchNorm<P>, sums: &Sums, count: usize) -> Self {
        let channels = bn.mean.len();
        let mut combination = Self {
            y_scale: lanes(channels),
            g_scale: lanes(channels),
            shift: lanes(channels),
        };
        let count = count as f64;
        for c in 0..channels {
            let inverse = bn.inverse_deviation(c).to_f64();
            let scale = bn.weight[c].to_f64() * inverse;
            let along_y = -scale * inverse * sums.g_times_x[c] / count;
            let shift = -along_y * bn.mean[c].to_f64() - scale * sums.g[c] / count;
            let (block, lane) = (c / LANES, c % LANES);
            combination.g_scale[block][lane] = P::from_f64(scale);
            combination.y_scale[block][lane] = P::from_f64(along_y);
            combination.shift[block][lane] = P::from_f64(shift);
        }
        combination
    }

    #[inline(always)]
    fn lanes<T: Element<Param = P>>(
        &self,
        block: usize,
        g: &[T; LANES],
        y: &[T; LANES],
    ) -> [T; LANES] {
        let (y_scale, g_scale, shift) = (
            &self.y_scale[block],
            &self.g_scale[block],
            &self.shift[block],
        );
        let mut sum = [P::ZERO; LANES];
        for j in 0..LANES {
            sum[j] = g[j].widen() * g_scale[j] + (y[j].widen() * y_scale[j] + shift[j]);
        }
        let mut narrow = [T::zeroed(); LANES];
        for j in 0..LANES {
            narrow[j] = T::narrow(sum[j]);
        }
        narrow
    }
}

/// Backward of `out = act(bn(y) + residual)` where the batch norm used the batch's own statistics.
///
/// With x̂ = (y − mean)/√(variance + eps) and g = dout · act′, over the m values of a channel:
/// dbias = Σ g, dweight = Σ g·x̂, dy = weight/√(variance + eps) · (g − dbias/m − x̂ · dweight/m).
/// The sign of `out` decides act′, so an `out` of exactly 0 takes the slope, as torch does. `dout`'s memory is used again.
///
/// # Errors
/// If a shape or a parameter's length does not fit `y`, or the path variable is wrong.
pub fn bn_act_backward<T: Element>(
    mut dout: Act<T>,
    out: &Act<T>,
    y: &Act<T>,
    bn: &BatchNorm<T::Param>,
    act: Activation,
    want_g: bool,
) -> Result<BnBackward<T>> {
    let shape = y.shape();
    bn.check(shape.c)?;
    check_shape("the output gradient", dout.shape(), shape)?;
    check_shape("the output", out.shape(), shape)?;
    let level = kernel_path()?.level();
    let sums = sum_gradient(level, &mut dout, out, y, bn, act);
    let combination = Combination::new(bn, &sums, shape.pixels() * shape.n);
    let (dy, g) = combine(level, dout, y, &combination, want_g);
    let narrow = |sums: &[f64]| sums.iter().map(|&s| T::Param::from_f64(s)).collect();
    Ok(BnBackward {
        dy,
        dweight: narrow(&sums.g_times_x),
        dbias: narrow(&sums.g),
        g,
    })
}

/// Σ g and Σ g·x̂ of every channel.
struct Sums {
    g: Vec<f64>,
    g_times_x: Vec<f64>,
}

/// Turns the gradient behind the activation into the one before it and sums it, pixels in order.
fn sum_gradient<T: Element>(
    level: Level,
    g: &mut Act<T>,
    out: &Act<T>,
    y: &Act<T>,
    bn: &BatchNorm<T::Param>,
    act: Activation,
) -> Sums {
    let (shape, stride, valid) = (y.shape(), y.c_stride().max(1), y.valid_len());
    let coefficients = Coefficients::new(bn);
    let slope = match act {
        Activation::Identity => None,
        Activation::LeakyRelu(_) => Some(act.slope::<T::Param>()),
    };
    let mut sums = Buffer::<T::Param>::dirty(shape.pixels() * stride * 2);
    g.par_pixels_mut()
        .zip(sums.par_chunks_exact_mut(stride * 2))
        .enumerate()
        .for_each(|(p, (g, sums))| {
            reduce_pixel(
                level,
                &mut g[..valid],
                &out.pixel(p)[..valid],
                &y.pixel(p)[..valid],
                slope,
                &coefficients,
                sums,
            );
        });
    let mut totals = vec![0.0; stride * 2];
    for row in sums.chunks_exact(stride * 2) {
        totals
            .iter_mut()
            .zip(row)
            .for_each(|(t, v)| *t += v.to_f64());
    }
    let (g, g_times_x) = totals.split_at(stride);
    Sums {
        g: g[..shape.c].to_vec(),
        g_times_x: g_times_x[..shape.c].to_vec(),
    }
}

/// dy, and the gradient before the activation if it was wanted; else its memory becomes dy's.
fn combine<T: Element>(
    level: Level,
    mut g: Act<T>,
    y: &Act<T>,
    combination: &Combination<T::Param>,
    want_g: bool,
) -> (Act<T>, Option<Act<T>>) {
    let valid = y.valid_len();
    if !want_g {
        g.par_pixels_mut().enumerate().for_each(|(p, g)| {
            combine_in_place(level, &mut g[..valid], &y.pixel(p)[..valid], combination);
        });
        return (g, None);
    }
    let mut dy = Act::dirty(y.shape());
    dy.par_pixels_mut().enumerate().for_each(|(p, dy)| {
        combine_pixel(
            level,
            &g.pixel(p)[..valid],
            &y.pixel(p)[..valid],
            combination,
            &mut dy[..valid],
        );
    });
    (dy, Some(g))
}

multiversion! {
    /// Turns `g` from the gradient behind the activation into the one before it and sums it, alone and times x̂.
    fn reduce_pixel<'a, T: Element>(
        g: &'a mut [T],
        out: &[T],
        y: &[T],
        slope: Option<T::Param>,
        coefficients: &Coefficients<T::Param>,
        sums: &mut [T::Param],
    ) {
        let blocks = coefficients.mean.len();
        let (g, _) = g.as_chunks_mut::<LANES>();
        let (out, _) = out.as_chunks::<LANES>();
        let (y, _) = y.as_chunks::<LANES>();
        let (sum_g, sum_gx) = sums.split_at_mut(blocks * LANES);
        let (sum_g, sum_gx) = (sum_g.as_chunks_mut::<LANES>().0, sum_gx.as_chunks_mut::<LANES>().0);
        for b in 0..blocks {
            let (mean, inverse) = (coefficients.mean[b], coefficients.inverse_deviation[b]);
            let (mut total, mut total_x) = ([T::Param::ZERO; LANES], [T::Param::ZERO; LANES]);
            for n in 0..y.len() / blocks {
                let at = n * blocks + b;
                let mut gradient = g[at].map(T::widen);
                if let Some(slope) = slope {
                    for j in 0..LANES {
                        let factor = if out[at][j].widen() > T::Param::ZERO { T::Param::ONE } else { slope };
                        gradient[j] = gradient[j] * factor;
                    }
                    g[at] = gradient.map(T::narrow);
                    gradient = g[at].map(T::widen);
                }
                for j in 0..LANES {
                    total[j] += gradient[j];
                    total_x[j] += gradient[j] * ((y[at][j].widen() - mean[j]) * inverse[j]);
                }
            }
            sum_g[b] = total;
            sum_gx[b] = total_x;
        }
    }
}

multiversion! {
    fn combine_pixel<'a, T: Element>(g: &[T], y: &[T], by: &Combination<T::Param>, dy: &'a mut [T]) {
        let (g, y, dy) = (g.as_chunks::<LANES>().0, y.as_chunks::<LANES>().0, dy.as_chunks_mut::<LANES>().0);
        let mut place = Place::default();
        for ((g, y), dy) in g.iter().zip(y).zip(dy) {
            *dy = by.lanes(place.block, g, y);
            place.advance(by.shift.len());
        }
    }
}

multiversion! {
    fn combine_in_place<'a, T: Element>(g: &'a mut [T], y: &[T], by: &Combination<T::Param>) {
        let (g, y) = (g.as_chunks_mut::<LANES>().0, y.as_chunks::<LANES>().0);
        let mut place = Place::default();
        for (g, y) in g.iter_mut().zip(y) {
            *g = by.lanes(place.block, g, y);
            place.advance(by.shift.len());
        }
    }
}
