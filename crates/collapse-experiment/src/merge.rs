//! Results of one experiment from several stores.

use collapse_results::{DataSet, Ensemble, Results, Role, Run};

use crate::error::Error;
use crate::gather::kernel_paths;

/// Takes into `results` the runs of `other` that it lacks: made with the same manifest from the same images in another store,
/// say on another machine. `origin` names `other` in errors.
///
/// A run that both hold stays as it stands in `results`. Ensembles are kept as each side has them, as long as they are
/// disjoint and of one size: members that lie in two stores make none.
///
/// # Errors
/// [`Error::OtherExperiment`], and `results` is as it was, when the manifests or the images differ.
pub fn merge(results: &mut Results, other: Results, origin: &str) -> Result<(), Error> {
    if let Some(difference) = difference(results, &other) {
        return Err(Error::OtherExperiment {
            origin: origin.to_owned(),
            difference,
        });
    }
    if results.data.is_empty() {
        results.data = other.data;
    }
    for run in other.runs {
        let known = |mine: &Run| (&mine.group, mine.seed) == (&run.group, run.seed);
        if !results.runs.iter().any(known) {
            results.runs.push(run);
        }
    }
    let place = |id: &str| results.groups.iter().position(|group| group.id == id);
    results
        .runs
        .sort_by_key(|run| (place(&run.group), run.seed));
    results.ensembles.extend(other.ensembles);
    results
        .ensembles
        .sort_by_key(|ensemble| (place(&ensemble.group), ensemble.seeds.clone()));
    keep_comparable(&mut results.ensembles);
    results.provenance.kernel_path = kernel_paths(&results.runs);
    Ok(())
}

/// What makes `other` another experiment, in words for the user.
fn difference(results: &Results, other: &Results) -> Option<String> {
    if results.scale != other.scale {
        return Some(format!(
            "its scale is {}, this one is {}",
            other.scale, results.scale
        ));
    }
    let (mine, theirs) = (&results.provenance, &other.provenance);
    if mine.manifest_sha256 != theirs.manifest_sha256 {
        return Some(format!(
            "its manifest has SHA-256 {}, this one {}; groups and seeds chosen on the command line count too",
            theirs.manifest_sha256, mine.manifest_sha256
        ));
    }
    if results.data.is_empty() || other.data.is_empty() {
        return None;
    }
    fn pixels(set: &DataSet) -> (&str, Role, &str) {
        (set.name.as_str(), set.role, &set.sha256)
    }
    let lacking =
        |sets: &[DataSet], set: &DataSet| !sets.iter().any(|known| pixels(known) == pixels(set));
    let odd = other.data.iter().find(|set| lacking(&results.data, set));
    let odd = odd.or_else(|| results.data.iter().find(|set| lacking(&other.data, set)));
    odd.map(|set| {
        format!(
            "the images of {} ({:?}) are not the same",
            set.name, set.role
        )
    })
}

/// Leaves, of every group, the ensembles of most members, and of those that share a seed the first.
fn keep_comparable(ensembles: &mut Vec<Ensemble>) {
    let sizes: Vec<(String, usize)> = ensembles
        .iter()
        .map(|ensemble| (ensemble.group.clone(), ensemble.seeds.len()))
        .collect();
    let largest = |group: &str| {
        sizes
            .iter()
            .filter(|(of, _)| of == group)
            .map(|(_, n)| *n)
            .max()
    };
    let mut taken: Vec<(String, u64)> = Vec::new();
    ensembles.retain(|ensemble| {
        let members = || {
            ensemble
                .seeds
                .iter()
                .map(|&seed| (ensemble.group.clone(), seed))
        };
        let keep = largest(&ensemble.group) == Some(ensemble.seeds.len())
            && !members().any(|member| taken.contains(&member));
        if keep {
            taken.extend(members());
        }
        keep
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ensemble(group: &str, seeds: &[u64]) -> Ensemble {
        Ensemble {
            group: group.to_owned(),
            epoch: 1,
            seeds: seeds.to_vec(),
            accuracy: 0.5,
            ood: Vec::new(),
        }
    }

    #[test]
    fn ensembles_of_a_group_stay_disjoint_and_of_one_size() {
        let mut found = vec![
            ensemble("a", &[1, 2, 3]),
            ensemble("b", &[1, 2]),
            ensemble("b", &[2, 3]),
            ensemble("a", &[4, 5]),
            ensemble("a", &[6, 7, 8]),
        ];
        keep_comparable(&mut found);
        let left: Vec<(&str, &[u64])> = found
            .iter()
            .map(|ensemble| (ensemble.group.as_str(), ensemble.seeds.as_slice()))
            .collect();
        let wanted: [(&str, &[u64]); 3] = [("a", &[1, 2, 3]), ("b", &[1, 2]), ("a", &[6, 7, 8])];
        assert_eq!(left, wanted);
    }
}
