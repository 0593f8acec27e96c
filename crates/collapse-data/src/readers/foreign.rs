//! Files that are not read, recognised so that a message can say what they are and what helps.

/// What a file with this beginning is; `None` for one that is read or unknown.
pub(crate) fn of_start(start: &[u8]) -> Option<&'static str> {
    const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";
    if start.starts_with(b"MATLAB 7.3") {
        Some("it is a MATLAB 7.3 file, which is HDF5; save it with `save('-v7', …)`")
    } else if start.starts_with(HDF5) {
        Some("it is an HDF5 file; save the images as PNG files or as parquet")
    } else if matches!(start, [0x80, 2..=5, ..]) {
        Some(
            "it is a Python pickle, as in CIFAR's Python version; take the binary version (`data fetch cifar10 --from authors`) or parquet",
        )
    } else if start.starts_with(b"\x93NUMPY") {
        Some("it is a NumPy array; save the images as PNG files or as parquet")
    } else {
        None
    }
}

/// What a folder or archive with these files is.
pub(crate) fn of_names<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<&'static str> {
    let is_pickled = |name: &str| {
        ["cifar-10-batches-py", "cifar-100-python", "batches.meta"]
            .iter()
            .any(|mark| name.split('/').any(|step| step == *mark))
    };
    names.any(is_pickled).then_some(
        "it is CIFAR's Python version, which is pickled; take the binary version (`data fetch cifar10 --from authors`) or parquet",
    )
}
