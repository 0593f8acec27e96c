//! What the `parquet` crate writes, under every setting that hub files have, is read as it was written.
#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use collapse_data::readers::parquet as reader;
use collapse_data::{Error, ImageSet, Part};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

mod common;

const ROWS: usize = 23;
const SCHEMA: &str = "message rows {
    optional group image { optional binary bytes; optional binary path (UTF8); }
    optional int64 label;
}";

/// Image `i`: its blue is `i`.
fn images() -> Vec<Vec<u8>> {
    (0..ROWS).map(|i| common::png(6, (i % 9) as u8)).collect()
}

fn label(i: usize) -> i64 {
    (i % 4) as i64
}

/// The rows in groups of `group`; the image of row `without_bytes` is null.
fn written(properties: WriterProperties, group: usize, without_bytes: Option<usize>) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let images = images();
    let rows: Vec<usize> = (0..ROWS).collect();
    let mut out = Vec::new();
    let mut file = SerializedFileWriter::new(&mut out, schema, Arc::new(properties)).unwrap();
    for rows in rows.chunks(group) {
        let mut group = file.next_row_group().unwrap();
        let levels: Vec<i16> = rows
            .iter()
            .map(|&row| if Some(row) == without_bytes { 1 } else { 2 })
            .collect();
        let there = || rows.iter().filter(|&&row| Some(row) != without_bytes);
        let bytes: Vec<ByteArray> = there().map(|&row| images[row].clone().into()).collect();
        let paths: Vec<ByteArray> = rows
            .iter()
            .map(|row| ByteArray::from(format!("{row}.png").as_str()))
            .collect();
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<ByteArrayType>();
        typed.write_batch(&bytes, Some(&levels), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<ByteArrayType>();
        let all = vec![2; rows.len()];
        typed.write_batch(&paths, Some(&all), None).unwrap();
        column.close().unwrap();
        let labels: Vec<i64> = rows.iter().map(|&row| label(row)).collect();
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<Int64Type>();
        let all = vec![1; rows.len()];
        typed.write_batch(&labels, Some(&all), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    file.close().unwrap();
    out
}

fn read(bytes: &[u8]) -> Result<ImageSet, Error> {
    reader::read(
        bytes,
        "x",
        Part::Test,
        "memory",
        &reader::Options::default(),
    )
}

#[test]
fn every_setting_is_read_as_it_was_written() {
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
    ];
    for codec in codecs {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for (group, page) in [(ROWS, ROWS), (ROWS, 5), (4, 3)] {
                let properties = WriterProperties::builder()
                    .set_compression(codec)
                    .set_writer_version(version)
                    .set_dictionary_enabled(true)
                    .set_data_page_row_count_limit(page)
                    .set_write_batch_size(1)
                    .build();
                let set = read(&written(properties, group, None)).unwrap();
                assert_eq!(set.len(), ROWS);
                for i in 0..ROWS {
                    assert_eq!(set.labels().unwrap()[i] as i64, label(i));
                    assert_eq!(usize::from(set.image(i).unwrap()[2]), i % 9, "{codec:?}");
                }
            }
        }
    }
}

#[test]
fn plain_pages_are_read_and_a_null_image_is_named_by_its_row() {
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        let properties = || {
            WriterProperties::builder()
                .set_writer_version(version)
                .set_dictionary_enabled(false)
                .set_data_page_row_count_limit(3)
                .set_write_batch_size(1)
        };
        // Version 2 would pack labels in a delta encoding, which the hub does not use.
        let plain = properties()
            .set_encoding(parquet::basic::Encoding::PLAIN)
            .build();
        assert_eq!(read(&written(plain.clone(), 7, None)).unwrap().len(), ROWS);
        let error = read(&written(plain, 7, Some(12))).unwrap_err().to_string();
        assert!(error.contains("row 12"), "{error}");
    }
}

#[test]
fn other_encodings_and_codecs_are_refused_with_the_remedy() {
    let delta = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_encoding(parquet::basic::Encoding::DELTA_LENGTH_BYTE_ARRAY)
        .set_column_encoding("label".into(), parquet::basic::Encoding::PLAIN)
        .build();
    let lz4 = WriterProperties::builder()
        .set_compression(Compression::LZ4_RAW)
        .build();
    for properties in [delta, lz4] {
        let error = read(&written(properties, ROWS, None)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("rewrite the file"), "{text}");
    }
}
