//! Damaged files of weights: sealed ones are refused, PyTorch's neither panic nor take time or memory.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

mod common;

use std::path::Path;

use collapse_models::weights::{NamedTensors, export, read};
use collapse_models::{Error, Net, NetConfig, Parameters};
use collapse_testing::{Harness, Kind, PeakAlloc};
use common::{Pickle, archive, numbers};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fn reader(folder: &Path) -> impl Fn(&[u8]) -> Result<NamedTensors, Error> {
    let path = folder.join("damaged");
    move |bytes| {
        std::fs::write(&path, bytes).unwrap();
        read(&path)
    }
}

#[test]
fn converted_weights() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = NetConfig::new(Net::Vgg16, 2);
    (config.width, config.input_size, config.spectral_norm) = (1, 16, None);
    let path = folder.path().join("net.safetensors");
    export(&path, &Parameters::<f32>::initialise(&config, 1).unwrap()).unwrap();
    let original = std::fs::read(&path).unwrap();
    let tally =
        Harness::new("converted weights", Kind::Sealed).run(&original, reader(folder.path()));
    assert_eq!(tally.other, 0);
}

#[test]
fn pytorch_archives() {
    let folder = tempfile::tempdir().unwrap();
    let values = numbers(&[0.25; 40]);
    let pickle = Pickle::new()
        .vectors(&["conv.weight", "fc.bias"], 40)
        .finish();
    let original = archive(&pickle, &[&values, &values], b"little");
    Harness::new("PyTorch archive", Kind::Foreign).run(&original, reader(folder.path()));
}

#[test]
fn pytorch_pickles_of_before_1_6() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/legacy.pt");
    let original = std::fs::read(sample).unwrap();
    // Its floating-point numbers have no checksum, so that a mutation may read as NaN, which equals nothing.
    let read = reader(folder.path());
    let bits = |bytes: &[u8]| {
        read(bytes).map(|tensors| {
            let tensors = tensors.into_iter().map(|(name, (shape, values))| {
                let values: Vec<u64> = values.into_iter().map(f64::to_bits).collect();
                (name, shape, values)
            });
            tensors.collect::<Vec<_>>()
        })
    };
    Harness::new("PyTorch pickle", Kind::Foreign).run(&original, bits);
}
