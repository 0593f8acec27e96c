//! The optimiser's update in one pass.

use crate::element::Float;
use crate::error::{Result, check_len};
use crate::path::{kernel_path, multiversion};
use rayon::prelude::*;

/// Hyper-parameters of [`sgd_step`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd<P> {
    /// Learning rate.
    pub learning_rate: P,
    /// Momentum μ.
    pub momentum: P,
    /// Weight decay, added to the gradient.
    pub weight_decay: P,
    /// Nesterov's look-ahead.
    pub nesterov: bool,
}

const CHUNK: usize = 1 << 14;

/// PyTorch's form, with momentum starting from zero:
/// g ← gradient + decay · w; v ← μ v + g; w ← w − lr · v (Nesterov: w − lr · (g + μ v)).
///
/// # Errors
/// If the three slices differ in length or the path variable is wrong.
pub fn sgd_step<P: Float>(
    weights: &mut [P],
    momentum: &mut [P],
    gradient: &[P],
    sgd: Sgd<P>,
) -> Result<()> {
    check_len("the momentum", momentum.len(), weights.len())?;
    check_len("the gradient", gradient.len(), weights.len())?;
    let level = kernel_path()?.level();
    if weights.len() <= CHUNK {
        update(level, weights, momentum, gradient, sgd);
        return Ok(());
    }
    weights
        .par_chunks_mut(CHUNK)
        .zip(momentum.par_chunks_mut(CHUNK))
        .zip(gradient.par_chunks(CHUNK))
        .for_each(|((w, v), g)| update(level, w, v, g, sgd));
    Ok(())
}

multiversion! {
    fn update<'a, P: Float>(weights: &'a mut [P], momentum: &mut [P], gradient: &[P], sgd: Sgd<P>) {
        for ((w, v), &gradient) in weights.iter_mut().zip(momentum).zip(gradient) {
            let g = gradient + sgd.weight_decay * *w;
            *v = sgd.momentum * *v + g;
            let step = if sgd.nesterov { g + sgd.momentum * *v } else { *v };
            *w -= sgd.learning_rate * step;
        }
    }
}
