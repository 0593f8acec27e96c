//! Ensembles of the runs of a group, from the logits that the runs stored.

use collapse_evaluate::{EnsembleSet, evaluate_ensemble};
use collapse_features::FeatureSet;
use collapse_results::{Ensemble, Group, Results, Role, SetId};

use crate::error::Error;
use crate::store::RunStore;

/// Members of an ensemble. Source: DDU's 5-ensembles.
const MEMBERS: usize = 5;

/// Disjoint ensembles of every group but ablations, with what could not be read, in words for the user.
pub(crate) fn ensembles(results: &Results, store: &RunStore) -> (Vec<Ensemble>, Vec<String>) {
    let (mut found, mut left_out) = (Vec::new(), Vec::new());
    let sets: Vec<SetId> = results
        .data
        .iter()
        .filter(|set| matches!(set.role, Role::Ood | Role::Control))
        .map(|set| set.name.clone())
        .collect();
    for group in results.groups.iter().filter(|group| !group.ablation) {
        let seeds: Vec<u64> = results.runs_of(&group.id).map(|run| run.seed).collect();
        for seeds in disjoint(&seeds) {
            match ensemble(group, seeds, &sets, store) {
                Ok(ensemble) => found.push(ensemble),
                Err(error) => left_out.push(format!(
                    "the ensemble of {} over seeds {seeds:?} is left out: {error}",
                    group.id
                )),
            }
        }
    }
    (found, left_out)
}

/// The seeds in order, five by five; two to four make one ensemble, and those that are left over none.
fn disjoint(seeds: &[u64]) -> impl Iterator<Item = &[u64]> {
    let members = seeds.len().clamp(2, MEMBERS);
    seeds.chunks_exact(members)
}

fn ensemble(
    group: &Group,
    seeds: &[u64],
    sets: &[SetId],
    store: &RunStore,
) -> Result<Ensemble, Error> {
    let read = |name: SetId, file: &str| -> Result<EnsembleSet, Error> {
        let members = seeds.iter().map(|&seed| {
            let folder = store.folder(&group.id, seed).join("features");
            let set = collapse_features::read(folder.join(format!("{file}.safetensors")))?;
            // The features are by far the larger part, and not looked at.
            Ok(FeatureSet {
                features: Default::default(),
                ..set
            })
        });
        Ok(EnsembleSet {
            name,
            members: members.collect::<Result<_, Error>>()?,
        })
    };
    let test = read(SetId::TEST, "test")?;
    let ood: Vec<EnsembleSet> = sets
        .iter()
        .map(|set| read(set.clone(), &format!("ood-{set}")))
        .collect::<Result<_, Error>>()?;
    let figures = evaluate_ensemble(&test, &ood)?;
    Ok(Ensemble {
        group: group.id.clone(),
        epoch: group.epochs,
        seeds: seeds.to_vec(),
        accuracy: figures.accuracy,
        ood: figures.ood,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_seed_is_in_two_ensembles_and_all_are_of_one_size() {
        for (n, number, size) in [
            (0, 0, 0),
            (1, 0, 0),
            (2, 1, 2),
            (4, 1, 4),
            (5, 1, 5),
            (9, 1, 5),
            (15, 3, 5),
        ] {
            let seeds: Vec<u64> = (1..=n).collect();
            let found: Vec<&[u64]> = disjoint(&seeds).collect();
            assert_eq!(found.len(), number, "{n} seeds");
            assert!(
                found.iter().all(|members| members.len() == size),
                "{n} seeds"
            );
            assert_eq!(found.concat(), seeds[..number * size], "{n} seeds");
        }
    }
}
