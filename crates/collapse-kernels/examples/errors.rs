//! Errors of the direct convolutions and of Winograd's against f64, for the layers of a ResNet18 with eight images.
//!
//! `cargo run -p collapse-kernels --example errors -- [width] [side]`
//! Uniform operands; root mean square error over root mean square, forward, to the input and to the weights. The reference is the direct
//! kernel in f64 on the same operands.

use collapse_kernels::{
    Act, Conv, ConvWeights, ConvolutionAlgorithm, Error, Float, NetworkElement, Shape, bf16,
    conv_backward_data, conv_backward_weights, conv_forward, with_convolution,
};

fn main() -> Result<(), Error> {
    let argument = |k: usize, default: usize| {
        std::env::args()
            .nth(k)
            .and_then(|a| a.parse().ok())
            .unwrap_or(default)
    };
    let (width, side) = (argument(1, 64), argument(2, 32));
    for stage in 0..4 {
        let (c, h) = (width << stage, side.div_ceil(1 << stage));
        if stage > 0 {
            report(Conv::new(c / 2, c, 3, 2)?, 2 * h)?;
        }
        report(Conv::new(c, c, 3, 1)?, h)?;
    }
    Ok(())
}

fn report(conv: Conv, h: usize) -> Result<(), Error> {
    let input = Shape {
        h,
        w: h,
        n: 8,
        c: conv.in_channels(),
    };
    let output = conv.output_shape(input);
    // Representable in every type.
    let values = |seed: u64, len: usize| -> Vec<f64> {
        let mut state = seed;
        (0..len)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let uniform = (state >> 40) as f64 / f64::from(1 << 23) - 1.0;
                f64::from(bf16::from_f64(uniform).to_f32())
            })
            .collect()
    };
    let operands = [
        values(1, input.len()),
        values(2, conv.weight_len()),
        values(3, output.len()),
    ];
    let exact = results::<f64>(conv, input, &operands, ConvolutionAlgorithm::Direct)?;
    println!(
        "{}→{} {h}×{h}/{}",
        conv.in_channels(),
        conv.out_channels(),
        conv.stride()
    );
    for algorithm in ConvolutionAlgorithm::ALL {
        if algorithm == ConvolutionAlgorithm::Winograd {
            continue;
        }
        let single = results::<f32>(conv, input, &operands, algorithm)?;
        let half = results::<bf16>(conv, input, &operands, algorithm)?;
        let errors = |found: [Vec<f64>; 3]| {
            found
                .iter()
                .zip(&exact)
                .map(|(f, e)| format!("{:.1e}", relative_error(f, e)))
                .collect::<Vec<_>>()
                .join(" ")
        };
        println!(
            "  {:<14} f32 {}   bf16 {}",
            algorithm.name(),
            errors(single),
            errors(half)
        );
    }
    Ok(())
}

/// Output and both gradients.
fn results<T: NetworkElement>(
    conv: Conv,
    input: Shape,
    [x, w, dy]: &[Vec<f64>; 3],
    algorithm: ConvolutionAlgorithm,
) -> Result<[Vec<f64>; 3], Error> {
    let narrow =
        |v: &[f64]| -> Vec<T::Param> { v.iter().map(|&v| T::Param::from_f64(v)).collect() };
    let wide = |v: &[T::Param]| -> Vec<f64> { v.iter().map(|v| v.to_f64()).collect() };
    with_convolution(algorithm, || {
        let x = Act::<T>::from_hwnc(input, &narrow(x))?;
        let dy = Act::<T>::from_hwnc(conv.output_shape(input), &narrow(dy))?;
        let weights = ConvWeights::<T>::pack(conv, (input.h, input.w), &narrow(w), T::Param::ONE)?;
        let mut dw = vec![T::Param::ZERO; conv.weight_len()];
        conv_backward_weights(&x, &dy, conv, T::Param::ONE, &mut dw)?;
        Ok([
            wide(&conv_forward(&x, &weights, false)?.0.to_hwnc()),
            wide(&conv_backward_data(&dy, &weights, input, None)?.to_hwnc()),
            wide(&dw),
        ])
    })
}

fn relative_error(found: &[f64], exact: &[f64]) -> f64 {
    let squares = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>();
    let error = squares(&mut found.iter().zip(exact).map(|(f, e)| f - e));
    (error / squares(&mut exact.iter().copied())).sqrt()
}
