//! The cache of decoded sets: checked, independent of its file once opened, and never a reason to fail.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use collapse_data::readers::cifar::{self, Variant};
use collapse_data::{Cache, Error, ImageSet, Part};

mod common;
use common::cifar_records;

/// What caches told, by all tests of this file.
static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn told_about(text: &str) -> usize {
    let told = TOLD.lock().unwrap();
    told.iter().filter(|warning| warning.contains(text)).count()
}

fn cache(folder: &Path) -> Cache {
    Cache::new(folder).telling(|warning| TOLD.lock().unwrap().push(warning.to_string()))
}

fn source(folder: &Path) -> PathBuf {
    let source = folder.join("source");
    std::fs::write(&source, cifar_records(&[3, 1, 4, 1, 5], 1)).unwrap();
    source
}

fn decoded(source: &Path) -> Result<ImageSet, Error> {
    cifar::read(
        &std::fs::read(source).unwrap(),
        Variant::Cifar10,
        Part::Test,
    )
}

fn get(cache: &Cache, source: &Path) -> ImageSet {
    let sources = [source.to_path_buf()];
    cache
        .get_or_decode(&sources, "test", || decoded(source))
        .unwrap()
}

/// From the cache alone.
fn get_kept(cache: &Cache, source: &Path) -> ImageSet {
    let sources = [source.to_path_buf()];
    let decode = || panic!("the cache should have it");
    cache.get_or_decode(&sources, "test", decode).unwrap()
}

fn kept_file(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files = entries.map(|entry| entry.unwrap().path());
    files.find(|path| path.is_file()).unwrap()
}

#[test]
fn zeroed_pixels_are_noticed_told_and_made_anew() {
    let scratch = tempfile::tempdir().unwrap();
    let source = source(scratch.path());
    let folder = scratch.path().join("zeroed");
    let cache = cache(&folder);
    let genuine = get(&cache, &source);
    let file = kept_file(&folder);
    let mut bytes = std::fs::read(&file).unwrap();
    let n = bytes.len();
    bytes[n - 8000..n - 1000].fill(0);
    std::fs::write(&file, bytes).unwrap();

    let set = get(&cache, &source);
    assert_eq!(set.pixels(), genuine.pixels());
    assert_eq!(set.content_hash(), genuine.content_hash());
    assert_eq!(told_about(&file.display().to_string()), 1);
    // It has been written anew.
    assert_eq!(get_kept(&cache, &source).pixels(), genuine.pixels());
}

#[test]
fn a_cached_set_outlives_its_file() {
    let scratch = tempfile::tempdir().unwrap();
    let source = source(scratch.path());
    let folder = scratch.path().join("cut");
    let cache = cache(&folder);
    let genuine = get(&cache, &source);
    let set = get_kept(&cache, &source);
    std::fs::File::create(kept_file(&folder)).unwrap(); // cut to nothing while it is in use
    assert_eq!(set.pixels(), genuine.pixels());
}

#[test]
fn an_unwritable_cache_is_told_once_and_done_without() {
    let scratch = tempfile::tempdir().unwrap();
    let source = source(scratch.path());
    let file = scratch.path().join("no-folder");
    std::fs::write(&file, "a file where the folder should be").unwrap();
    let cache = cache(&file);
    for _ in 0..2 {
        assert_eq!(get(&cache, &source).len(), 5);
    }
    assert_eq!(told_about("no-folder"), 1);
    assert_eq!(told_about("COLLAPSE_CACHE"), 1);
}

#[test]
fn a_changed_source_is_decoded_anew() {
    let scratch = tempfile::tempdir().unwrap();
    let source = source(scratch.path());
    let cache = cache(&scratch.path().join("changed"));
    assert_eq!(get(&cache, &source).len(), 5);
    std::fs::write(&source, cifar_records(&[9], 1)).unwrap();
    assert_eq!(get(&cache, &source).labels().unwrap(), [9]);
}

#[cfg(unix)]
#[test]
fn kept_files_have_the_permissions_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = tempfile::tempdir().unwrap();
    let source = source(scratch.path());
    let folder = scratch.path().join("mode");
    get(&cache(&folder), &source);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&kept_file(&folder)), mode(&source));
}
