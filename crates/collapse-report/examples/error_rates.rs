//! The error rates of every verdict, as the table of `docs/method.md`:
//!
//! ```sh
//! cargo run -p collapse-report --example error_rates -- 2000
//! ```
//!
//! The number is that of simulated experiments a line (2000 without one).

use collapse_report::COMPARABLE_MARGIN;
use collapse_report::simulation::{Truth, verdicts};

/// Verdicts in the order of the columns.
const COLUMNS: [&str; 5] = [
    "supported",
    "leaning towards it",
    "undecided",
    "leaning against it",
    "contradicted",
];

fn main() {
    let repeats = match std::env::args().nth(1).map(|text| text.parse()) {
        None => 2000,
        Some(Ok(repeats)) => repeats,
        Some(Err(error)) => {
            eprintln!("the number of experiments is not a number: {error}");
            std::process::exit(2);
        }
    };
    println!(
        "| Claim | Truth | Networks | Seeds | {} |",
        COLUMNS.join(" | ")
    );
    println!("| :--- | :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let none = Truth {
        networks: 1,
        seeds: 3,
        points: 0.0,
        decades: 0.0,
        correlation: 0.0,
        levels: 0.0,
    };
    // C2 asks for no more than a margin below, so its border lies at the margin.
    let border = Truth {
        points: -COMPARABLE_MARGIN,
        ..none
    };
    // Twice the deviation within groups, in AUROC as in NC1.
    let apart = Truth {
        levels: 2.0,
        ..none
    };
    let effect = Truth {
        points: 2.0,
        decades: 0.2,
        correlation: 0.5,
        ..none
    };
    for networks in [1, 2] {
        for seeds in [3, 5, 15] {
            let sized = |truth: Truth| Truth {
                networks,
                seeds,
                ..truth
            };
            lines(
                repeats,
                ("no effect", sized(none)),
                &["C1", "C2", "C3", "C4", "C5"],
            );
            lines(repeats, ("at the margin", sized(border)), &["C2"]);
            lines(repeats, ("groups differ", sized(apart)), &["C5"]);
            lines(
                repeats,
                ("effect", sized(effect)),
                &["C1", "C2", "C3", "C4", "C5"],
            );
        }
    }
}

fn lines(repeats: u64, (words, truth): (&str, Truth), claims: &[&str]) {
    let counts = verdicts(&truth, repeats);
    for claim in claims {
        let shares = COLUMNS.map(|verdict| {
            let found = counts.get(*claim).and_then(|found| found.get(verdict));
            let share = 100.0 * found.copied().unwrap_or(0) as f64 / repeats as f64;
            format!("{share:.1}")
        });
        println!(
            "| {claim} | {words} | {} | {} | {} |",
            truth.networks,
            truth.seeds,
            shares.join(" | ")
        );
    }
}
