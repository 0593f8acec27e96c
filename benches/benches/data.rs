//! Batches of CIFAR-like images: normalised, plain and augmented, in the layout of the kernels.

use collapse_benches::noise;
use collapse_data::{Constants, Error, ImageSet, ImageShape, InDistribution, Part};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const IMAGES: usize = 4096;
const BATCH: usize = 128;

fn image_set(name: &str, part: Part) -> Result<ImageSet, Error> {
    let shape = ImageShape {
        height: 32,
        width: 32,
        channels: 3,
    };
    let pixels = noise(1)
        .take(IMAGES * 32 * 32 * 3)
        .map(|value| (value * 127.0 + 128.0) as u8)
        .collect();
    let labels = (0..IMAGES).map(|i| i % 10).collect();
    let classes = (0..10).map(|class| class.to_string()).collect();
    ImageSet::new(name, part, shape, pixels, Some(labels), classes)
}

fn batches(c: &mut Criterion) -> Result<(), Error> {
    let id = InDistribution::new(
        image_set("train", Part::Train)?,
        image_set("test", Part::Test)?,
        Constants::Ddu,
    )?;
    let parts = id.split(1);
    let positions: Vec<usize> = (0..BATCH).map(|i| i * 7919 % parts.train.len()).collect();
    let mut out = Vec::new();

    // Once outside the clock, where an error stops the benchmark instead of being timed.
    parts.train.fill_batch(&positions, 0, 1, true, &mut out)?;

    let mut group = c.benchmark_group("batch_of_128");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("plain", |b| {
        b.iter(|| parts.train.fill_batch(&positions, 0, 1, false, &mut out))
    });
    group.bench_function("augmented", |b| {
        b.iter(|| parts.train.fill_batch(&positions, 0, 1, true, &mut out))
    });
    group.finish();
    Ok(())
}

fn data(c: &mut Criterion) {
    batches(c).unwrap_or_else(|error| panic!("{error}"));
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = data
}
criterion_main!(benches);
