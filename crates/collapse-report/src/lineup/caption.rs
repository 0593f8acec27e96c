//! What stands under every table and figure: what it was made from.

use std::collections::BTreeSet;

use collapse_results::{Results, Role};

/// Scale, seeds, kernels, precision and version; says where runs were made by several.
pub(super) fn made_from(results: &Results) -> String {
    let provenance = &results.provenance;
    let mut text = format!("Scale {}, {}", results.scale, seeds(results));
    let spans = || results.runs.iter().flat_map(|run| &run.made_by);
    let kernels: BTreeSet<&str> = spans().map(|s| s.maker.kernel_path.as_str()).collect();
    let kernels = joined(kernels, &provenance.kernel_path);
    if !kernels.is_empty() {
        text.push_str(&format!(", kernels {kernels}"));
    }
    if !provenance.precision.is_empty() {
        text.push_str(&format!(" ({})", provenance.precision));
    }
    let versions: BTreeSet<&str> = spans().map(|s| s.maker.code_version.as_str()).collect();
    let mixed = versions.len() > 1;
    let versions = joined(versions, &provenance.code_version);
    if !versions.is_empty() {
        let word = if mixed { "mixed versions" } else { "version" };
        text.push_str(&format!(", {word} {versions}"));
    }
    text.push('.');
    if let Some(images) = results.groups.iter().find_map(|group| group.measure_images) {
        text.push_str(&format!(
            " Epochs on the way are measured on at most {images} images of each set, as many of each class; \
             whole evaluations on all."
        ));
    }
    text
}

/// What the runs recorded, or, in files from before they did, what the results say of all.
fn joined(found: BTreeSet<&str>, otherwise: &str) -> String {
    if found.is_empty() {
        return otherwise.to_owned();
    }
    found.into_iter().collect::<Vec<_>>().join(" and ")
}

fn seeds(results: &Results) -> String {
    let counts: BTreeSet<usize> = results
        .groups
        .iter()
        .map(|group| results.runs_of(&group.id).count())
        .filter(|count| *count > 0)
        .collect();
    match (counts.first(), counts.last()) {
        (Some(1), Some(1)) => "one seed a group".to_owned(),
        (Some(first), Some(last)) if first == last => format!("{first} seeds a group"),
        (Some(first), Some(last)) => format!("{first} to {last} seeds a group"),
        _ => "no finished run".to_owned(),
    }
}

/// Images of the test and OoD sets, and what part of a larger set they are.
pub(super) fn set_sizes(results: &Results) -> String {
    let sizes: Vec<String> = results
        .data
        .iter()
        .filter(|set| set.role != Role::Train)
        .map(|set| {
            // The description is `what; the part that was taken`.
            match set.description.split_once("; ") {
                Some((_, part)) => format!("{} {} ({part})", set.name, set.images),
                None => format!("{} {}", set.name, set.images),
            }
        })
        .collect();
    if sizes.is_empty() {
        return String::new();
    }
    let controls = results.data.iter().filter(|set| set.role == Role::Control);
    let controls: Vec<&str> = controls.map(|set| set.name.as_str()).collect();
    let generated = match controls.is_empty() {
        true => String::new(),
        false => format!(
            " Controls, generated and in no mean or claim: {}.",
            controls.join(", ")
        ),
    };
    format!("Test images: {}.{generated}", sizes.join(", "))
}
