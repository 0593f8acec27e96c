//! Convolutions by layer shape, direction, precision, algorithm and kernel path.

use anyhow::Result;
use collapse_kernels::{
    Act, Conv, ConvWeights, ConvolutionAlgorithm, KernelPath, NetworkElement, Precision, Shape,
    bf16, conv_backward_data, conv_backward_weights, conv_forward, kernel_path, with_convolution,
    with_kernel_path,
};

use crate::case::{Case, Work};
use crate::inputs::noise_f32;
use crate::yardstick::Yardstick;

const BATCH: usize = 8;

#[derive(Clone, Copy)]
struct Layer {
    side: usize,
    c_in: usize,
    c_out: usize,
    kernel: usize,
    stride: usize,
    /// Whether Winograd's algorithm applies.
    winograd: bool,
    short: bool,
}

/// The first layer, one of each stage of a ResNet18, one between stages and one of a bottleneck.
const LAYERS: [Layer; 7] = [
    layer(32, 3, 64, 3, 1, false),
    layer(32, 64, 64, 3, 1, true),
    layer(32, 64, 128, 3, 2, false),
    layer(16, 128, 128, 3, 1, true),
    layer(8, 256, 256, 3, 1, false),
    layer(4, 512, 512, 3, 1, false),
    layer(32, 64, 256, 1, 1, false),
];

/// The layer for the kernel paths other than the one in force.
const SMALL: Layer = layer(8, 64, 64, 3, 1, true);

const fn layer(
    side: usize,
    c_in: usize,
    c_out: usize,
    kernel: usize,
    stride: usize,
    short: bool,
) -> Layer {
    Layer {
        side,
        c_in,
        c_out,
        kernel,
        stride,
        winograd: kernel == 3 && c_in >= 16,
        short,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Forward,
    ToInput,
    ToWeights,
}

impl Direction {
    const ALL: [Self; 3] = [Self::Forward, Self::ToInput, Self::ToWeights];

    fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::ToInput => "to-input",
            Self::ToWeights => "to-weights",
        }
    }
}

#[derive(Clone, Copy)]
struct Spec {
    layer: Layer,
    direction: Direction,
    precision: Precision,
    algorithm: ConvolutionAlgorithm,
    path: KernelPath,
}

pub(crate) fn cases() -> Result<Vec<Case>> {
    let chosen = kernel_path()?;
    let on = |path, layer: &Layer, directions: &[Direction]| -> Result<Vec<Case>> {
        let mut cases = Vec::new();
        for precision in [Precision::F32, Precision::Bf16] {
            for &algorithm in algorithms(layer) {
                for &direction in directions {
                    let spec = Spec {
                        layer: *layer,
                        direction,
                        precision,
                        algorithm,
                        path,
                    };
                    cases.push(spec.case()?);
                }
            }
        }
        Ok(cases)
    };
    let mut cases = Vec::new();
    for layer in &LAYERS {
        cases.extend(on(chosen, layer, &Direction::ALL)?);
    }
    for path in KernelPath::available() {
        if path != chosen {
            cases.extend(on(
                path,
                &SMALL,
                &[Direction::Forward, Direction::ToWeights],
            )?);
        }
    }
    Ok(cases)
}

fn algorithms(layer: &Layer) -> &'static [ConvolutionAlgorithm] {
    match layer.winograd {
        true => &[ConvolutionAlgorithm::Direct, ConvolutionAlgorithm::Winograd],
        false => &[ConvolutionAlgorithm::Direct],
    }
}

impl Spec {
    fn case(self) -> Result<Case> {
        let Layer {
            side,
            c_in,
            c_out,
            kernel,
            stride,
            short,
            ..
        } = self.layer;
        let conv = Conv::new(c_in, c_out, kernel, stride)?;
        let input = Shape {
            h: side,
            w: side,
            n: BATCH,
            c: c_in,
        };
        let (name, width) = match self.precision {
            Precision::F32 => ("f32", 4),
            Precision::Bf16 => ("bf16", 2),
        };
        let id = format!(
            "conv/{}/{name}/{}/{}/{kernel}x{kernel}s{stride}-{c_in}to{c_out}-at{side}/batch{BATCH}-seed1",
            self.direction.name(),
            self.path,
            self.algorithm.name(),
        );
        let flops = conv.flops(input);
        let bytes = width * (input.len() + conv.output_shape(input).len() + conv.weight_len());
        let yardstick = Yardstick::roofline(self.path, self.precision, flops, bytes);
        let case = Case::new(id, flops as usize, yardstick, move || {
            match self.precision {
                Precision::F32 => self.work::<f32>(conv, input),
                Precision::Bf16 => self.work::<bf16>(conv, input),
            }
        });
        Ok(case.in_short_form(short && self.direction != Direction::ToInput))
    }

    fn work<T: NetworkElement<Param = f32> + 'static>(
        self,
        conv: Conv,
        input: Shape,
    ) -> Result<Work> {
        let x = Act::<T>::from_hwnc(input, &noise_f32(1, input.len()))?;
        let output = conv.output_shape(input);
        let dy = Act::<T>::from_hwnc(output, &noise_f32(2, output.len()))?;
        let oihw = noise_f32(3, conv.weight_len());
        let weights = with_kernel_path(self.path, || {
            with_convolution(self.algorithm, || {
                ConvWeights::<T>::pack(conv, (input.h, input.w), &oihw, 0.1)
            })
        })??;
        let mut dw = vec![0.0; conv.weight_len()];
        let mut once = move || -> collapse_kernels::Result<()> {
            match self.direction {
                Direction::Forward => {
                    std::hint::black_box(conv_forward(&x, &weights, true)?);
                }
                Direction::ToInput => {
                    std::hint::black_box(conv_backward_data(&dy, &weights, input, None)?);
                }
                Direction::ToWeights => conv_backward_weights(&x, &dy, conv, 1.0, &mut dw)?,
            }
            Ok(())
        };
        Ok(Box::new(move || {
            with_kernel_path(self.path, || with_convolution(self.algorithm, &mut once))??;
            Ok(())
        }))
    }
}
