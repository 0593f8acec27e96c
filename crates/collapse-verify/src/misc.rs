//! The generator of the inputs.

use crate::error::Result;
use crate::folder::File;
use crate::generator::{Fill, Generator, fill, labels};
use crate::report::Report;

pub(crate) fn check(file: &File, report: &mut Report) -> Result<()> {
    for entry in file.cases("generator") {
        // Seeds are whole numbers up to 2⁶⁴ − 1, written as text.
        let seed = entry.get("seed").and_then(|seed| match seed.as_str() {
            Some(text) => text.parse().ok(),
            None => seed.as_u64(),
        });
        let seed: u64 = seed.ok_or_else(|| file.missing("seed", "generator"))?;
        let case = format!("seed {seed}");
        let at = (file.name, case.as_str());
        let raw = file.numbers(entry, &["raw24"])?;
        let mut generator = Generator::new(seed);
        let found: Vec<f64> = raw.iter().map(|_| f64::from(generator.next_24())).collect();
        report.compare(at, "24 bits", &found, &raw, 0.0);
        let values = file.numbers(entry, &["value_scale1"])?;
        let plain = Fill {
            scale: 1.0,
            offset: 0.0,
            absolute: false,
        };
        report.compare(at, "values", &fill(seed, values.len(), plain), &values, 0.0);
        let classes = file.numbers(entry, &["labels10"])?;
        let found: Vec<f64> = labels(seed, classes.len(), 10)
            .into_iter()
            .map(|label| label as f64)
            .collect();
        report.compare(at, "labels", &found, &classes, 0.0);
        let mut generator = Generator::new(seed);
        (0..100_000).for_each(|_| {
            generator.next_24();
        });
        let last = file.number(entry, &["raw24_index_100000"])?;
        report.compare(
            at,
            "bits at index 100,000",
            &[f64::from(generator.next_24())],
            &[last],
            0.0,
        );
    }
    Ok(())
}
