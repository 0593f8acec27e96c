//! Validation: every figure's range and shape, with an error that names field and value.

mod place;

use std::collections::BTreeSet;

use crate::evaluation::{Detection, Evaluation, Geometry, Histogram, OodResult};
use crate::run::{EpochRecord, Run};
use crate::table::{Cell, Claim, Table};
use crate::{Error, Results};
use place::{Place, ROUNDING};

/// Largest epoch, seed count and width that are believed.
const MOST_EPOCHS: usize = 1_000_000;

/// Largest number of samples that f64 counts exactly.
const MOST_SAMPLES: u64 = 1 << 53;

/// Most bins of a histogram.
const MOST_BINS: usize = 10_000;

/// Most decimals that a cell shows.
const MOST_DECIMALS: usize = 20;

/// Fails unless `epochs` rise strictly and stay believable.
fn rising(
    place: &Place<'_>,
    list: &'static str,
    epochs: impl Iterator<Item = usize>,
) -> Result<(), Error> {
    let mut earlier: Option<usize> = None;
    for (index, epoch) in epochs.enumerate() {
        let item = place.item(list, index);
        let field = item.field("epoch");
        field.count(epoch, MOST_EPOCHS)?;
        if let Some(earlier) = earlier.filter(|&earlier| epoch <= earlier) {
            return Err(field.fail(epoch, format!("an epoch after {earlier}, in order")));
        }
        earlier = Some(epoch);
    }
    Ok(())
}

impl Results {
    /// Checks every figure's range and shape.
    ///
    /// # Errors
    /// [`Error::Value`] for the first field that cannot be what it says, with its place, its
    /// value and what was expected.
    pub fn check(&self) -> Result<(), Error> {
        let root = Place::Root;
        root.field("scale").name(&self.scale)?;
        for (index, set) in self.data.iter().enumerate() {
            let place = root.item("data", index);
            place.field("name").name(set.name.as_str())?;
            place.field("description").words(&set.description)?;
        }
        let mut groups = BTreeSet::new();
        for (index, group) in self.groups.iter().enumerate() {
            let place = root.item("groups", index);
            place.field("id").name(&group.id)?;
            let new = groups.insert(group.id.as_str());
            place
                .field("id")
                .require(new, &group.id, "an identifier of its own")?;
            place.field("net").name(&group.net)?;
            place.field("epochs").count(group.epochs, MOST_EPOCHS)?;
            place.field("width").count(group.width, MOST_EPOCHS)?;
            if let Some(coefficient) = group.spectral_norm {
                place.field("spectral_norm").not_negative(coefficient)?;
            }
        }
        let mut runs = BTreeSet::new();
        for (index, run) in self.runs.iter().enumerate() {
            let place = root.item("runs", index);
            check_run(&place, run)?;
            let known = groups.contains(run.group.as_str());
            place
                .field("group")
                .require(known, &run.group, "one of the groups")?;
            let new = runs.insert((run.group.as_str(), run.seed));
            place
                .field("seed")
                .require(new, run.seed, "a seed met once in its group")?;
            let last = run.last_evaluation().map_or(0, |last| last.epoch);
            let planned = self.groups.iter().find(|group| group.id == run.group);
            if let Some(group) = planned.filter(|group| last > group.epochs) {
                let expected = format!("at most the {} epochs of the group", group.epochs);
                return Err(place.field("evaluations").fail(last, expected));
            }
        }
        check_ensembles(self)?;
        for (index, table) in self.tables.iter().enumerate() {
            check_table(&root.item("tables", index), table)?;
        }
        for (index, claim) in self.claims.iter().enumerate() {
            check_claim(&root.item("claims", index), claim)?;
        }
        for seconds in self.times.values() {
            root.field("times").not_negative(*seconds)?;
        }
        Ok(())
    }
}

impl Run {
    /// Checks every figure's range and shape.
    ///
    /// # Errors
    /// [`Error::Value`] for the first field that cannot be what it says.
    pub fn check(&self) -> Result<(), Error> {
        check_run(&Place::Root, self)
    }
}

fn check_run(place: &Place<'_>, run: &Run) -> Result<(), Error> {
    place.field("group").name(&run.group)?;
    rising(
        place,
        "evaluations",
        run.evaluations.iter().map(|e| e.epoch),
    )?;
    for (index, evaluation) in run.evaluations.iter().enumerate() {
        check_evaluation(&place.item("evaluations", index), evaluation)?;
    }
    rising(place, "history", run.history.iter().map(|e| e.epoch))?;
    for (index, record) in run.history.iter().enumerate() {
        check_record(&place.item("history", index), record)?;
    }
    let mut trained = 0;
    for (index, span) in run.made_by.iter().enumerate() {
        let place = place.item("made_by", index);
        let first = span.first_epoch;
        place.field("first_epoch").require(
            first == trained + 1,
            first,
            "the epoch after the last span",
        )?;
        let last = span.last_epoch;
        place.field("last_epoch").require(
            (first..=MOST_EPOCHS).contains(&last),
            last,
            "an epoch of at least the first",
        )?;
        trained = last;
        for (field, text) in [
            ("code_version", &span.maker.code_version),
            ("kernel_path", &span.maker.kernel_path),
            ("processor", &span.maker.processor),
        ] {
            place.field(field).words(text)?;
        }
    }
    let times = place.field("times");
    times
        .field("train_seconds")
        .not_negative(run.times.train_seconds)?;
    times
        .field("evaluate_seconds")
        .not_negative(run.times.evaluate_seconds)
}

fn check_evaluation(place: &Place<'_>, evaluation: &Evaluation) -> Result<(), Error> {
    place.field("accuracy").fraction(evaluation.accuracy)?;
    place.field("ece").fraction(evaluation.ece)?;
    if let Some(scaling) = evaluation.scaling.value() {
        place.field("ece_scaled").fraction(scaling.ece)?;
        let temperature = scaling.temperature;
        place.field("temperature").require(
            temperature.is_finite() && temperature > 0.0,
            temperature,
            "a finite number above 0",
        )?;
    }
    place.field("nll").not_negative(evaluation.nll)?;
    for (field, jitter) in [
        ("jitter_features", evaluation.jitter_features),
        ("jitter_logits", evaluation.jitter_logits),
    ] {
        if let Some(jitter) = jitter {
            place.field(field).within(jitter, 1.0)?;
        }
    }
    if let Some(geometry) = evaluation.geometry.value() {
        check_geometry(&place.field("geometry"), geometry)?;
    }
    if let Some(geometry) = &evaluation.geometry_counterpart {
        check_geometry(&place.field("geometry_counterpart"), geometry)?;
    }
    if let Some(found) = &evaluation.risk_coverage {
        let place = place.field("risk_coverage");
        place.field("score").name(found.score.as_str())?;
        place.field("aurc").fraction(found.aurc)?;
        place.field("augrc").within(found.augrc, 0.5 + ROUNDING)?;
    }
    check_ood(place, &evaluation.ood)?;
    for (index, histogram) in evaluation.histograms.iter().enumerate() {
        check_histogram(&place.item("histograms", index), histogram)?;
    }
    for (index, skipped) in evaluation.skipped.iter().enumerate() {
        let place = place.item("skipped", index);
        place.field("score").name(skipped.score.as_str())?;
    }
    Ok(())
}

fn check_ood(place: &Place<'_>, results: &[OodResult]) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for (index, result) in results.iter().enumerate() {
        let place = place.item("ood", index);
        place.field("set").name(result.set.as_str())?;
        place.field("score").name(result.score.as_str())?;
        let new = seen.insert((&result.score, &result.set));
        place
            .field("score")
            .require(new, &result.score, "a score met once for its set")?;
        check_detection(&place, &result.detection)?;
    }
    Ok(())
}

fn check_ensembles(results: &Results) -> Result<(), Error> {
    let mut members = BTreeSet::new();
    for (index, ensemble) in results.ensembles.iter().enumerate() {
        let place = Place::Root.item("ensembles", index);
        place.field("group").name(&ensemble.group)?;
        place.field("epoch").count(ensemble.epoch, MOST_EPOCHS)?;
        let n = ensemble.seeds.len();
        let seeds = place.field("seeds");
        seeds.require(n > 1, n, "at least two seeds")?;
        for seed in &ensemble.seeds {
            let group = ensemble.group.as_str();
            let known = results.runs_of(group).any(|run| run.seed == *seed);
            seeds.require(known, seed, "the seed of a run of its group")?;
            let new = members.insert((group, *seed));
            seeds.require(new, seed, "a seed of one ensemble alone")?;
        }
        place.field("accuracy").fraction(ensemble.accuracy)?;
        check_ood(&place, &ensemble.ood)?;
    }
    Ok(())
}

fn check_detection(place: &Place<'_>, detection: &Detection) -> Result<(), Error> {
    place.field("auroc").fraction(detection.auroc)?;
    place.field("aupr_in").fraction(detection.aupr_in)?;
    place.field("aupr_out").fraction(detection.aupr_out)?;
    place
        .field("fpr95_id_positive")
        .fraction(detection.fpr95_id_positive)?;
    place
        .field("fpr95_ood_positive")
        .fraction(detection.fpr95_ood_positive)?;
    place
        .field("detection_error")
        .fraction(detection.detection_error)
}

fn check_geometry(place: &Place<'_>, geometry: &Geometry) -> Result<(), Error> {
    place.field("nc1").ratio(geometry.nc1)?;
    place
        .field("nc1_over_classes")
        .ratio(geometry.nc1_over_classes)?;
    // Standard deviation over mean of n norms is at most the root of n.
    let most = 1e4;
    place
        .field("nc2_equinorm_means")
        .within(geometry.nc2_equinorm_means, most)?;
    place
        .field("nc2_equinorm_classifier")
        .within(geometry.nc2_equinorm_classifier, most)?;
    let most = 2.0 + ROUNDING;
    place
        .field("nc2_equiangular_means")
        .within(geometry.nc2_equiangular_means, most)?;
    place
        .field("nc2_equiangular_classifier")
        .within(geometry.nc2_equiangular_classifier, most)?;
    place.field("nc3").within(geometry.nc3, 4.0 + ROUNDING)?;
    place.field("nc4").fraction(geometry.nc4)
}

fn check_histogram(place: &Place<'_>, histogram: &Histogram) -> Result<(), Error> {
    place.field("score").name(histogram.score.as_str())?;
    place.field("set").name(histogram.set.as_str())?;
    place.field("low").finite(histogram.low)?;
    place.field("high").require(
        histogram.high.is_finite() && histogram.low < histogram.high,
        histogram.high,
        "a finite number above `low`",
    )?;
    if let Some(axis) = &histogram.axis {
        place.field("axis").field("centre").finite(axis.centre)?;
        place.field("axis").field("unit").require(
            axis.unit.is_finite() && axis.unit > 0.0,
            axis.unit,
            "a finite number above 0",
        )?;
    }
    let counts = place.field("counts");
    counts.require(
        !histogram.counts.is_empty() && histogram.counts.len() <= MOST_BINS,
        histogram.counts.len(),
        "1 to 10000 bins",
    )?;
    let sum = histogram
        .counts
        .iter()
        .try_fold(0u64, |sum, &count| sum.checked_add(count));
    counts.require(
        sum.is_some_and(|sum| sum <= MOST_SAMPLES),
        histogram.counts.iter().max(),
        "counts that add up to at most 2^53",
    )
}

fn check_record(place: &Place<'_>, record: &EpochRecord) -> Result<(), Error> {
    place
        .field("learning_rate")
        .not_negative(record.learning_rate)?;
    if let Some(loss) = record.train_loss {
        place.field("train_loss").finite(loss)?;
    }
    for (field, fraction) in [
        ("train_accuracy", record.train_accuracy),
        ("validation_accuracy", record.validation_accuracy),
    ] {
        if let Some(fraction) = fraction {
            place.field(field).fraction(fraction)?;
        }
    }
    for (field, geometry) in [
        ("geometry", &record.geometry),
        ("geometry_counterpart", &record.geometry_counterpart),
    ] {
        if let Some(geometry) = geometry {
            check_geometry(&place.field(field), geometry)?;
        }
    }
    for (set, auroc) in &record.auroc {
        place.field("auroc").name(set.as_str())?;
        place.field("auroc").fraction(*auroc)?;
    }
    Ok(())
}

fn check_table(place: &Place<'_>, table: &Table) -> Result<(), Error> {
    place.field("id").name(&table.id)?;
    if !table.row_keys.is_empty() {
        place.field("row_keys").require(
            table.row_keys.len() == table.rows.len(),
            table.row_keys.len(),
            "one key a row",
        )?;
    }
    for (index, row) in table.rows.iter().enumerate() {
        let place = place.item("rows", index);
        place.require(
            row.len() == table.columns.len(),
            row.len(),
            "one cell a column",
        )?;
        for cell in row {
            check_cell(&place, cell)?;
        }
    }
    Ok(())
}

fn check_cell(place: &Place<'_>, cell: &Cell) -> Result<(), Error> {
    match cell {
        Cell::Text { .. } | Cell::Missing { .. } => Ok(()),
        Cell::Number { value, decimals } => {
            place.field("value").finite(*value)?;
            place.field("decimals").count(*decimals, MOST_DECIMALS)
        }
        Cell::Spread {
            mean,
            std,
            min,
            max,
            decimals,
            ..
        } => {
            for (field, value) in [
                ("mean", *mean),
                ("std", std.unwrap_or(0.0)),
                ("min", *min),
                ("max", *max),
            ] {
                place.field(field).finite(value)?;
            }
            place.field("decimals").count(*decimals, MOST_DECIMALS)
        }
    }
}

fn check_claim(place: &Place<'_>, claim: &Claim) -> Result<(), Error> {
    place.field("id").name(&claim.id)?;
    if let Some(effect) = claim.effect {
        place.field("effect").finite(effect)?;
    }
    check_interval(place, claim.interval)?;
    for (field, p) in [
        ("p_value", claim.p_value),
        ("p_holm", claim.p_holm),
        ("smallest_p", claim.smallest_p),
    ] {
        if let Some(p) = p {
            place.field(field).fraction(p)?;
        }
    }
    for (index, stratum) in claim.strata.iter().enumerate() {
        let place = place.item("strata", index);
        place.field("name").name(&stratum.name)?;
        place.field("effect").finite(stratum.effect)?;
        check_interval(&place, stratum.interval)?;
        if let Some(p) = stratum.p_value {
            place.field("p_value").fraction(p)?;
        }
    }
    Ok(())
}

fn check_interval(place: &Place<'_>, interval: Option<(f64, f64)>) -> Result<(), Error> {
    let Some((low, high)) = interval else {
        return Ok(());
    };
    let holds = low.is_finite() && high.is_finite() && low <= high;
    place
        .field("interval")
        .require(holds, (low, high), "two finite numbers in order")
}
