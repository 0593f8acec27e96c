use crate::path::KernelPath;

/// What a kernel refuses, with the value it refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A slice does not hold the number of elements its shape asks for.
    #[error(
        "{what} holds {found} elements but its shape needs {expected}; pass a slice of exactly that length"
    )]
    Length {
        /// The argument.
        what: &'static str,
        /// Elements its shape needs.
        expected: usize,
        /// Elements it has.
        found: usize,
    },
    /// Two tensors that belong together differ in shape.
    #[error("{what} has shape {found} (H×W×N×C) but {expected} is needed here")]
    Shape {
        /// The argument.
        what: &'static str,
        /// The shape that fits.
        expected: crate::Shape,
        /// The shape that came.
        found: crate::Shape,
    },
    /// A convolution outside what the kernels cover.
    #[error(
        "convolution {in_channels}→{out_channels}, kernel {kernel}, stride {stride} is not supported: kernel must be 1 or 3, stride 1 or 2, channels at least 1"
    )]
    Conv {
        /// Input channels asked for.
        in_channels: usize,
        /// Output channels asked for.
        out_channels: usize,
        /// Kernel side asked for.
        kernel: usize,
        /// Stride asked for.
        stride: usize,
    },
    /// A pooling window that does not fit the map.
    #[error(
        "pooling window {window} does not fit a {h}×{w} map; choose one between 1 and the smaller side"
    )]
    Window {
        /// The window asked for.
        window: usize,
        /// Map height.
        h: usize,
        /// Map width.
        w: usize,
    },
    /// A shortcut that would drop channels or rows.
    #[error(
        "an average-pool shortcut with stride {stride} cannot turn {input} into {output}: sides must become ⌈side / stride⌉ and channels must not shrink"
    )]
    Shortcut {
        /// Shape before the shortcut.
        input: crate::Shape,
        /// Shape after it.
        output: crate::Shape,
        /// Its stride.
        stride: usize,
    },
    /// A kernel path name nobody knows.
    #[error(
        "unknown kernel path {name:?} in COLLAPSE_KERNEL_PATH; this machine offers: {}",
        KernelPath::list(available)
    )]
    UnknownPath {
        /// The name.
        name: String,
        /// What this machine can run.
        available: Vec<KernelPath>,
    },
    /// A name of no convolution algorithm.
    #[error(
        "unknown convolution algorithm {name:?} in COLLAPSE_CONVOLUTION; choose one of: {known}"
    )]
    UnknownAlgorithm {
        /// The name.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A kernel path this machine lacks the instructions for.
    #[error("kernel path {} needs instructions this machine lacks; it offers: {}", path.name(), KernelPath::list(available))]
    UnsupportedPath {
        /// The path.
        path: KernelPath,
        /// What this machine can run.
        available: Vec<KernelPath>,
    },
    /// Weights packed for one path met another.
    #[error("these weights were packed for path {} and the operation runs on {}; pack them again under that path", packed.name(), running.name())]
    PackedForAnotherPath {
        /// The path of the packed weights.
        packed: KernelPath,
        /// The path in force.
        running: KernelPath,
    },
}

/// Result of a kernel.
pub type Result<T> = std::result::Result<T, Error>;

pub(crate) fn check_len(what: &'static str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        Ok(())
    } else {
        Err(Error::Length {
            what,
            expected,
            found,
        })
    }
}

pub(crate) fn check_shape(
    what: &'static str,
    found: crate::Shape,
    expected: crate::Shape,
) -> Result<()> {
    if found == expected {
        Ok(())
    } else {
        Err(Error::Shape {
            what,
            expected,
            found,
        })
    }
}
