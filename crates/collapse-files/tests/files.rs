//! What a user relies on: old file or new file, nothing in between, nothing lost.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::fs;
use std::io::Write;

use collapse_files::{
    Error, Lock, LockOutcome, Replacement, Seal, SealedReplacement, check, replace, seal, set_aside,
};

fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_replaced_and_its_folder_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/file.txt");
    for content in ["first", "second, longer", ""] {
        replace(&path, content.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    assert_eq!(names(path.parent().unwrap()), ["file.txt"]);
}

#[test]
fn what_is_not_finished_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.txt");
    replace(&path, b"old").unwrap();
    let mut replacement = Replacement::begin(&path).unwrap();
    replacement.write_all(b"half of the n").unwrap();
    drop(replacement);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(names(folder.path()), ["file.txt"]);
}

#[test]
fn a_folder_in_the_way_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken");
    fs::create_dir(&path).unwrap();
    let message = replace(&path, b"x").unwrap_err().to_string();
    assert!(message.contains("taken"), "{message}");
    assert_eq!(names(folder.path()), ["taken"]);
}

#[cfg(unix)]
#[test]
fn new_files_have_ordinary_permissions_and_links_are_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    fs::write(&plain, b"x").unwrap();
    let ordinary = fs::metadata(&plain).unwrap().permissions().mode();
    let path = folder.path().join("ours");
    replace(&path, b"x").unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode, ordinary);

    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&plain, &link).unwrap();
    replace(&link, b"through").unwrap();
    assert_eq!(fs::read(&plain).unwrap(), b"x");
    assert_eq!(fs::read(&link).unwrap(), b"through");
}

#[test]
fn things_set_aside_keep_their_content_under_names_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = Vec::new();
    for stem in ["run.v1", "run.v2", "run.v1", "run.v1"] {
        let path = folder.path().join(stem);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("content"), kept.len().to_string()).unwrap();
        let aside = set_aside(&path).unwrap();
        let name = aside.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&format!("{stem}.before-20")), "{name}");
        assert!(!path.exists());
        kept.push(aside);
    }
    for (index, aside) in kept.iter().enumerate() {
        let content = fs::read_to_string(aside.join("content")).unwrap();
        assert_eq!(content, index.to_string());
    }
}

#[test]
fn a_lock_is_held_once_and_knows_whether_its_file_is_still_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claim");
    let LockOutcome::Taken(lock) = Lock::take(&path).unwrap() else {
        panic!("nobody holds it");
    };
    assert!(matches!(Lock::take(&path).unwrap(), LockOutcome::Held));
    assert!(lock.still_in_place());
    drop(lock);
    let LockOutcome::Taken(lock) = Lock::take(&path).unwrap() else {
        panic!("it was dropped");
    };
    #[cfg(unix)]
    {
        fs::remove_file(&path).unwrap();
        assert!(!lock.still_in_place());
        fs::write(&path, b"").unwrap();
        assert!(!lock.still_in_place(), "another file of the same name");
    }
    drop(lock);
}

#[test]
fn a_file_sealed_as_it_is_written_is_the_one_sealed_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let content = ["before ", Seal::BLANK, " after"];
    let mut file = SealedReplacement::begin(&path).unwrap();
    for part in content {
        file.write_all(part.as_bytes()).unwrap();
    }
    assert!(!path.exists());
    file.finish().unwrap();
    let whole = seal(content.concat().into_bytes()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    assert!(check(&whole).is_sound());

    for content in ["none".to_owned(), Seal::BLANK.repeat(2)] {
        let mut file = SealedReplacement::begin(&path).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        assert!(matches!(file.finish(), Err(Error::Blank { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), whole, "the old file stays");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
