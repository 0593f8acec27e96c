//! The architectures, layer by layer. Sources: DDU, `net/resnet.py`, `net/wide_resnet.py`, `net/vgg.py`.

use super::Plan;
use super::builder::{Builder, ConvShape, Map};
use super::layers::{Block, Shortcut, Unit};
use crate::{Net, NetConfig, Result};

pub(super) fn lay_out(config: &NetConfig) -> Result<Plan> {
    let plan = Builder::new(config);
    match config.net {
        Net::Resnet18 => resnet(plan, &[2, 2, 2, 2], Body::Basic),
        Net::Resnet34 => resnet(plan, &[3, 4, 6, 3], Body::Basic),
        Net::Resnet50 => resnet(plan, &[3, 4, 6, 3], Body::Bottleneck),
        Net::Resnet101 => resnet(plan, &[3, 4, 23, 3], Body::Bottleneck),
        Net::WideResnet28 => wide_resnet(plan, 4),
        Net::Vgg16 => vgg(plan, &[2, 2, 3, 3, 3]),
    }
}

/// The convolutions of a residual block.
#[derive(Clone, Copy)]
enum Body {
    /// 3×3, 3×3.
    Basic,
    /// 1×1, 3×3, 1×1 of four times the channels.
    Bottleneck,
}

impl Body {
    fn shapes(self, planes: usize, stride: usize) -> Vec<ConvShape> {
        match self {
            Self::Basic => vec![
                ConvShape::three_by_three(planes, stride),
                ConvShape::three_by_three(planes, 1),
            ],
            Self::Bottleneck => vec![
                ConvShape::one_by_one(planes, 1),
                ConvShape::three_by_three(planes, stride),
                ConvShape::one_by_one(4 * planes, 1),
            ],
        }
    }

    fn channels(self, planes: usize) -> usize {
        match self {
            Self::Basic => planes,
            Self::Bottleneck => 4 * planes,
        }
    }
}

/// Only the first block of a later stage halves the map.
fn stride(stage: usize, index: usize) -> usize {
    if stage > 0 && index == 0 { 2 } else { 1 }
}

fn resnet(mut plan: Builder, depths: &[usize], body: Body) -> Result<Plan> {
    let width = plan.config().width;
    // The reference declares the stem's batch norm before its convolution.
    let norm = plan.norm("bn1", width);
    let images = plan.images();
    let (conv, mut map) = plan.conv("conv1", images, ConvShape::three_by_three(width, 1))?;
    plan.block(Block::PostActivation {
        units: vec![Unit { conv, norm }],
        shortcut: Shortcut::None,
        max_pool: false,
    });
    for (stage, &depth) in depths.iter().enumerate() {
        for index in 0..depth {
            let prefix = format!("layer{}.{index}", stage + 1);
            let stride = stride(stage, index);
            map = residual_block(&mut plan, &prefix, map, (body, width << stage, stride))?;
        }
    }
    Ok(plan.head("fc", map))
}

fn residual_block(
    plan: &mut Builder,
    prefix: &str,
    input: Map,
    (body, planes, stride): (Body, usize, usize),
) -> Result<Map> {
    let mut units = Vec::new();
    let mut map = input;
    for (i, shape) in body.shapes(planes, stride).into_iter().enumerate() {
        let names = (
            format!("{prefix}.conv{}", i + 1),
            format!("{prefix}.bn{}", i + 1),
        );
        let (unit, output) = plan.unit((&names.0, &names.1), map, shape)?;
        units.push(unit);
        map = output;
    }
    let around = ConvShape::one_by_one(body.channels(planes), stride);
    let shortcut = if around.keeps(input) {
        Shortcut::Identity
    } else if plan.config().modified {
        Shortcut::PoolPad { stride }
    } else {
        let names = (
            format!("{prefix}.shortcut.0"),
            format!("{prefix}.shortcut.1"),
        );
        Shortcut::Projection(plan.unit((&names.0, &names.1), input, around)?.0)
    };
    plan.block(Block::PostActivation {
        units,
        shortcut,
        max_pool: false,
    });
    Ok(map)
}

/// Three stages of `depth` pre-activation blocks, 6 · depth + 4 layers.
fn wide_resnet(mut plan: Builder, depth: usize) -> Result<Plan> {
    let width = plan.config().width;
    let images = plan.images();
    let (stem, mut map) =
        plan.conv("conv1", images, ConvShape::three_by_three(width.min(16), 1))?;
    plan.block(Block::Convolution(stem));
    for stage in 0..3 {
        for index in 0..depth {
            let prefix = format!("layer{}.{index}", stage + 1);
            map = wide_block(
                &mut plan,
                &prefix,
                map,
                (width << stage, stride(stage, index)),
            )?;
        }
    }
    let norm = plan.norm("bn1", map.channels);
    plan.block(Block::Activation(norm));
    Ok(plan.head("linear", map))
}

fn wide_block(
    plan: &mut Builder,
    prefix: &str,
    input: Map,
    (channels, stride): (usize, usize),
) -> Result<Map> {
    let mut unit = |index: usize, map: Map, stride| -> Result<(Unit, Map)> {
        let norm = plan.norm(&format!("{prefix}.bn{index}"), map.channels);
        let shape = ConvShape::three_by_three(channels, stride);
        let (conv, output) = plan.conv(&format!("{prefix}.conv{index}"), map, shape)?;
        Ok((Unit { conv, norm }, output))
    };
    let (first, inner) = unit(1, input, stride)?;
    let (second, output) = unit(2, inner, 1)?;
    let around = ConvShape::one_by_one(channels, stride);
    let shortcut = if around.keeps(input) {
        Shortcut::Identity
    } else if plan.config().modified {
        Shortcut::PoolPad { stride }
    } else {
        Shortcut::Convolution(plan.conv(&format!("{prefix}.shortcut"), input, around)?.0)
    };
    plan.block(Block::PreActivation {
        units: [first, second],
        shortcut,
    });
    Ok(output)
}

fn vgg(mut plan: Builder, depths: &[usize]) -> Result<Plan> {
    let mut map = plan.images();
    let mut module = 0;
    for (stage, &depth) in depths.iter().enumerate() {
        // Images below 32 pixels keep their size through the first stage, as in the
        // reference's MNIST variant.
        let max_pool = stage > 0 || plan.config().input_size >= 32;
        let shape = ConvShape::three_by_three(plan.config().width << stage.min(3), 1);
        for index in 0..depth {
            let names = (
                format!("features.{module}"),
                format!("features.{}", module + 1),
            );
            let (unit, output) = plan.unit((&names.0, &names.1), map, shape)?;
            module += 3;
            map = output;
            plan.block(Block::PostActivation {
                units: vec![unit],
                shortcut: Shortcut::None,
                max_pool: max_pool && index + 1 == depth,
            });
        }
        if max_pool {
            module += 1;
            map.side /= 2;
        }
    }
    Ok(plan.head("classifier", map))
}
