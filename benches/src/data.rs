//! From files to pixels, and from pixels to batches.

use anyhow::Result;
use collapse_data::readers::{Limits, idx};
use collapse_features::{FeatureSet, Precision, read};

use crate::case::{Case, Work};
use crate::inputs::{ClassFeatures, noise_images};
use crate::yardstick::Yardstick;

const IMAGES: usize = 4096;
const BATCH: usize = 128;
const PIXELS: usize = 32 * 32 * 3;
const IDX_IMAGES: usize = 2000;
const ROWS: usize = 2000;
const DIMENSIONS: usize = 128;

pub(crate) fn cases() -> Vec<Case> {
    let batch = |name, augment| {
        let yardstick = Yardstick::copy(4 * BATCH * PIXELS);
        Case::new(
            format!("batch/{name}/{BATCH}-of-{IMAGES}-at32/seed1"),
            BATCH,
            yardstick,
            move || fill(augment),
        )
        .in_short_form(true)
    };
    let embedded = 28 * 28 * (3200 + 800 + 400 + 800);
    let file_bytes = 4 * ROWS * DIMENSIONS;
    vec![
        batch("plain", false),
        batch("augmented", true),
        Case::new(
            "load/embedded-sample/5200-at28",
            5200,
            Yardstick::checksum(embedded),
            || {
                Ok(Box::new(|| {
                    std::hint::black_box(collapse_data::quick()?);
                    Ok(())
                }))
            },
        )
        .in_short_form(true),
        Case::new(
            format!("load/idx/{IDX_IMAGES}-at28"),
            IDX_IMAGES,
            Yardstick::copy(28 * 28 * IDX_IMAGES),
            parse_idx,
        ),
        Case::new(
            format!("load/feature-file/{ROWS}x{DIMENSIONS}-f32/seed1"),
            ROWS,
            Yardstick::checksum(file_bytes),
            read_features,
        )
        .in_short_form(true),
    ]
}

fn fill(augment: bool) -> Result<Work> {
    let train = noise_images(IMAGES)?.split(1).train;
    let positions: Vec<usize> = (0..BATCH).map(|i| i * 7919 % train.len()).collect();
    let mut out = Vec::new();
    Ok(Box::new(move || {
        Ok(train.fill_batch(&positions, 0, 1, augment, &mut out)?)
    }))
}

fn parse_idx() -> Result<Work> {
    let mut bytes = vec![0, 0, 8, 3];
    for size in [IDX_IMAGES as u32, 28, 28] {
        bytes.extend(size.to_be_bytes());
    }
    bytes.resize(bytes.len() + IDX_IMAGES * 28 * 28, 7);
    Ok(Box::new(move || {
        std::hint::black_box(idx::parse(&bytes, "memory", &Limits::default())?);
        Ok(())
    }))
}

fn read_features() -> Result<Work> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("features.safetensors");
    let classes = ClassFeatures {
        d: DIMENSIONS,
        n_classes: 10,
        separation: 3.0,
    };
    let (features, labels) = classes.draw(ROWS, "bench-train");
    FeatureSet::new(features)
        .with_labels(labels)
        .write(&path, Precision::F32)?;
    Ok(Box::new(move || {
        let _kept = &folder;
        std::hint::black_box(read(&path)?);
        Ok(())
    }))
}
