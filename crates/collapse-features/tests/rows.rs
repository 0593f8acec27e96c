//! Rows one after the other, from files and from streams.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::io::{Cursor, Read};

use collapse_features::{FeatureSet, Rows, read, read_unlabelled};
use ndarray::{Array2, array};

fn npy(shape: &str, values: &[f32]) -> Vec<u8> {
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

fn collect(bytes: Vec<u8>) -> Result<FeatureSet, collapse_features::Error> {
    let parts: Result<Vec<FeatureSet>, _> =
        Rows::from_reader("standard input", Cursor::new(bytes)).collect();
    Ok(FeatureSet::stacked(parts?).unwrap())
}

fn refused(bytes: Vec<u8>) -> String {
    collect(bytes).unwrap_err().to_string()
}

/// A pipe whose writer pauses: one byte string at a time.
struct Pauses(std::vec::IntoIter<Vec<u8>>);

impl Read for Pauses {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let Some(next) = self.0.next() else {
            return Ok(0);
        };
        out[..next.len()].copy_from_slice(&next);
        Ok(next.len())
    }
}

#[test]
fn arrays_of_a_stream_follow_each_other() {
    let mut bytes = npy("(2, 3)", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    bytes.extend(npy("(0, 3)", &[]));
    bytes.extend(npy("(3,)", &[7.0, 8.0, 9.0]));
    let set = collect(bytes).unwrap();
    assert_eq!(
        set.features,
        array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]
    );
    // Long arrays come in parts.
    let values: Vec<f32> = (0..30_000).map(|i| i as f32).collect();
    let parts: Vec<FeatureSet> = Rows::from_reader("x", Cursor::new(npy("(10000, 3)", &values)))
        .map(Result::unwrap)
        .collect();
    assert!(parts.len() > 5 && parts.iter().all(|part| part.n_samples() <= 1024));
    let all = FeatureSet::stacked(parts).unwrap();
    assert_eq!(
        all.features,
        Array2::from_shape_fn((10_000, 3), |(i, j)| (3 * i + j) as f64)
    );
}

#[test]
fn rows_come_through_as_they_are_written() {
    let pieces = vec![
        b"[1, 2]\n".to_vec(),
        b"[3, 4]\n[5, ".to_vec(),
        b"6]\n".to_vec(),
    ];
    let parts: Vec<usize> = Rows::from_reader("x", Pauses(pieces.into_iter()))
        .map(|part| part.unwrap().n_samples())
        .collect();
    assert_eq!(parts, [1, 1, 1]);
}

#[test]
fn json_lines_and_csv_say_the_same() {
    let json = br#"{"features": [1, 2.5], "logits": [0.5, -1e3], "label": 1, "id": "a"}

{"features": [-3, 4], "logits": [1, 2], "labels": 0}"#;
    let csv = b"\xef\xbb\xbfid,feature_0,\"feature_1\",logit_0,logit_1,label\r\na,1,2.5,0.5,-1e3,1\r\nb,-3,4,1,2,0\r\n";
    let set = collect(json.to_vec()).unwrap();
    assert_eq!(set, collect(csv.to_vec()).unwrap());
    assert_eq!(set.features, array![[1.0, 2.5], [-3.0, 4.0]]);
    assert_eq!(set.logits, Some(array![[0.5, -1000.0], [1.0, 2.0]]));
    assert_eq!(set.labels, Some(vec![1, 0]));
    // Features alone need no header and no names.
    let bare = collect(b"1,2.5\n-3,4".to_vec()).unwrap();
    assert_eq!(bare, collect(b"[1, 2.5]\n[-3, 4]".to_vec()).unwrap());
    assert_eq!(bare.features, set.features);

    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [("a.jsonl", &json[..]), ("a.csv", &csv[..])] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(read(&path).unwrap(), set, "{name}");
    }
    let path = folder.path().join("unlabelled.csv");
    std::fs::write(&path, "feature,label\n1,-1\n2,-1\n").unwrap();
    assert_eq!(read(&path).unwrap().labels, None);
}

#[test]
fn files_come_by_rows_in_every_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let rows = |bytes: Vec<u8>| {
        std::fs::write(&path, bytes).unwrap();
        let parts: Vec<FeatureSet> = Rows::open(&path).unwrap().map(Result::unwrap).collect();
        FeatureSet::stacked(parts).unwrap().features
    };
    let plain = npy("(2, 2)", &[1.0, 2.0, 3.0, 4.0]);
    assert_eq!(rows(plain.clone()), array![[1.0, 2.0], [3.0, 4.0]]);
    let at = plain.windows(5).position(|part| part == b"False").unwrap();
    let mut columns = plain;
    columns[at..at + 5].copy_from_slice(b"True ");
    assert_eq!(rows(columns.clone()), array![[1.0, 3.0], [2.0, 4.0]]);
    // A stream cannot turn them round without holding all.
    assert!(refused(columns).contains("ascontiguousarray"));
}

#[test]
fn what_is_wrong_names_its_row() {
    for (bytes, parts) in [
        (b"[1, 2]\n[1, 2, 3]\n".to_vec(), ["row 1", "3 features"]),
        (b"[1, 2]\n[1, oops]\n".to_vec(), ["row 1", "a row is"]),
        (
            b"{\"feature\": [1]}\n".to_vec(),
            ["row 0", "missing field `features`"],
        ),
        (
            b"{\"features\": [1], \"label\": -2}\n".to_vec(),
            ["row 0", "label -2"],
        ),
        (b"[1, 1e999]\n".to_vec(), ["row 0", "out of range"]),
        (b"a,b\n1,2\n".to_vec(), ["row 0", "feature_0"]),
        (b"1,2\n3\n".to_vec(), ["row 1", "1 columns"]),
        (b"1,2\n3,x\n".to_vec(), ["row 1", "\"x\" in column 1"]),
        (
            b"feature,label\n1,0\n2,0.5\n".to_vec(),
            ["row 1", "no whole number"],
        ),
        (b"1,2\n3,nan\n".to_vec(), ["row 1, column 1", "NaN"]),
        (
            b"{\"features\": [1], \"label\": 0}\n[2]\n".to_vec(),
            ["row 1", "no label, the rows before have one"],
        ),
        (
            npy("(3, 2)", &[1.0, 2.0, 3.0]),
            ["row 1", "ends 2 rows early"],
        ),
        (npy("(2, 2, 2)", &[0.0; 8]), ["row 0", "[2, 2, 2]"]),
        (npy("(1, 99999999999)", &[]), ["row 0", "4194304 numbers"]),
        (npy("()", &[1.0]), ["row 0", "[D]"]),
        (
            [npy("(1, 2)", &[1.0, 2.0]), npy("(1, 3)", &[1.0, 2.0, 3.0])].concat(),
            ["row 1", "the rows before have 2"],
        ),
        (
            [npy("(1, 2)", &[1.0, 2.0]), b"garbage!".to_vec()].concat(),
            ["row 1", "does not begin as an array"],
        ),
    ] {
        let error = refused(bytes);
        for part in ["standard input"].into_iter().chain(parts) {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
    // The rows before a wrong one have come through, and nothing follows it.
    let mut rows = Rows::from_reader(
        "x",
        Pauses(vec![b"[1]\n".to_vec(), b"[x]\n".to_vec(), b"[2]\n".to_vec()].into_iter()),
    );
    assert_eq!(rows.next().unwrap().unwrap().features, array![[1.0]]);
    assert!(rows.next().unwrap().is_err() && rows.next().is_none());
    assert!(
        Rows::from_reader("x", Cursor::new(Vec::new()))
            .next()
            .is_none()
    );
}

#[test]
fn rows_before_a_wrong_one_come_through_from_a_file_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    std::fs::write(&path, "[1]\n[2]\n[x]\n[4]\n").unwrap();
    let mut rows = Rows::open(&path).unwrap();
    let part = rows.next().unwrap().unwrap();
    assert_eq!(part.features, array![[1.0], [2.0]]);
    let error = rows.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("row 2") && rows.next().is_none(), "{error}");
    assert!(read(&path).unwrap_err().to_string().contains("row 2"));
    // So do those before one that is no number, in features or in logits.
    for input in [
        b"1,2\n3,4\n5,nan\n6,7\n".to_vec(),
        npy(
            "(4, 2)",
            &[1.0, 2.0, 3.0, 4.0, f32::INFINITY, 5.0, 6.0, 7.0],
        ),
        b"feature_0,feature_1,logit_0\n1,2,0\n3,4,0\n5,6,inf\n7,nan,0\n".to_vec(),
    ] {
        let mut rows = Rows::from_reader("x", Cursor::new(input));
        let part = rows.next().unwrap().unwrap();
        assert_eq!(part.features, array![[1.0, 2.0], [3.0, 4.0]]);
        let error = rows.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("row 2") && rows.next().is_none(), "{error}");
    }
}

#[test]
fn columns_follow_the_numbers_of_their_names() {
    let named = "logit_1,feature_10,feature_2,note,logit_0,feature_0\n-1,10,2,x,-0.5,0\n";
    let set = collect(named.as_bytes().to_vec()).unwrap();
    assert_eq!(set.features, array![[0.0, 2.0, 10.0]]);
    assert_eq!(set.logits, Some(array![[-0.5, -1.0]]));
    let named = "feature_layer4_10,feature_layer4_9\n10,9\n";
    let set = collect(named.as_bytes().to_vec()).unwrap();
    assert_eq!(set.features, array![[9.0, 10.0]]);
    // Names without numbers of their own stand as they are.
    let set = collect(b"feature_b,feature_a,feature_1\n1,2,3\n".to_vec()).unwrap();
    assert_eq!(set.features, array![[1.0, 2.0, 3.0]]);
}

#[test]
fn what_pandas_calls_columns_without_names_is_a_header() {
    let set = collect(b"0,1,2\n5,6,7\n".to_vec()).unwrap();
    assert_eq!(set.features, array![[5.0, 6.0, 7.0]]);
    for rows in ["0,1\n5,6\n", "0.0,1.0,2.0\n5,6,7\n", "1,2,3\n5,6,7\n"] {
        assert_eq!(collect(rows.into()).unwrap().n_samples(), 2, "{rows}");
    }
}

#[test]
fn blanks_and_a_mark_of_the_byte_order_may_come_first() {
    for begin in ["\n\n", "\u{feff}", "  \r\n\u{feff}"] {
        for row in ["[1, 2]\n", "{\"features\": [1, 2]}\n", "1,2\n"] {
            let set = collect(format!("{begin}{row}").into()).unwrap();
            assert_eq!(set.features, array![[1.0, 2.0]], "{begin:?} {row}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    std::fs::write(&path, "\u{feff}{\"features\": [1, 2]}\n").unwrap();
    assert_eq!(read(&path).unwrap().features, array![[1.0, 2.0]]);
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, "\u{feff}\n1,2\n").unwrap();
    assert_eq!(read(&path).unwrap().features, array![[1.0, 2.0]]);
}

#[test]
fn labels_without_meaning_can_stay_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        (
            "a.jsonl",
            "{\"features\": [1, 2], \"label\": \"cat\"}\n[3, 4]\n",
        ),
        (
            "b.jsonl",
            "{\"features\": [1, 2], \"label\": 1.5}\n{\"features\": [3, 4], \"label\": -7}\n",
        ),
        ("c.csv", "feature_0,label,feature_1\n1,,2\n3,dog,4\n"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let set = read_unlabelled(&path).unwrap();
        assert_eq!(set.features, array![[1.0, 2.0], [3.0, 4.0]], "{name}");
        assert_eq!(set.labels, None, "{name}");
        let parts = Rows::from_reader_unlabelled("x", Cursor::new(text));
        assert_eq!(
            parts.map(|part| part.unwrap().n_samples()).sum::<usize>(),
            2
        );
        assert!(read(&path).is_err(), "{name}");
    }
    // Among classes −1 is none.
    let path = folder.path().join("d.csv");
    std::fs::write(&path, "feature,label\n1,0\n2,-1\n").unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("label -1 at row 1"), "{error}");
}
