use collapse_random::Stream;

use super::*;

const PAIRS: usize = 11;
/// Seconds of work and yardstick when blessed.
const BLESSED: (f64, f64) = (4e-3, 3e-3);

fn floor() -> Floor {
    let ratio = BLESSED.1 / BLESSED.0;
    Floor {
        ratio,
        spread: 0.05,
        floor: 0.92 * ratio,
        yardstick_s: BLESSED.1,
    }
}

/// A machine on which work and yardstick take so many times as long, with relative noise of either.
struct Machine {
    stream: Stream,
    work: f64,
    yardstick: f64,
    noise: fn(&mut Stream) -> f64,
}

impl Machine {
    fn new(seed: u64, work: f64, noise: fn(&mut Stream) -> f64) -> Self {
        Self {
            stream: Stream::new(seed, "guard", 0),
            work,
            yardstick: 1.0,
            noise,
        }
    }

    fn measure(&mut self) -> Result<Measured> {
        let mut draw = |seconds: f64| -> Vec<f64> {
            (0..PAIRS)
                .map(|_| seconds * (1.0 + (self.noise)(&mut self.stream)))
                .collect()
        };
        Ok(Measured {
            id: "a/path".to_owned(),
            work_s: draw(BLESSED.0 * self.work),
            yardstick_s: draw(BLESSED.1 * self.yardstick),
        })
    }
}

fn judge(mut here: Machine, mut elsewhere: Machine) -> Settled {
    against_floor(&floor(), || here.measure(), || elsewhere.measure()).unwrap()
}

fn quiet(stream: &mut Stream) -> f64 {
    0.01 * stream.normal().abs()
}

fn busy(stream: &mut Stream) -> f64 {
    0.04 * stream.normal().abs()
}

/// Now and then many times as long: a Cauchy variable's absolute value.
fn heavy_tailed(stream: &mut Stream) -> f64 {
    (0.2 * stream.normal() / stream.normal()).abs()
}

#[test]
fn a_slow_down_of_a_quarter_is_told() {
    for (seed, noise) in [(1, quiet as fn(&mut Stream) -> f64), (2, busy), (3, quiet)] {
        let settled = judge(
            Machine::new(seed, 1.25, noise),
            Machine::new(seed + 10, 1.25, noise),
        );
        assert_eq!(settled.verdict, Verdict::Slower, "seed {seed}");
        assert!(settled.measurements > CONFIRMATIONS);
        let slower = floor().ratio / settled.measured.ratio() - 1.0;
        assert!((slower - 0.25).abs() < 0.04, "{slower}");
    }
}

#[test]
fn twenty_runs_of_a_hundred_paths_stay_quiet() {
    for run in 0..20 {
        let noise = if run % 4 == 0 { busy } else { quiet };
        for path in 0..100 {
            let seed = 1000 * run + path;
            let settled = judge(
                Machine::new(seed, 1.0, noise),
                Machine::new(seed + 500, 1.0, noise),
            );
            assert_eq!(settled.verdict, Verdict::Held, "run {run}, path {path}");
        }
    }
}

#[test]
fn heavy_tails_are_never_an_alarm() {
    for seed in 0..500 {
        let settled = judge(
            Machine::new(seed, 1.0, heavy_tailed),
            Machine::new(seed + 500, 1.0, heavy_tailed),
        );
        assert_ne!(settled.verdict, Verdict::Slower, "seed {seed}");
    }
}

#[test]
fn what_another_process_does_not_see_is_no_slow_down() {
    let settled = judge(Machine::new(1, 1.4, quiet), Machine::new(2, 1.0, quiet));
    assert_eq!(settled.verdict, Verdict::Held);
    assert_eq!(settled.measurements, 2);
}

#[test]
fn a_machine_that_holds_up_the_yardstick_is_not_blamed_on_the_code() {
    let held_up = |seed| Machine {
        yardstick: 1.5,
        ..Machine::new(seed, 2.0, quiet)
    };
    let settled = judge(held_up(1), held_up(2));
    assert_eq!(settled.verdict, Verdict::Inconclusive);
    assert!(
        settled
            .reason
            .is_some_and(|reason| reason.contains("yardstick"))
    );
}
