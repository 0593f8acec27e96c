//! Average and maximum pooling, the shortcut's backward pass, addition.

use crate::act::Act;
use crate::element::{Element, Float};
use crate::error::{Error, Result, check_len, check_shape};
use crate::norm::Shortcut;
use crate::path::{kernel_path, multiversion};
use crate::shape::Shape;
use rayon::prelude::*;

fn check_window(shape: Shape, window: usize) -> Result<()> {
    if (1..=shape.h.min(shape.w)).contains(&window) {
        Ok(())
    } else {
        Err(Error::Window {
            window,
            h: shape.h,
            w: shape.w,
        })
    }
}

/// Average pool with stride = `window`, flattened to row-major [N, C · h/window · w/window] as torch flattens
/// [N, C, H, W]; rows and columns that fill no window are left out. With h = w = window: the mean of each channel, [N, C].
///
/// # Errors
/// If the window does not fit the map.
pub fn global_avg_pool<T: Element>(x: &Act<T>, window: usize) -> Result<Vec<T::Param>> {
    let shape = x.shape();
    check_window(shape, window)?;
    let (ph, pw) = (shape.h / window, shape.w / window);
    let row = shape.c * ph * pw;
    let scale = T::Param::ONE / T::Param::from_f64((window * window) as f64);
    let mut pooled = vec![T::Param::ZERO; shape.n * row];
    if !shape.is_empty() {
        pooled
            .par_chunks_exact_mut(row)
            .with_min_len(8)
            .enumerate()
            .for_each(|(n, pooled)| {
                let mut sums = vec![T::Param::ZERO; shape.c];
                for cell in 0..ph * pw {
                    sums.fill(T::Param::ZERO);
                    for k in 0..window * window {
                        let p = (cell / pw * window + k / window) * shape.w
                            + cell % pw * window
                            + k % window;
                        let values = &x.pixel(p)[n * x.c_stride()..][..shape.c];
                        sums.iter_mut()
                            .zip(values)
                            .for_each(|(s, v)| *s += v.widen());
                    }
                    for (c, s) in sums.iter().enumerate() {
                        pooled[c * ph * pw + cell] = *s * scale;
                    }
                }
            });
    }
    Ok(pooled)
}

/// Gradient of [`global_avg_pool`] to its input of shape `shape`.
///
/// # Errors
/// If the window does not fit the map or `dz` has another length than the pooled tensor.
pub fn global_avg_pool_backward<T: Element>(
    dz: &[T::Param],
    shape: Shape,
    window: usize,
) -> Result<Act<T>> {
    check_window(shape, window)?;
    let (ph, pw) = (shape.h / window, shape.w / window);
    let row = shape.c * ph * pw;
    check_len("the pooled gradient", dz.len(), shape.n * row)?;
    let scale = T::Param::ONE / T::Param::from_f64((window * window) as f64);
    let mut dx = Act::dirty(shape);
    let stride = dx.c_stride();
    dx.par_pixels_mut().enumerate().for_each(|(p, pixel)| {
        let (y, x) = (p / shape.w / window, p % shape.w / window);
        for (n, values) in pixel.chunks_exact_mut(stride).take(shape.n).enumerate() {
            values.fill(T::zeroed());
            if y < ph && x < pw {
                for (c, v) in values[..shape.c].iter_mut().enumerate() {
                    *v = T::narrow(dz[n * row + c * ph * pw + y * pw + x] * scale);
                }
            }
        }
    });
    Ok(dx)
}

/// Gradient of the shortcut [`crate::Residual::PoolPad`] to its input of shape `input`, added into `accumulate` if given.
///
/// # Errors
/// If the shapes do not belong to such a shortcut.
pub fn pool_pad_backward<T: Element>(
    g: &Act<T>,
    input: Shape,
    stride: usize,
    accumulate: Option<Act<T>>,
) -> Result<Act<T>> {
    let shortcut = Shortcut::new(input, g.shape(), stride)?;
    let add = accumulate.is_some();
    let mut dx = accumulate.unwrap_or_else(|| Act::zeros(input));
    check_shape("the gradient to add to", dx.shape(), input)?;
    let level = kernel_path()?.level();
    let scale = T::Param::ONE / T::Param::from_f64(shortcut.cells() as f64);
    let (dx_stride, g_stride, w_out, valid) =
        (dx.c_stride(), g.c_stride(), g.shape().w, dx.valid_len());
    dx.par_pixels_mut().enumerate().for_each(|(p, pixel)| {
        if let Some((y, x)) = shortcut.target(p / input.w, p % input.w) {
            add_rows(
                level,
                &mut pixel[..valid],
                dx_stride,
                g.pixel(y * w_out + x),
                g_stride,
                scale,
                input.c,
                add,
            );
        }
    });
    Ok(dx)
}

multiversion! {
    /// Adds `scale ·` the first `channels` of every row, or writes them.
    fn add_rows<'a, T: Element>(
        target: &'a mut [T],
        target_stride: usize,
        source: &[T],
        source_stride: usize,
        scale: T::Param,
        channels: usize,
        add: bool,
    ) {
        for (target, source) in target.chunks_exact_mut(target_stride).zip(source.chunks_exact(source_stride)) {
            for (t, s) in target[..channels].iter_mut().zip(source) {
                let gradient = s.widen() * scale;
                *t = T::narrow(if add { t.widen() + gradient } else { gradient });
            }
        }
    }
}

/// `a + b`, in the memory of `a`.
///
/// # Errors
/// If the shapes differ.
pub fn add<T: Element>(mut a: Act<T>, b: &Act<T>) -> Result<Act<T>> {
    check_shape("the second summand", b.shape(), a.shape())?;
    let level = kernel_path()?.level();
    let len = a.pixel_len();
    a.par_pixels_mut()
        .zip(b.par_pixels())
        .for_each(|(a, b)| add_rows(level, a, len, b, len, T::Param::ONE, len, true));
    Ok(a)
}

/// Index of the first largest of four, NaN winning as in torch.
#[inline(always)]
fn largest<T: Element>(window: [T; 4]) -> usize {
    let mut best = 0;
    for k in 1..4 {
        let (v, b) = (window[k].widen(), window[best].widen());
        if v > b || (v.partial_cmp(&v).is_none() && b.partial_cmp(&b).is_some()) {
            best = k;
        }
    }
    best
}

/// The four pixels below output pixel `p`.
fn quad(p: usize, w_in: usize) -> [usize; 4] {
    let w_out = w_in / 2;
    let first = p / w_out * 2 * w_in + p % w_out * 2;
    [first, first + 1, first + w_in, first + w_in + 1]
}

/// Maximum over 2 × 2 windows with stride 2; a last odd row or column is left out.
///
/// # Errors
/// If the map is smaller than 2 × 2.
pub fn max_pool2<T: Element>(x: &Act<T>) -> Result<Act<T>> {
    check_window(x.shape(), 2)?;
    let shape = x.shape();
    let mut out = Act::dirty(Shape {
        h: shape.h / 2,
        w: shape.w / 2,
        ..shape
    });
    let valid = x.valid_len();
    out.par_pixels_mut().enumerate().for_each(|(p, pixel)| {
        let window = quad(p, shape.w).map(|q| x.pixel(q));
        for (i, v) in pixel[..valid].iter_mut().enumerate() {
            let values = window.map(|q| q[i]);
            *v = values[largest(values)];
        }
    });
    Ok(out)
}

/// Gradient of [`max_pool2`] to its input `x`: it goes to the first largest value of each window.
///
/// # Errors
/// If `dout` does not have the pooled shape.
pub fn max_pool2_backward<T: Element>(dout: &Act<T>, x: &Act<T>) -> Result<Act<T>> {
    check_window(x.shape(), 2)?;
    let shape = x.shape();
    let pooled = Shape {
        h: shape.h / 2,
        w: shape.w / 2,
        ..shape
    };
    check_shape("the pooled gradient", dout.shape(), pooled)?;
    let mut dx = Act::dirty(shape);
    let valid = x.valid_len();
    dx.par_pixels_mut().enumerate().for_each(|(q, pixel)| {
        let (y, column) = (q / shape.w, q % shape.w);
        if y / 2 >= pooled.h || column / 2 >= pooled.w {
            pixel[..valid].fill(T::zeroed());
            return;
        }
        let p = y / 2 * pooled.w + column / 2;
        let (place, window) = (y % 2 * 2 + column % 2, quad(p, shape.w).map(|q| x.pixel(q)));
        for (i, v) in pixel[..valid].iter_mut().enumerate() {
            let wins = largest(window.map(|w| w[i])) == place;
            *v = if wins { dout.pixel(p)[i] } else { T::zeroed() };
        }
    });
    Ok(dx)
}
