//! Where work with many parallel parts runs, and what is in force there.

use crate::conv::algorithm;
use crate::path;
use std::cell::Cell;
use std::thread::LocalKey;

/// Runs `work` with `value` in `cell`, which then holds again what it held.
pub(crate) fn forcing<T: Copy + 'static, R>(
    cell: &'static LocalKey<Cell<Option<T>>>,
    value: Option<T>,
    work: impl FnOnce() -> R,
) -> R {
    struct Restore<T: Copy + 'static>(&'static LocalKey<Cell<Option<T>>>, Option<T>);
    impl<T: Copy> Drop for Restore<T> {
        fn drop(&mut self) {
            self.0.set(self.1);
        }
    }
    let _restore = Restore(cell, cell.replace(value));
    work()
}

/// Runs `work` on a thread of rayon's pool, with the kernel path and the algorithm in force for the caller.
///
/// Each parallel operation that is started outside the pool is handed over to it and waited for. Networks start hundreds for a
/// step, which cost small ones a fifth of their time; within the pool they start at once.
pub fn within_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if rayon::current_thread_index().is_some() {
        return work();
    }
    let (path, algorithm) = (path::FORCED.get(), algorithm::FORCED.get());
    // A thread that waits for other work in the pool may be the one to take this: what is in force there is not ours.
    rayon::scope(|_| {
        forcing(&path::FORCED, path, || {
            forcing(&algorithm::FORCED, algorithm, work)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ConvolutionAlgorithm, KernelPath, convolution_algorithm, kernel_path, with_convolution,
        with_kernel_path,
    };

    #[test]
    fn what_is_in_force_comes_along() {
        let seen = || {
            assert!(rayon::current_thread_index().is_some());
            (kernel_path().unwrap(), convolution_algorithm().unwrap())
        };
        let usual = within_pool(seen);
        assert_eq!(
            usual,
            (kernel_path().unwrap(), convolution_algorithm().unwrap())
        );
        let (path, algorithm) = (KernelPath::Portable, ConvolutionAlgorithm::Direct);
        let within = || with_kernel_path(path, || within_pool(seen)).unwrap();
        assert_eq!(with_convolution(algorithm, within), (path, algorithm));
        assert_eq!(within_pool(seen), usual);
    }
}
