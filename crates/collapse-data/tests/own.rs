//! A user's own images as in-distribution set, and names that are checked before anything is opened.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use collapse_data::{
    Benchmark, BenchmarkOptions, Error, IdSet, ImageSet, LoadOptions, Part, load_own,
};

mod common;
use common::{png, write, zip};

/// Blue of each image, by which the pictures differ.
fn blues(set: &ImageSet) -> Vec<u8> {
    (0..set.len()).map(|i| set.image(i).unwrap()[2]).collect()
}

fn own(path: &Path) -> Result<(ImageSet, ImageSet), Error> {
    load_own(path, "farm", &LoadOptions::default())
}

#[test]
fn a_folder_without_parts_is_split_within_each_class_and_always_alike() {
    let scratch = tempfile::tempdir().unwrap();
    for i in 0..10 {
        write(scratch.path(), &format!("ant/{i}.png"), &png(20, i));
        write(scratch.path(), &format!("bee/{i}.png"), &png(40, 100 + i));
    }
    write(scratch.path(), "cow/0.png", &png(32, 200));
    write(scratch.path(), "cow/1.png", &png(32, 201));
    let (train, test) = own(scratch.path()).unwrap();
    assert_eq!(train.class_counts(), [8, 8, 1]);
    assert_eq!(test.class_counts(), [2, 2, 1]);
    assert_eq!((train.part(), test.part()), (Part::Train, Part::Test));
    assert_eq!(train.classes(), test.classes());
    assert_eq!((train.shape().height, train.shape().channels), (32, 3));
    let mut all = [blues(&train), blues(&test)].concat();
    all.sort_unstable();
    let expected: Vec<u8> = (0..10).chain(100..110).chain(200..202).collect();
    assert_eq!(all, expected);
    assert_eq!(blues(&own(scratch.path()).unwrap().1), blues(&test));

    write(scratch.path(), "dog/0.png", &png(32, 1));
    let error = own(scratch.path()).unwrap_err().to_string();
    assert!(error.contains("\"dog\" has 1 images"), "{error}");
}

#[test]
fn parts_of_a_folder_or_archive_are_kept() {
    let scratch = tempfile::tempdir().unwrap();
    let members = [
        ("farm/train/ant/1.png", png(8, 1)),
        ("farm/train/bee/1.png", png(8, 2)),
        ("farm/train/bee/2.png", png(8, 3)),
        ("farm/val/ant/1.png", png(8, 4)),
        ("farm/val/bee/1.png", png(8, 5)),
    ];
    for (name, content) in &members {
        write(scratch.path(), name, content);
    }
    write(scratch.path(), "farm.zip", &zip(&members));
    for path in ["farm", "farm.zip"] {
        let (train, test) = own(&scratch.path().join(path)).unwrap();
        assert_eq!(blues(&train), [1, 2, 3]);
        assert_eq!(blues(&test), [4, 5]);
        assert_eq!(test.classes(), ["ant", "bee"]);
    }
    let six = include_bytes!("small_plain.parquet");
    write(scratch.path(), "shards/train-00000.parquet", six);
    write(scratch.path(), "shards/test-00000.parquet", six);
    let (train, test) = own(&scratch.path().join("shards")).unwrap();
    assert_eq!((train.len(), test.len()), (6, 6));
}

#[test]
fn pictures_without_classes_are_refused_with_the_remedy() {
    let scratch = tempfile::tempdir().unwrap();
    write(scratch.path(), "1.png", &png(8, 1));
    let error = own(scratch.path()).unwrap_err().to_string();
    assert!(error.contains("a folder of its own"), "{error}");
}

#[test]
fn a_benchmark_of_own_pictures_alone() {
    let scratch = tempfile::tempdir().unwrap();
    for i in 0..5 {
        write(scratch.path(), &format!("id/ant/{i}.png"), &png(20, i));
        write(scratch.path(), &format!("id/bee/{i}.png"), &png(20, 50 + i));
        write(scratch.path(), &format!("ood/{i}.png"), &png(30, 90 + i));
    }
    let options = BenchmarkOptions {
        id: IdSet::Own {
            name: "farm".into(),
            path: scratch.path().join("id"),
        },
        ood: vec!["uniform-noise".into()],
        extra: vec![("sea".into(), scratch.path().join("ood"))],
        cache: None,
    };
    let benchmark = Benchmark::open(None, &options).unwrap();
    assert_eq!(benchmark.name(), "farm");
    let hashes = benchmark.hashes();
    let sets: Vec<&str> = hashes.keys().map(String::as_str).collect();
    assert_eq!(
        sets,
        ["farm/test", "farm/train", "sea/test", "uniform-noise/test"]
    );
    assert_eq!(benchmark.id().split(3).validation.len(), 1);
}

#[test]
fn names_are_checked_before_anything_is_opened() {
    let nowhere = Path::new("/nowhere");
    let check = |id: &str, ood: &[&str], extra: &[&str]| {
        let options = BenchmarkOptions {
            id: IdSet::Published(id.into()),
            ood: ood.iter().map(ToString::to_string).collect(),
            extra: extra
                .iter()
                .map(|name| (name.to_string(), nowhere.to_path_buf()))
                .collect(),
            cache: None,
        };
        let error = Benchmark::open(Some(nowhere), &options).unwrap_err();
        assert!(!matches!(error, Error::Io { .. }), "{error}");
        error.to_string()
    };
    for name in ["a/b", "..", "a\\b", "a\nb"] {
        let error = check("cifar10", &["svhn"], &[name]);
        assert!(error.contains("another name"), "{error}");
    }
    assert!(check("cifar10", &["svhn", "svhn"], &[]).contains("share this name"));
    assert!(check("cifar10", &["svhn"], &["svhn"]).contains("share this name"));
    assert!(check("cifar10", &["cifar10"], &[]).contains("share this name"));
    assert!(check("cifar10", &["svnh"], &[]).contains("unknown data set"));
    assert!(check("cifar11", &[], &[]).contains("unknown data set"));
}
