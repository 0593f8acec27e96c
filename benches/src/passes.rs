//! The passes between convolutions, which memory limits: batch norm with its activation, its statistics, SGD.

use anyhow::Result;
use collapse_kernels::{
    Act, Activation, BatchNorm, Element, Precision, Residual, Sgd, Shape, bf16, bn_act_backward,
    bn_act_forward, channel_statistics, kernel_path, sgd_step,
};

use crate::case::{Case, Work};
use crate::inputs::noise_f32;
use crate::yardstick::Yardstick;

/// Small enough for the caches of one core: what other processes do to memory is no regression.
const SHAPE: Shape = Shape {
    h: 8,
    w: 8,
    n: 8,
    c: 64,
};
const PARAMETERS: usize = 50_000;

/// Operations of the yardstick for each element.
const OPERATIONS: usize = 16;

#[derive(Clone, Copy)]
enum Pass {
    Forward,
    ForwardResidual,
    Backward,
    Statistics,
}

impl Pass {
    const ALL: [Self; 4] = [
        Self::Forward,
        Self::ForwardResidual,
        Self::Backward,
        Self::Statistics,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::ForwardResidual => "with-residual",
            Self::Backward => "backward",
            Self::Statistics => "statistics",
        }
    }
}

pub(crate) fn cases() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for pass in Pass::ALL {
        cases.push(case::<f32>(pass, "f32")?);
        cases.push(case::<bf16>(pass, "bf16")?);
    }
    cases.push(sgd());
    Ok(cases)
}

fn case<T: Element<Param = f32> + 'static>(pass: Pass, precision: &str) -> Result<Case> {
    let Shape { h, n, c, .. } = SHAPE;
    let id = format!(
        "batch-norm/{}/{precision}/{c}-at{h}/batch{n}-seed1",
        pass.name()
    );
    let operations = (OPERATIONS * SHAPE.len()) as f64;
    let bytes = SHAPE.len() * size_of::<T>();
    let yardstick = Yardstick::roofline(kernel_path()?, Precision::F32, operations, bytes);
    let case = Case::new(id, SHAPE.len(), yardstick, move || work::<T>(pass));
    Ok(case.in_short_form(true))
}

fn work<T: Element<Param = f32> + 'static>(pass: Pass) -> Result<Work> {
    let activations = |seed| Act::<T>::from_hwnc(SHAPE, &noise_f32(seed, SHAPE.len()));
    let (y, shortcut) = (activations(1)?, activations(2)?);
    let (mean, bias) = (noise_f32(3, SHAPE.c), noise_f32(4, SHAPE.c));
    let variance = vec![0.3; SHAPE.c];
    let act = Activation::LeakyRelu(0.01);
    let out = bn_act_forward(
        &y,
        &norm(&mean, &variance, &bias),
        act,
        Residual::Identity(&shortcut),
    )?;
    Ok(Box::new(move || {
        let bn = norm(&mean, &variance, &bias);
        match pass {
            Pass::Forward => drop(bn_act_forward(&y, &bn, act, Residual::None)?),
            Pass::ForwardResidual => {
                drop(bn_act_forward(&y, &bn, act, Residual::Identity(&shortcut))?);
            }
            // The gradient is consumed, so it is copied first.
            Pass::Backward => drop(bn_act_backward(
                shortcut.duplicate(),
                &out,
                &y,
                &bn,
                act,
                true,
            )?),
            Pass::Statistics => drop(channel_statistics(&y)?),
        }
        Ok(())
    }))
}

fn norm<'a>(mean: &'a [f32], variance: &'a [f32], bias: &'a [f32]) -> BatchNorm<'a, f32> {
    BatchNorm {
        mean,
        variance,
        eps: 1e-5,
        weight: mean,
        bias,
    }
}

fn sgd() -> Case {
    let id = format!("sgd/{PARAMETERS}-parameters/seed1");
    let yardstick = Yardstick::copy(3 * 4 * PARAMETERS);
    let case = Case::new(id, PARAMETERS, yardstick, || {
        let gradient = noise_f32(1, PARAMETERS);
        let (mut weights, mut momentum) = (noise_f32(2, PARAMETERS), vec![0.0; PARAMETERS]);
        let sgd = Sgd {
            learning_rate: 1e-6,
            momentum: 0.9,
            weight_decay: 5e-4,
            nesterov: false,
        };
        Ok(Box::new(move || {
            Ok(sgd_step(&mut weights, &mut momentum, &gradient, sgd)?)
        }))
    });
    case.in_short_form(true)
}
