//! Sets, detectors and options that do not belong together.

use collapse_features::FeatureSet;
use tempfile::TempDir;

use super::{Folder, head, labels, rows, score};

/// A training and a test set with the head, and an OoD set.
fn sets(folder: &Folder) -> [String; 3] {
    let (weight, bias) = head();
    let set = |n, seed| {
        FeatureSet::new(rows(n, seed, 0.0))
            .with_labels(labels(n))
            .with_head(weight.clone(), bias.clone())
    };
    let train = folder.write("train.safetensors", set(60, 1));
    let test = folder.write("test.safetensors", set(30, 2));
    let far = folder.write("far.safetensors", FeatureSet::new(rows(30, 3, 9.0)));
    [train, test, format!("far={far}")]
}

#[test]
fn heads_of_two_networks_are_told() {
    let folder = Folder(TempDir::new().unwrap());
    let [train, _, ood] = sets(&folder);
    let (weight, bias) = head();
    let set = FeatureSet::new(rows(30, 2, 0.0)).with_head(-weight, bias);
    let test = folder.write("negated.safetensors", set);
    let (output, _, error) = score(&["--train", &train, "--test", &test, "--ood", &ood]);
    assert!(!output.status.success(), "{error}");
    for part in ["train.safetensors", "negated.safetensors", "heads differ"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn logits_of_another_head_are_noted() {
    let folder = Folder(TempDir::new().unwrap());
    let [train, test, ood] = sets(&folder);
    let base = ["--train", &train, "--ood", &ood];
    let (output, _, notes) = score(&[&base[..], &["--test", &test]].concat());
    assert!(
        output.status.success() && !notes.contains("its logits"),
        "{notes}"
    );
    let (weight, bias) = head();
    let features = rows(30, 2, 0.0);
    let logits = -features.dot(&weight.t());
    let set = FeatureSet::new(features).with_logits(logits);
    let test = folder.write("other.safetensors", set.with_head(weight, bias));
    let (output, _, notes) = score(&[&base[..], &["--test", &test]].concat());
    assert!(
        output.status.success()
            && notes.contains("other.safetensors: its logits are not those of its head"),
        "{notes}"
    );
}

#[test]
fn labels_of_other_sets_are_not_read() {
    let folder = Folder(TempDir::new().unwrap());
    let [train, test, _] = sets(&folder);
    let path = folder.path("far.csv");
    std::fs::write(
        &path,
        "feature_0,feature_1,feature_2,feature_3,feature_4,label\n9,9,9,9,9,cat\n8,9,9,9,9,\n",
    )
    .unwrap();
    let ood = format!("far={path}");
    let base = ["--train", &train, "--test", &test, "--ood", &ood];
    for named in [&[][..], &["--detector", "energy"]] {
        let (output, table, error) = score(&[&base[..], named].concat());
        assert!(output.status.success() && table.contains("far"), "{error}");
    }
}

#[test]
fn an_ensemble_needs_a_file_name_for_each_set() {
    let folder = Folder(TempDir::new().unwrap());
    let [train, test, _] = sets(&folder);
    std::fs::create_dir(folder.path("ood")).unwrap();
    let same = folder.write("ood/test.safetensors", FeatureSet::new(rows(30, 3, 9.0)));
    let (ood, member) = (format!("far={same}"), folder.path("."));
    let (output, _, error) = score(&[
        "--train",
        &train,
        "--test",
        &test,
        "--ood",
        &ood,
        "--ensemble",
        &member,
    ]);
    assert!(
        !output.status.success() && error.contains("one file name"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_written_is_told_before_anything_is_computed() {
    let folder = Folder(TempDir::new().unwrap());
    let [train, test, ood] = sets(&folder);
    let before = std::fs::read(&train).unwrap();
    let base = ["--train", &train, "--test", &test, "--ood", &ood];
    let (output, _, error) = score(&[&base[..], &["--save", &train]].concat());
    assert!(
        !output.status.success() && error.contains("would replace the features"),
        "{error}"
    );
    assert_eq!(std::fs::read(&train).unwrap(), before);
    // Also a part of a folder, and a member of an ensemble.
    std::fs::create_dir(folder.path("ensemble")).unwrap();
    let member = folder.path("ensemble/test.safetensors");
    std::fs::copy(&test, &member).unwrap();
    let ensemble = ["--ensemble", &folder.path("ensemble"), "--save", &member];
    let (output, _, error) = score(&[&base[..], &ensemble].concat());
    assert!(
        !output.status.success() && error.contains("would replace the features"),
        "{error}"
    );
    let inside = format!("{train}/out");
    for option in ["--out", "--save"] {
        let (output, table, error) = score(&[&base[..], &[option, &inside]].concat());
        assert!(!output.status.success() && table.is_empty(), "{table}");
        assert!(error.contains("train.safetensors"), "{error}");
    }
    let (output, _, error) = score(&[&base[..], &["--save", &folder.path(".")]].concat());
    assert!(
        !output.status.success() && error.contains("it is a folder"),
        "{error}"
    );
}

#[test]
fn options_of_decisions_need_an_input() {
    let folder = Folder(TempDir::new().unwrap());
    let [train, test, ood] = sets(&folder);
    let base = ["--train", &train, "--test", &test, "--ood", &ood];
    for option in [&["--accept", "0.9"][..], &["--per-class"], &["--json"]] {
        let (output, table, error) = score(&[&base[..], option].concat());
        assert!(!output.status.success() && table.is_empty(), "{table}");
        assert!(error.contains("--input"), "{error}");
    }
}

#[test]
fn a_jitter_of_ones_own_is_not_called_needed() {
    let folder = Folder(TempDir::new().unwrap());
    let [train, test, ood] = sets(&folder);
    let base = ["--train", &train, "--test", &test, "--ood", &ood];
    let (output, _, notes) = score(&[&base[..], &["--jitter", "1e-6"]].concat());
    assert!(
        output.status.success() && !notes.contains("singular"),
        "{notes}"
    );
}
