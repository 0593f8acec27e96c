//! Convolutions by cuDNN, with what it chose remembered for every shape.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::cuda_backend::cudarc::cudnn::{
    ConvBackwardData, ConvBackwardFilter, ConvDescriptor, ConvForward, Cudnn, FilterDescriptor,
    TensorDescriptor, sys,
};
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::cuda_backend::{DeviceId, WrapErr};
use candle_core::{CudaDevice, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::launch::{device_of, on_cuda_alone, storage, uninitialised, view};
use super::{Arithmetic, arithmetic};

/// `x` [N, C, H, W] convolved with `weight` [O, C, K, K], K odd, with zeros around it for a padding of K / 2.
///
/// # Errors
/// When a tensor is not of f32 on a CUDA device, the shapes do not fit, or cuDNN fails.
pub fn convolution(x: &Tensor, weight: &Tensor, stride: usize) -> Result<Tensor> {
    let geometry = Geometry::of(x.dims4()?, weight.dims4()?, stride)?;
    let op = Convolution {
        geometry,
        of_input: x.track_op(),
    };
    x.contiguous()?.apply_op2(&weight.contiguous()?, op)
}

/// The gradients of [`convolution`]'s input, where it is wanted, and weight, given that of its output. No gradient goes
/// through them.
///
/// # Errors
/// As [`convolution`].
pub fn convolution_gradients(
    x: &Tensor,
    weight: &Tensor,
    stride: usize,
    gradient: &Tensor,
    of_input: bool,
) -> Result<(Option<Tensor>, Tensor)> {
    let geometry = Geometry::of(x.dims4()?, weight.dims4()?, stride)?;
    let (x, weight) = (x.detach().contiguous()?, weight.detach().contiguous()?);
    gradients(geometry, &x, &weight, gradient, of_input)
}

fn gradients(
    geometry: Geometry,
    x: &Tensor,
    weight: &Tensor,
    gradient: &Tensor,
    of_input: bool,
) -> Result<(Option<Tensor>, Tensor)> {
    let gradient = gradient.detach().contiguous()?;
    let of_input = of_input
        .then(|| gradient.apply_op2_no_bwd(weight, &InputGradient(geometry)))
        .transpose()?;
    let of_weight = x.apply_op2_no_bwd(&gradient, &WeightGradient(geometry))?;
    Ok((of_input, of_weight))
}

/// The gradient of [`convolution`]'s input, of shape `input`, given that of its output: the transposed convolution. No
/// gradient goes through it.
///
/// # Errors
/// As [`convolution`].
pub fn convolution_input_gradient(
    gradient: &Tensor,
    weight: &Tensor,
    input: (usize, usize, usize, usize),
    stride: usize,
) -> Result<Tensor> {
    let geometry = Geometry::of(input, weight.dims4()?, stride)?;
    let gradient = gradient.detach().contiguous()?;
    let weight = weight.detach().contiguous()?;
    gradient.apply_op2_no_bwd(&weight, &InputGradient(geometry))
}

/// All sizes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Geometry {
    /// N, C, H, W.
    input: [usize; 4],
    /// O, C, K, K.
    weight: [usize; 4],
    stride: usize,
}

impl Geometry {
    fn of(
        input: (usize, usize, usize, usize),
        weight: (usize, usize, usize, usize),
        stride: usize,
    ) -> Result<Self> {
        let geometry = Self {
            input: input.into(),
            weight: weight.into(),
            stride,
        };
        let ([_, c, h, w], [_, of, kernel, other]) = (geometry.input, geometry.weight);
        if c != of || kernel != other || kernel % 2 == 0 || stride == 0 || h == 0 || w == 0 {
            candle_core::bail!("no convolution of {input:?} with {weight:?}, stride {stride}");
        }
        Ok(geometry)
    }

    fn output(&self) -> [usize; 4] {
        let side = |n: usize| (n - 1) / self.stride + 1;
        let [n, _, h, w] = self.input;
        [n, self.weight[0], side(h), side(w)]
    }
}

/// cuDNN on one device, as one thread uses it: handles cannot be shared between threads.
struct Library {
    handle: Arc<Cudnn>,
    forward: BTreeMap<Geometry, (sys::cudnnConvolutionFwdAlgo_t, usize)>,
    input: BTreeMap<Geometry, (sys::cudnnConvolutionBwdDataAlgo_t, usize)>,
    weight: BTreeMap<Geometry, (sys::cudnnConvolutionBwdFilterAlgo_t, usize)>,
}

thread_local! {
    static LIBRARIES: RefCell<Vec<(DeviceId, Library)>> = const { RefCell::new(Vec::new()) };
}

fn with_library<T>(device: &CudaDevice, f: impl FnOnce(&mut Library) -> Result<T>) -> Result<T> {
    LIBRARIES.with_borrow_mut(|libraries| {
        let known = libraries.iter().position(|(id, _)| *id == device.id());
        let index = match known {
            Some(index) => index,
            None => {
                let library = Library {
                    handle: Cudnn::new(device.cuda_stream())?,
                    forward: BTreeMap::new(),
                    input: BTreeMap::new(),
                    weight: BTreeMap::new(),
                };
                libraries.push((device.id(), library));
                libraries.len() - 1
            }
        };
        f(&mut libraries[index].1)
    })
}

/// A convolution as cuDNN wants it described.
struct Described {
    conv: ConvDescriptor<f32>,
    input: TensorDescriptor<f32>,
    weight: FilterDescriptor<f32>,
    output: TensorDescriptor<f32>,
}

impl Described {
    fn new(handle: &Arc<Cudnn>, geometry: &Geometry) -> Result<Self> {
        let format = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW;
        let dims = |dims: [usize; 4]| dims.map(|n| n as i32);
        let pad = (geometry.weight[2] / 2) as i32;
        let stride = geometry.stride as i32;
        let mut conv = handle.create_conv2d::<f32>(
            [pad; 2],
            [stride; 2],
            [1; 2],
            sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION,
        )?;
        conv.set_math_type(match arithmetic()? {
            Arithmetic::F32 => sys::cudnnMathType_t::CUDNN_FMA_MATH,
            Arithmetic::Tf32 => sys::cudnnMathType_t::CUDNN_DEFAULT_MATH,
        })?;
        Ok(Self {
            conv,
            input: handle.create_4d_tensor(format, dims(geometry.input))?,
            weight: handle.create_4d_filter(format, dims(geometry.weight))?,
            output: handle.create_4d_tensor(format, dims(geometry.output()))?,
        })
    }
}

fn workspace(device: &CudaDevice, bytes: usize) -> Result<CudaSlice<u8>> {
    // SAFETY: bytes have no invalid values, and cuDNN writes its scratch memory before it reads it.
    unsafe { device.alloc::<u8>(bytes.max(1)) }
}

/// No algorithm may take more scratch memory.
const MOST_SCRATCH: usize = 2 << 30;
/// Runs of an algorithm that are timed together, after one that is not.
const TIMED_RUNS: usize = 4;

/// The algorithm that takes least time here, with its scratch memory in bytes. cuDNN's own guess is often far from it.
fn fastest<A: Copy>(
    device: &CudaDevice,
    candidates: &[A],
    scratch: impl Fn(A) -> Option<usize>,
    run: &mut impl FnMut(A, usize) -> Result<()>,
) -> Result<(A, usize)> {
    let stream = device.cuda_stream();
    let mut best: Option<(Duration, A, usize)> = None;
    for &algorithm in candidates {
        let Some(bytes) = scratch(algorithm).filter(|&bytes| bytes <= MOST_SCRATCH) else {
            continue;
        };
        if run(algorithm, bytes).is_err() {
            continue;
        }
        stream.synchronize().w()?;
        let began = Instant::now();
        for _ in 0..TIMED_RUNS {
            run(algorithm, bytes)?;
        }
        stream.synchronize().w()?;
        let took = began.elapsed();
        if best.is_none_or(|(least, ..)| took < least) {
            best = Some((took, algorithm, bytes));
        }
    }
    match best {
        Some((_, algorithm, bytes)) => Ok((algorithm, bytes)),
        None => candle_core::bail!("cuDNN has no algorithm for a convolution of these sizes"),
    }
}

// All of these give the same bytes for the same input, which cuDNN's algorithms 0 and 3 of the gradients do not.

const FORWARD: [sys::cudnnConvolutionFwdAlgo_t; 5] = {
    use sys::cudnnConvolutionFwdAlgo_t as Algorithm;
    [
        Algorithm::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM,
        Algorithm::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM,
        Algorithm::CUDNN_CONVOLUTION_FWD_ALGO_GEMM,
        Algorithm::CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD,
        Algorithm::CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED,
    ]
};

const INPUT: [sys::cudnnConvolutionBwdDataAlgo_t; 3] = {
    use sys::cudnnConvolutionBwdDataAlgo_t as Algorithm;
    [
        Algorithm::CUDNN_CONVOLUTION_BWD_DATA_ALGO_1,
        Algorithm::CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD,
        Algorithm::CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED,
    ]
};

const WEIGHT: [sys::cudnnConvolutionBwdFilterAlgo_t; 2] = {
    use sys::cudnnConvolutionBwdFilterAlgo_t as Algorithm;
    [
        Algorithm::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1,
        Algorithm::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED,
    ]
};

/// The gradients' operations and the forward one differ in which of the three arrays is written, and in cuDNN's names.
macro_rules! run {
    ($device:expr, $geometry:expr, $cache:ident, $candidates:expr, $operation:ident,
     [$($field:ident: $part:ident),+], $first:expr, $second:expr, $third:expr) => {
        with_library($device, |library| {
            let described = Described::new(&library.handle, $geometry)?;
            let operation = $operation {
                conv: &described.conv,
                $($field: &described.$part),+
            };
            let mut run = |algorithm, bytes| -> Result<()> {
                let mut scratch = workspace($device, bytes)?;
                // SAFETY: the arrays have the lengths of the geometry that the descriptors are made from, which `expect`
                // and `uninitialised` saw to, and the scratch memory has the length that cuDNN asked for.
                unsafe {
                    operation.launch(algorithm, Some(&mut scratch), (1.0, 0.0), $first, $second, $third)?;
                }
                Ok(())
            };
            if let Some(&(algorithm, bytes)) = library.$cache.get($geometry) {
                return run(algorithm, bytes);
            }
            let size = |algorithm| operation.get_workspace_size(algorithm).ok();
            let fastest = fastest($device, &$candidates, size, &mut run)?;
            library.$cache.insert(*$geometry, fastest);
            run(fastest.0, fastest.1)
        })
    };
}

fn volume(dims: [usize; 4]) -> usize {
    dims.iter().product()
}

/// Fails where an array has not the shape that its descriptor says.
fn expect(layout: &Layout, dims: [usize; 4]) -> Result<()> {
    if layout.dims() == dims {
        return Ok(());
    }
    candle_core::bail!("a convolution was given {:?} for {dims:?}", layout.dims())
}

/// Of input and weight: the output.
struct Convolution {
    geometry: Geometry,
    /// Whether the input's gradient is wanted.
    of_input: bool,
}

impl CustomOp2 for Convolution {
    on_cuda_alone!(CustomOp2, "convolution");

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (device, geometry) = (device_of(x), &self.geometry);
        expect(x_layout, geometry.input)?;
        expect(weight_layout, geometry.weight)?;
        let mut out = uninitialised(device, volume(geometry.output()))?;
        let (x, weight) = (view(x, x_layout)?, view(weight, weight_layout)?);
        run!(
            device,
            geometry,
            forward,
            FORWARD,
            ConvForward,
            [x: input, w: weight, y: output],
            &x,
            &weight,
            &mut out
        )?;
        Ok((
            storage(out, device),
            Shape::from(geometry.output().to_vec()),
        ))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_input, of_weight) = gradients(self.geometry, x, weight, gradient, self.of_input)?;
        Ok((of_input, Some(of_weight)))
    }
}

/// Of the output's gradient and the weight: the input's gradient.
struct InputGradient(Geometry);

impl CustomOp2 for InputGradient {
    on_cuda_alone!(CustomOp2, "convolution_input_gradient");

    fn cuda_fwd(
        &self,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (device, geometry) = (device_of(gradient), &self.0);
        expect(gradient_layout, geometry.output())?;
        expect(weight_layout, geometry.weight)?;
        let mut out = uninitialised(device, volume(geometry.input))?;
        let gradient = view(gradient, gradient_layout)?;
        let weight = view(weight, weight_layout)?;
        run!(
            device,
            geometry,
            input,
            INPUT,
            ConvBackwardData,
            [dx: input, w: weight, dy: output],
            &mut out,
            &weight,
            &gradient
        )?;
        Ok((storage(out, device), Shape::from(geometry.input.to_vec())))
    }
}

/// Of the input and the output's gradient: the weight's gradient.
struct WeightGradient(Geometry);

impl CustomOp2 for WeightGradient {
    on_cuda_alone!(CustomOp2, "convolution_weight_gradient");

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (device, geometry) = (device_of(x), &self.0);
        expect(x_layout, geometry.input)?;
        expect(gradient_layout, geometry.output())?;
        let mut out = uninitialised(device, volume(geometry.weight))?;
        let (x, gradient) = (view(x, x_layout)?, view(gradient, gradient_layout)?);
        run!(
            device,
            geometry,
            weight,
            WEIGHT,
            ConvBackwardFilter,
            [x: input, dw: weight, dy: output],
            &x,
            &mut out,
            &gradient
        )?;
        Ok((storage(out, device), Shape::from(geometry.weight.to_vec())))
    }
}
