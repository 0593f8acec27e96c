//! Dropout whose mask is a function of seed, layer and batch, so that it is drawn again instead of
//! stored, and a resumed run drops what an uninterrupted one does.

use collapse_kernels::{Act, Element, Float, Shape};

use collapse_random::Stream;

use crate::NormId;

/// The mask of one layer in one training forward.
///
/// Every value is zeroed with probability `rate`, the others are divided by 1 − rate; being linear,
/// it is its own backward. Source: PyTorch `nn.Dropout`; the generator is our choice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Dropout {
    seed: u64,
    layer: u64,
    batch: u64,
    rate: f64,
}

impl Dropout {
    /// `layer` is the batch norm before it, `batch` that norm's number of batches.
    pub(crate) fn new(seed: u64, layer: NormId, batch: u64, rate: f64) -> Self {
        Self {
            seed,
            layer: layer.index() as u64,
            batch,
            rate,
        }
    }

    /// One factor after the other for the pixel of index `pixel`: channel by channel, image by
    /// image.
    fn factors<P: Float>(self, pixel: usize) -> impl FnMut() -> P {
        let part = self.layer << 32 | pixel as u64;
        let mut stream = Stream::part(self.seed, "dropout", self.batch, part);
        let threshold = (self.rate * 2f64.powi(32)).round() as u64;
        let kept = P::from_f64(1.0 / (1.0 - self.rate));
        move || {
            if u64::from(stream.bits()) < threshold {
                P::ZERO
            } else {
                kept
            }
        }
    }

    /// Applies the mask to activations, or to their gradient.
    pub(crate) fn apply<T: Element>(self, x: &mut Act<T>) {
        x.update_pixels(|pixel| {
            let mut factor = self.factors::<T::Param>(pixel);
            move |channels: &mut [T]| {
                for x in channels {
                    *x = T::narrow(x.widen() * factor());
                }
            }
        });
    }

    /// The mask in the order [N, C, H, W].
    pub(crate) fn nchw<P: Float>(self, shape: Shape) -> Vec<P> {
        let pixels = shape.h * shape.w;
        let mut mask = vec![P::ZERO; shape.len()];
        for pixel in 0..pixels {
            let mut factor = self.factors(pixel);
            for row in 0..shape.n * shape.c {
                mask[row * pixels + pixel] = factor();
            }
        }
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_the_share_asked_for_and_keeps_the_mean() {
        let shape = Shape {
            h: 8,
            w: 8,
            n: 10,
            c: 20,
        };
        let dropout = Dropout::new(3, NormId(1), 7, 0.3);
        let mut x = Act::<f64>::from_nchw(shape, &vec![1.0; shape.len()]).unwrap();
        dropout.apply(&mut x);
        let values = x.to_nchw();
        assert_eq!(values, dropout.nchw::<f64>(shape));
        let share = values.iter().filter(|x| **x == 0.0).count() as f64 / values.len() as f64;
        assert!((share - 0.3).abs() < 0.02, "{share}");
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
        let other = Dropout::new(3, NormId(1), 8, 0.3).nchw::<f64>(shape);
        assert_ne!(values, other);
    }
}
