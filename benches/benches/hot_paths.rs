//! The list of hot paths under criterion; `-- PART` of a name chooses among them.

use std::time::Duration;

use collapse_benches::Case;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn measure(c: &mut Criterion, case: &Case) {
    let mut group = c.benchmark_group(case.kind());
    group.throughput(Throughput::Elements(case.elements));
    let name = case.id.split_once('/').map_or("", |(_, rest)| rest);
    group.bench_function(name, |b| {
        let mut work = case
            .prepare()
            .unwrap_or_else(|error| panic!("{}: {error:#}", case.id));
        b.iter(|| work().unwrap_or_else(|error| panic!("{}: {error:#}", case.id)));
    });
    group.finish();
}

fn hot_paths(c: &mut Criterion) {
    let cases = collapse_benches::cases().unwrap_or_else(|error| panic!("{error:#}"));
    for case in &cases {
        measure(c, case);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = hot_paths
}
criterion_main!(benches);
