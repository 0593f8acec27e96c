//! A network trained on image views with crops and flips, from Rust alone: the embedded images here, and any folder of
//! images with `Benchmark::open` in their place.
//!
//! `cargo run -p collapse-train --example image_views`

use std::error::Error;
use std::ops::ControlFlow;

use collapse_data::Benchmark;
use collapse_models::{Net, NetConfig};
use collapse_train::{
    EpochRecord, FittedImages, HeldOutImages, Observer, TrainConfig, Trainer, accuracy, extract,
};

const SEED: u64 = 1;

struct Print;

impl Observer for Print {
    fn epoch(&mut self, record: &EpochRecord) {
        println!(
            "epoch {}: loss {:.3}, training accuracy {:.1} %",
            record.epoch,
            record.loss,
            100.0 * record.accuracy
        );
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let benchmark = Benchmark::embedded()?;
    let images = benchmark.id();
    // A tenth is held out; only the other part can be augmented, with padding 4 and flips unless another way is given.
    let parts = images.split(SEED);

    let mut net = NetConfig::new(Net::Resnet18, images.train_set().n_classes());
    (net.width, net.in_channels, net.input_size) = (8, 1, 28);
    let config = TrainConfig {
        seed: SEED,
        epochs: 3,
        batch_size: 32,
        ..TrainConfig::default()
    };
    let folder = tempfile::tempdir()?;
    let mut trained =
        Trainer::new(net, config, folder.path())?.run(&FittedImages(&parts.train), &mut Print)?;

    let test = images.test();
    let go_on = &mut |_| ControlFlow::Continue(());
    let features = extract(
        trained.model.as_mut(),
        &HeldOutImages(&test),
        256,
        &[],
        go_on,
    )?;
    let right = accuracy(&features).ok_or("the test images have no labels")?;
    println!("test accuracy {:.1} %", 100.0 * right);
    Ok(())
}
