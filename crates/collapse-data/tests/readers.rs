//! What users really have: links, checkpoints of notebooks, foreign names, parts, turned photographs, archives of
//! Windows, SVHN as others save it, parquet with several columns. And messages that name the file and the remedy.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use collapse_data::readers::{Limits, archive, folder, mat as mat_reader, parquet};
use collapse_data::{Error, ImageSet, LoadOptions, Part, load, load_path, sha256};

mod common;
use common::{gzip, jpeg, mat_file, mat_x, mat_y, png, tar, write, zip};

fn read(path: &Path, part: Part) -> Result<ImageSet, Error> {
    load_path(path, "mine", part, &LoadOptions::default())
}

fn message(path: &Path) -> String {
    read(path, Part::Test).unwrap_err().to_string()
}

#[cfg(unix)]
#[test]
fn loops_of_links_end_and_count_no_image_twice() {
    use std::os::unix::fs::symlink;
    let scratch = tempfile::tempdir().unwrap();
    let set = scratch.path().join("set");
    write(&set, "ant/1.png", &png(6, 1));
    write(&set, "bee/1.png", &png(6, 2));
    symlink("..", set.join("ant/up")).unwrap();
    symlink(&set, set.join("again")).unwrap();
    symlink("bee", set.join("aaa")).unwrap();
    let read_set = read(&set, Part::Test).unwrap();
    assert_eq!(read_set.classes(), ["ant", "bee"]);
    assert_eq!(read_set.len(), 2);

    // A class that is kept elsewhere is still a class.
    let elsewhere = scratch.path().join("elsewhere");
    write(&elsewhere, "1.png", &png(6, 3));
    symlink(&elsewhere, set.join("cow")).unwrap();
    symlink(&elsewhere, set.join("cow too")).unwrap();
    let read_set = read(&set, Part::Test).unwrap();
    assert_eq!(read_set.classes(), ["ant", "bee", "cow"]);

    symlink("nowhere.png", set.join("lost.png")).unwrap();
    assert!(message(&set).contains("lost.png"));
}

#[test]
fn hidden_folders_and_files_are_no_classes() {
    let scratch = tempfile::tempdir().unwrap();
    let members = [
        ("ant/1.png", png(6, 1)),
        ("ant/.ipynb_checkpoints/1-checkpoint.png", png(6, 1)),
        ("ant/._1.png", b"a Mac's resource fork".to_vec()),
        ("__MACOSX/ant/2.png", b"another".to_vec()),
        (".cache/bee/1.png", png(6, 2)),
        ("cow/1.png", png(6, 3)),
    ];
    let set = scratch.path().join("set");
    for (name, content) in &members {
        write(&set, name, content);
    }
    write(scratch.path(), "set.zip", &zip(&members));
    for path in [set, scratch.path().join("set.zip")] {
        let set = read(&path, Part::Test).unwrap();
        assert_eq!(
            (set.classes(), set.len()),
            (&["ant", "cow"].map(String::from)[..], 2)
        );
    }
}

#[cfg(unix)]
#[test]
fn names_that_are_not_unicode_are_read() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let scratch = tempfile::tempdir().unwrap();
    for name in [&b"caf\xe9.png"[..], b"caf\xe8.png", b"plain.png"] {
        std::fs::write(scratch.path().join(OsStr::from_bytes(name)), png(6, 1)).unwrap();
    }
    assert_eq!(read(scratch.path(), Part::Test).unwrap().len(), 3);
}

#[test]
fn a_damaged_image_is_named_by_its_path() {
    let scratch = tempfile::tempdir().unwrap();
    let members = [
        ("set/ant/1.png", png(6, 1)),
        ("set/ant/2.jpg", jpeg(6, 1)[..100].to_vec()),
        ("set/bee/empty.png", png(6, 1)),
    ];
    write(scratch.path(), "set.zip", &zip(&members));
    for (name, content) in &members {
        write(scratch.path(), name, content);
    }
    for path in [scratch.path().join("set"), scratch.path().join("set.zip")] {
        let text = message(&path);
        assert!(text.contains("ant/2.jpg"), "{text}");
        assert!(text.contains(&path.display().to_string()), "{text}");
    }
    write(scratch.path(), "set/ant/2.jpg", b"");
    assert!(message(&scratch.path().join("set")).contains("it is empty"));
}

#[test]
fn a_set_in_parts_gives_the_part_asked_for() {
    let scratch = tempfile::tempdir().unwrap();
    let members = [
        ("set/train/ant/1.png", png(6, 1)),
        ("set/train/bee/1.png", png(6, 2)),
        ("set/validation/ant/1.png", png(6, 3)),
        ("set/validation/bee/1.png", png(6, 4)),
        ("set/test/ant/1.png", png(6, 5)),
        ("set/test/bee/1.png", png(6, 6)),
        ("set/README.md", b"---\n".to_vec()),
    ];
    for (name, content) in &members {
        write(scratch.path(), name, content);
    }
    write(scratch.path(), "set.tar", &tar(&members));
    let blue = |set: &ImageSet| set.image(0).unwrap()[2];
    for path in [scratch.path().join("set"), scratch.path().join("set.tar")] {
        let test = read(&path, Part::Test).unwrap();
        assert_eq!((test.len(), blue(&test)), (2, 5));
        assert_eq!(test.classes(), ["ant", "bee"]);
        let train = read(&path, Part::Train).unwrap();
        assert_eq!((train.len(), blue(&train)), (2, 1));
    }
    std::fs::remove_dir_all(scratch.path().join("set/test")).unwrap();
    let validation = read(&scratch.path().join("set"), Part::Test).unwrap();
    assert_eq!((validation.len(), blue(&validation)), (2, 3));
}

#[test]
fn a_folder_of_shards_gives_the_part_asked_for() {
    let scratch = tempfile::tempdir().unwrap();
    let six = include_bytes!("small_plain.parquet");
    write(scratch.path(), "data/train-00000-of-00002.parquet", six);
    write(scratch.path(), "data/train-00001-of-00002.parquet", six);
    write(scratch.path(), "data/test-00000-of-00001.parquet", six);
    assert_eq!(read(scratch.path(), Part::Test).unwrap().len(), 6);
    assert_eq!(read(scratch.path(), Part::Train).unwrap().len(), 12);
}

#[test]
fn photographs_are_turned_as_they_are_to_be_seen() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("1.png");
    // Red is the column and green the row.
    let corner = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        let set = read(scratch.path(), Part::Test).unwrap();
        let image = set.image(0).unwrap();
        [image[0], image[1]]
    };
    assert_eq!(corner(&common::png_with_exif(8, 0, None)), [0, 0]);
    assert_eq!(corner(&common::png_with_exif(8, 0, Some(3))), [63, 49]);
    // A quarter turn clockwise brings the lower left corner up.
    assert_eq!(corner(&common::png_with_exif(8, 0, Some(6))), [0, 49]);
    let near = |found: [u8; 2], expected: [u8; 2]| {
        let mut pairs = found.into_iter().zip(expected);
        assert!(pairs.all(|(f, e)| f.abs_diff(e) < 12), "{found:?}");
    };
    near(corner(&common::jpeg_with_exif(8, 0, None)), [0, 0]);
    near(corner(&common::jpeg_with_exif(8, 0, Some(8))), [63, 0]);
}

/// Members' names as they are read.
fn names(bytes: &[u8]) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    let source = std::io::Cursor::new(bytes);
    let all = |_: &str| true;
    archive::for_each_in(source, "memory", &Limits::default(), all, |name, _| {
        names.push(name.to_string());
        Ok(true)
    })?;
    Ok(names)
}

#[test]
fn names_of_windows_and_colons_are_taken_and_escapes_refused() {
    let packed = |name: &str| {
        let members = [(name, b"content".to_vec())];
        [tar(&members), gzip(&tar(&members)), zip(&members)]
    };
    for (name, plain) in [
        ("set\\ant\\1.png", "set/ant/1.png"),
        (".\\ant\\1.png", "ant/1.png"),
        ("./ant//1.png", "ant/1.png"),
        ("ant/12:30.png", "ant/12:30.png"),
    ] {
        for bytes in packed(name) {
            assert_eq!(names(&bytes).unwrap(), [plain]);
        }
    }
    for name in [
        "../evil.bin",
        "/etc/evil.bin",
        "a/../../evil.bin",
        "..\\evil.bin",
        "a\\..\\..\\evil.bin",
        "\\\\host\\evil.bin",
        "C:\\evil.bin",
        "C:evil.bin",
        "./C:/evil.bin",
    ] {
        for bytes in packed(name) {
            let error = names(&bytes).unwrap_err();
            assert!(matches!(error, Error::PathEscape { .. }), "{name}: {error}");
        }
    }
}

#[test]
fn svhn_is_read_whatever_its_labels_are_and_whichever_array_comes_first() {
    let digits = [10, 1, 2, 9, 10];
    let x = mat_x(4, digits.len());
    for kind in [common::MAT_UINT8, common::MAT_SINGLE, common::MAT_INT64] {
        for compressed in [false, true] {
            let y = mat_y(&digits, kind);
            for arrays in [[x.clone(), y.clone()], [y, x.clone()]] {
                let file = mat_file(&arrays, compressed);
                let limits = Limits::default();
                let set = mat_reader::read(&file, "svhn", Part::Test, "memory", &limits).unwrap();
                assert_eq!(set.labels().unwrap(), [0, 1, 2, 9, 0]);
                // Column-major: the pixel below the first one comes next in the file.
                assert_eq!(set.image(0).unwrap()[4 * 3], 1);
                assert_eq!(set.image(0).unwrap()[3], 4);
                assert_eq!(set.image(0).unwrap()[1], 16);
                let scratch = tempfile::tempdir().unwrap();
                write(scratch.path(), "digits", &file);
                let found = load(
                    "svhn",
                    Part::Test,
                    Some(scratch.path()),
                    &LoadOptions::default(),
                );
                assert_eq!(found.unwrap().pixels(), set.pixels());
            }
        }
    }
}

#[test]
fn files_that_are_not_read_are_called_by_their_name() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    let find = |name: &str| {
        load(name, Part::Test, Some(folder), &LoadOptions::default())
            .unwrap_err()
            .to_string()
    };
    let mut matlab = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".to_vec();
    matlab.resize(600, b' ');
    write(folder, "test_32x32.mat", &matlab);
    for text in [message(&folder.join("test_32x32.mat")), find("svhn")] {
        assert!(text.contains("7.3") && text.contains("-v7"), "{text}");
        assert!(text.contains("test_32x32.mat"), "{text}");
    }
    let pickle = b"\x80\x02}q\x01(U\x0bbatch_labelq\x02".to_vec();
    let members = [("cifar-10-batches-py/test_batch", pickle.clone())];
    write(folder, "cifar-10-python.tar.gz", &gzip(&tar(&members)));
    write(folder, "test_batch", &pickle);
    for text in [
        message(&folder.join("cifar-10-python.tar.gz")),
        message(&folder.join("test_batch")),
        find("cifar10"),
    ] {
        assert!(text.contains("pickle") && text.contains("binary"), "{text}");
    }
    write(folder, "notes.txt", b"hello");
    assert!(message(&folder.join("notes.txt")).contains("neither zip nor tar"));
}

/// Written by pyarrow: three rows with columns `mask` and `image` (structs of bytes and path) and `label`; the second
/// file's last row has a path alone.
#[test]
fn parquet_reads_the_image_column_and_names_rows_without_bytes() {
    let options = parquet::Options::default();
    let bytes = include_bytes!("masks.parquet");
    let set = parquet::read(bytes, "x", Part::Test, "masks", &options).unwrap();
    assert_eq!(set.len(), 3);
    assert_eq!(set.image(1).unwrap()[..3], [10, 20, 30]);

    let bytes = include_bytes!("path_only.parquet");
    let error = parquet::read(bytes, "x", Part::Test, "paths.parquet", &options).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("row 2") && text.contains("image.bytes"),
        "{text}"
    );
    assert!(
        text.contains("paths.parquet") && text.contains("embed"),
        "{text}"
    );
    assert!(!text.contains("not a valid"), "{text}");

    let bytes = include_bytes!("two_images.parquet");
    let error = parquet::read(bytes, "x", Part::Test, "two", &options).unwrap_err();
    assert!(error.to_string().contains("(left, right)"), "{error}");
}

/// JPEG's inverse transform is not exact anywhere, so ours is pinned: other bytes would be another data set.
#[test]
fn jpegs_decode_to_the_same_bytes_for_ever() {
    let bytes = include_bytes!("small_snappy.parquet");
    let set = parquet::read(bytes, "x", Part::Test, "x", &parquet::Options::default()).unwrap();
    let hash = sha256(set.pixels()).to_hex();
    assert_eq!(
        hash,
        "bfa3f32c318a054bcc2350d10f043df0c7518d1695bf5dc4241a8ea68a2a76f8"
    );
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_refused_at_once() {
    for path in ["/dev/zero", "/dev/null"] {
        let text = message(Path::new(path));
        assert!(text.contains("no regular file"), "{text}");
    }
}

#[test]
fn folders_are_read_through_their_own_reader_too() {
    let scratch = tempfile::tempdir().unwrap();
    write(scratch.path(), "a/1.png", &png(6, 1));
    let set = folder::read(scratch.path(), "x", Part::Test, &folder::Options::default());
    assert_eq!(set.unwrap().classes(), ["a"]);
}
