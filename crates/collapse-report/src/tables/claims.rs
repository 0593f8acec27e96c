//! The claims with the tests behind their verdicts.

use collapse_results::{Cell, Claim, Stratum};

use super::draft::{Draft, count, missing, number, text};
use crate::claims::verdict_label;
use crate::lineup::Lineup;

pub(super) fn tests(lineup: &Lineup<'_>, claims: &[Claim]) -> Draft {
    let mut draft = Draft::of_sets(
        lineup,
        "claims",
        "The claims and their tests",
        "Supported or contradicted: two-sided p of at most 0.05; leaning to either side: of at \
         most 0.20. Smallest p: what so many seeds can give at best. Holm: corrected for judging \
         all measured claims together. Effects are AUROC points (C1 to C3), decades of NC1 (C4) \
         and a rank correlation (C5). C2 asks for two things: effect and interval are those of \
         AUROC, p is that of AUROC and accuracy together (the larger of the two for the claim, \
         twice the smaller against it).",
    );
    draft.text_column("claim", "Claim");
    draft.text_column("network", "Network");
    draft.text_column("verdict", "Verdict");
    draft.number_column("effect", "Effect");
    draft.number_column("low", "95 % from");
    draft.number_column("high", "to");
    draft.number_column("n", "n");
    draft.number_column("p", "p");
    draft.number_column("smallest", "Smallest p");
    draft.number_column("holm", "p, Holm");
    for claim in claims {
        let Some(whole) = claim.whole() else {
            continue;
        };
        draft.row(
            format!("{}:all", claim.id),
            row(&claim.id, &whole, p(claim.p_holm, "one seed")),
        );
        for stratum in &claim.strata {
            draft.row(
                format!("{}:{}", claim.id, stratum.name),
                row(
                    &claim.id,
                    stratum,
                    missing("only whole claims are corrected"),
                ),
            );
        }
    }
    draft
}

fn row(id: &str, stratum: &Stratum, holm: Cell) -> Vec<Cell> {
    let bound = |pick: fn((f64, f64)) -> f64| {
        stratum.interval.map_or_else(
            || missing("no interval that holds"),
            |interval| number(pick(interval), 2),
        )
    };
    vec![
        text(id),
        text(stratum.name.clone()),
        text(verdict_label(stratum.verdict)),
        number(stratum.effect, 2),
        bound(|i| i.0),
        bound(|i| i.1),
        count(stratum.n),
        p(stratum.p_value, "one seed"),
        p(stratum.smallest_p, "no such bound for a t test"),
        holm,
    ]
}

fn p(value: Option<f64>, otherwise: &str) -> Cell {
    value.map_or_else(|| missing(otherwise), |value| number(value, 4))
}
