//! Direct convolutions and Winograd's in turn, for the 3×3 layers of a ResNet18, in every direction.
//!
//! `cargo run -p collapse-kernels --example algorithms -- [rounds] [width] [batch] [side] [f32|bf16]`
//! Times are processor time over the number of threads: the wall time of a machine of one's own, up to uneven division.

use collapse_kernels::{
    Act, Conv, ConvWeights, ConvolutionAlgorithm, Error, Float, NetworkElement, Shape, bf16,
    conv_backward_data, conv_backward_weights, conv_forward, kernel_path, with_convolution,
};

const ALGORITHMS: [ConvolutionAlgorithm; 3] = [
    ConvolutionAlgorithm::Direct,
    ConvolutionAlgorithm::Winograd2,
    ConvolutionAlgorithm::Winograd4,
];
const DIRECTIONS: [&str; 4] = ["forward", "to input", "to weights", "pack"];

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: usize| -> usize {
        arguments
            .get(i)
            .and_then(|a| a.parse().ok())
            .unwrap_or(default)
    };
    let (rounds, width) = (number(0, 9), number(1, 64));
    let (batch, side) = (number(2, 128), number(3, 32));
    let precision = arguments.get(4).map_or("", String::as_str);
    if precision != "bf16" {
        layers::<f32>(rounds, width, batch, side)?;
    }
    if precision != "f32" {
        layers::<bf16>(rounds, width, batch, side)?;
    }
    Ok(())
}

/// Seconds of processor time, over the threads.
fn seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    #[allow(unsafe_code)]
    // SAFETY: a plain out parameter.
    unsafe {
        libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time)
    };
    (time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9) / rayon::current_num_threads() as f64
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn layers<T: NetworkElement>(
    rounds: usize,
    width: usize,
    batch: usize,
    side: usize,
) -> Result<(), Error> {
    println!(
        "{} on {}, batch {batch}: milliseconds, median of {rounds}; in brackets the speed over direct",
        T::NAME,
        kernel_path()?
    );
    for stage in 0..4 {
        let (c, h) = (width << stage, side.div_ceil(1 << stage));
        if stage > 0 {
            report::<T>(rounds, Conv::new(c / 2, c, 3, 2)?, 2 * h, batch)?;
        }
        report::<T>(rounds, Conv::new(c, c, 3, 1)?, h, batch)?;
    }
    Ok(())
}

fn report<T: NetworkElement>(
    rounds: usize,
    conv: Conv,
    h: usize,
    batch: usize,
) -> Result<(), Error> {
    let times = layer::<T>(rounds, conv, h, batch)?;
    for (direction, times) in DIRECTIONS.iter().zip(times) {
        let [direct, two, four] = times.map(|t| median(t) * 1e3);
        println!(
            "{:>14} {direction:<10} direct {direct:7.2}  F(2×2) {two:7.2} (×{:.2})  F(4×4) {four:7.2} (×{:.2})",
            format!("{}@{h}/{}", conv.in_channels(), conv.stride()),
            direct / two,
            direct / four
        );
    }
    Ok(())
}

/// Times by direction and algorithm.
fn layer<T: NetworkElement>(
    rounds: usize,
    conv: Conv,
    h: usize,
    batch: usize,
) -> Result<[[Vec<f64>; 3]; 4], Error> {
    let input = Shape {
        h,
        w: h,
        n: batch,
        c: conv.in_channels(),
    };
    let values = |len: usize| -> Vec<T::Param> {
        (0..len)
            .map(|i| T::Param::from_f64((i * 7919 % 1009) as f64 / 1009.0 - 0.5))
            .collect()
    };
    let oihw = values(conv.weight_len());
    let output = conv.output_shape(input);
    let x = Act::<T>::from_hwnc(input, &values(input.len()))?;
    let dy = Act::<T>::from_hwnc(output, &values(output.len()))?;
    let mut dw = vec![T::Param::ZERO; conv.weight_len()];
    let mut times: [[Vec<f64>; 3]; 4] = Default::default();
    for round in 0..=rounds {
        for (a, algorithm) in ALGORITHMS.into_iter().enumerate() {
            with_convolution(algorithm, || -> Result<(), Error> {
                let mut weights = ConvWeights::<T>::pack(conv, (h, h), &oihw, T::Param::ONE)?;
                let mut record = |direction: usize, start: f64| {
                    // The first round fills caches and the pool.
                    if round > 0 {
                        times[direction][a].push(seconds() - start);
                    }
                };
                let start = seconds();
                std::hint::black_box(conv_forward(&x, &weights, true)?);
                record(0, start);
                let start = seconds();
                std::hint::black_box(conv_backward_data(&dy, &weights, input, None)?);
                record(1, start);
                let start = seconds();
                conv_backward_weights(&x, &dy, conv, T::Param::ONE, &mut dw)?;
                record(2, start);
                let start = seconds();
                weights.repack(&oihw, T::Param::ONE)?;
                record(3, start);
                Ok(())
            })?;
        }
    }
    Ok(times)
}
