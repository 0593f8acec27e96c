//! Which files of a set belong to a part, by the names that the hub and most authors use.

use std::collections::BTreeSet;

use crate::Part;

/// A part as it is named on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Train,
    Validation,
    Test,
}

/// The part that a folder is named after.
fn of_folder(name: &str) -> Option<Named> {
    match name.to_ascii_lowercase().as_str() {
        "train" | "training" => Some(Named::Train),
        "validation" | "valid" | "val" => Some(Named::Validation),
        "test" | "testing" => Some(Named::Test),
        _ => None,
    }
}

/// The part that a shard is named after: `train-00000-of-00002.parquet`, `validation.parquet`, or any name in a folder
/// `test`.
fn of_shard(path: &str) -> Option<Named> {
    let mut steps = path.rsplit('/');
    let file = steps.next().unwrap_or(path);
    let stem = file.split(['-', '_', '.']).next().unwrap_or(file);
    of_folder(stem).or_else(|| steps.find_map(of_folder))
}

/// Of names that are in parts, which belong to `part`; `None` when they are not, or only in one.
fn chosen(parts: Vec<Option<Named>>, part: Part) -> Option<Vec<bool>> {
    let parts = parts.into_iter().collect::<Option<Vec<Named>>>()?;
    let there: BTreeSet<Named> = parts.iter().copied().collect();
    if there.len() < 2 {
        return None;
    }
    let wanted = match part {
        Part::Train => Named::Train,
        Part::Test if there.contains(&Named::Test) => Named::Test,
        Part::Test => Named::Validation,
    };
    Some(parts.into_iter().map(|found| found == wanted).collect())
}

/// Of images by their paths (`train/cat/1.png`), which belong to `part`; `None` for a set that is not in parts.
pub(super) fn of_folders(names: &[&str], part: Part) -> Option<Vec<bool>> {
    let first = names.first()?;
    // Folders that all share, such as an archive's root, say nothing.
    let depth = (0..first.split('/').count())
        .take_while(|&depth| {
            let step = first.split('/').nth(depth);
            names.iter().all(|name| name.split('/').nth(depth) == step)
        })
        .count();
    let parts = names
        .iter()
        .map(|name| of_folder(name.split('/').nth(depth)?))
        .collect();
    chosen(parts, part)
}

/// Of shards by their paths, which belong to `part`; `None` for a set that is not in parts.
pub(crate) fn of_shards(names: &[String], part: Part) -> Option<Vec<bool>> {
    chosen(names.iter().map(|name| of_shard(name)).collect(), part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_in_parts_gives_the_one_asked_for() {
        let names = ["s/test/a/1", "s/train/a/1", "s/validation/a/1"];
        let of = |names: &[&str], part| of_folders(names, part);
        assert_eq!(of(&names, Part::Train), Some(vec![false, true, false]));
        assert_eq!(of(&names, Part::Test), Some(vec![true, false, false]));
        assert_eq!(
            of(&["train/1", "val/1"], Part::Test),
            Some(vec![false, true])
        );
        // One part alone, or a class beside the parts, is no set in parts.
        assert_eq!(of(&["train/a/1", "train/b/1"], Part::Test), None);
        assert_eq!(of(&["cat/1", "train/1", "test/1"], Part::Test), None);
        assert_eq!(of(&["1", "2"], Part::Test), None);
    }

    #[test]
    fn shards_are_told_by_file_or_folder() {
        let of = |names: [&str; 2], part| of_shards(&names.map(String::from), part);
        let hub = [
            "data/test-00000-of-00001.parquet",
            "data/train-00000-of-00001.parquet",
        ];
        assert_eq!(of(hub, Part::Test), Some(vec![true, false]));
        let converted = [
            "plain_text/test/0000.parquet",
            "plain_text/train/0000.parquet",
        ];
        assert_eq!(of(converted, Part::Train), Some(vec![false, true]));
        assert_eq!(of(["a.parquet", "b.parquet"], Part::Test), None);
    }
}
