//! Parquet's metadata as far as the reader needs it: Thrift's numbered fields get their names here and nowhere else.
//!
//! Source: `parquet.thrift` of the Apache Parquet format specification; a field's number stands beside its use.

use super::thrift::{self, Value};

/// Name of the format in messages.
pub(super) const FORMAT: &str = "parquet";

/// Physical type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Int32,
    Int64,
    ByteArray,
    Other,
}

impl Kind {
    fn from_thrift(number: i64) -> Self {
        match number {
            1 => Self::Int32,
            2 => Self::Int64,
            6 => Self::ByteArray,
            _ => Self::Other,
        }
    }

    pub(super) fn is_integer(self) -> bool {
        matches!(self, Self::Int32 | Self::Int64)
    }
}

/// Compression of a column's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Snappy,
    Gzip,
    Zstandard,
    Other,
}

impl Codec {
    fn from_thrift(number: i64) -> Self {
        match number {
            0 => Self::None,
            1 => Self::Snappy,
            2 => Self::Gzip,
            6 => Self::Zstandard,
            _ => Self::Other,
        }
    }
}

/// Encoding of a page's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Dictionary,
    Other,
}

impl Encoding {
    fn from_thrift(number: Option<i64>) -> Self {
        match number {
            Some(0) => Self::Plain,
            Some(2 | 8) => Self::Dictionary,
            _ => Self::Other,
        }
    }
}

/// A leaf of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Names from the root's child down.
    pub(super) path: Vec<String>,
    pub(super) kind: Kind,
    /// Definition level of a value that is there.
    pub(super) max_definition: u32,
    pub(super) repeated: bool,
}

impl Leaf {
    pub(super) fn name(&self) -> String {
        self.path.join(".")
    }
}

/// One column of one row group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ColumnMeta {
    pub(super) kind: Kind,
    pub(super) codec: Codec,
    pub(super) n_values: usize,
    /// Offset of its first page in the file, the dictionary's if there is one.
    pub(super) start: u64,
    /// Bytes of all its pages with their headers.
    pub(super) stored_length: u64,
}

impl ColumnMeta {
    /// From a `ColumnChunk`.
    fn from_thrift(chunk: &Value<'_>) -> Option<Self> {
        let meta = chunk.field(3)?; // meta_data
        let data = u64::try_from(meta.int(9)?).ok()?; // data_page_offset
        let dictionary = meta.int(11).and_then(|offset| u64::try_from(offset).ok()); // dictionary_page_offset
        Some(Self {
            kind: Kind::from_thrift(meta.int(1)?),            // type
            codec: Codec::from_thrift(meta.int(4)?),          // codec
            n_values: usize::try_from(meta.int(5)?).ok()?,    // num_values
            stored_length: u64::try_from(meta.int(7)?).ok()?, // total_compressed_size
            start: dictionary.filter(|&d| d > 0).map_or(data, |d| d.min(data)),
        })
    }
}

/// The footer.
#[derive(Debug)]
pub(super) struct FileMeta {
    pub(super) leaves: Vec<Leaf>,
    /// By row group, the columns in the order of the leaves.
    pub(super) groups: Vec<Vec<ColumnMeta>>,
    pub(super) n_rows: usize,
    /// What the hub wrote about the columns.
    pub(super) hub: Option<serde_json::Value>,
}

/// No genuine set within the limits has more rows.
const MAX_ROWS: usize = 1 << 26;

impl FileMeta {
    pub(super) fn parse(footer: &[u8]) -> Result<Self, &'static str> {
        let (meta, _) = thrift::read_struct(footer).ok_or("its metadata is malformed")?;
        let n_rows = meta
            .int(3) // num_rows
            .and_then(|n| usize::try_from(n).ok())
            .filter(|&n| n <= MAX_ROWS)
            .ok_or("its number of rows is missing or implausible")?;
        let schema = meta.list(2).ok_or("its schema is missing")?; // schema
        let leaves = leaves_of(schema).ok_or("its schema is malformed")?;
        let groups = meta
            .list(4) // row_groups
            .ok_or("its row groups are missing")?
            .iter()
            .map(|group| {
                let columns = group.list(1)?; // columns
                columns.iter().map(ColumnMeta::from_thrift).collect()
            })
            .collect::<Option<_>>()
            .ok_or("a row group lacks a column or its metadata")?;
        let hub = meta
            .list(5) // key_value_metadata
            .unwrap_or_default()
            .iter()
            .find(|pair| pair.bytes(1) == Some(b"huggingface")) // key
            .and_then(|pair| serde_json::from_slice(pair.bytes(2)?).ok()); // value
        Ok(Self {
            leaves,
            groups,
            n_rows,
            hub,
        })
    }
}

/// The leaves below a schema's root, which is a tree written depth first.
fn leaves_of(schema: &[Value<'_>]) -> Option<Vec<Leaf>> {
    let mut leaves = Vec::new();
    let (root, mut rest) = schema.split_first()?;
    for _ in 0..root.int(5).unwrap_or(0) {
        read_leaves(&mut rest, &mut Vec::new(), 0, false, &mut leaves)?;
    }
    Some(leaves)
}

fn read_leaves(
    schema: &mut &[Value<'_>],
    path: &mut Vec<String>,
    definition: u32,
    repeated: bool,
    leaves: &mut Vec<Leaf>,
) -> Option<()> {
    const MAX_DEPTH: usize = 8;
    const REPEATED: i64 = 2;
    let (element, rest) = schema.split_first()?;
    *schema = rest;
    path.push(String::from_utf8_lossy(element.bytes(4)?).into_owned()); // name
    if path.len() > MAX_DEPTH {
        return None;
    }
    let repetition = element.int(3).unwrap_or(0); // repetition_type, 0 = required
    let definition = definition + u32::from(repetition != 0);
    let repeated = repeated || repetition == REPEATED;
    match element.int(5).filter(|&n| n > 0) {
        // num_children
        Some(children) => {
            for _ in 0..children {
                read_leaves(schema, path, definition, repeated, leaves)?;
            }
        }
        None => leaves.push(Leaf {
            path: path.clone(),
            kind: Kind::from_thrift(element.int(1)?), // type
            max_definition: definition,
            repeated,
        }),
    }
    path.pop();
    Some(())
}

/// The header before each page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageHeader {
    pub(super) page: Page,
    /// Bytes of the page in the file.
    pub(super) stored_length: usize,
    /// Bytes of the page, uncompressed.
    pub(super) full_length: usize,
}

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Dictionary,
    /// Carries no values.
    Index,
    /// Levels and values, compressed together.
    Data {
        n_values: usize,
        encoding: Encoding,
    },
    /// Levels, then values that are compressed alone.
    DataV2 {
        n_values: usize,
        n_nulls: usize,
        encoding: Encoding,
        definition_length: usize,
        repetition_length: usize,
        compressed: bool,
    },
}

impl PageHeader {
    /// The header at the front of `bytes` and its length.
    pub(super) fn parse(bytes: &[u8]) -> Result<(Self, usize), &'static str> {
        let (header, length) = thrift::read_struct(bytes).ok_or("a page header is malformed")?;
        let size = |value: &Value<'_>, id| value.int(id).and_then(|n| usize::try_from(n).ok());
        let page = match header.int(1) {
            // type
            Some(0) => header.field(5).and_then(|data| {
                Some(Page::Data {
                    n_values: size(data, 1)?,
                    encoding: Encoding::from_thrift(data.int(2)),
                })
            }),
            Some(1) => Some(Page::Index),
            Some(2) => Some(Page::Dictionary),
            Some(3) => header.field(8).and_then(|data| {
                Some(Page::DataV2 {
                    n_values: size(data, 1)?,
                    n_nulls: size(data, 2).unwrap_or(0),
                    encoding: Encoding::from_thrift(data.int(4)),
                    definition_length: size(data, 5)?,
                    repetition_length: size(data, 6)?,
                    compressed: !matches!(data.field(7), Some(Value::Bool(false))),
                })
            }),
            _ => return Err("a page has an unknown type"),
        };
        Ok((
            Self {
                page: page.ok_or("a data page lacks its header")?,
                full_length: size(&header, 2).ok_or("a page has no size")?, // uncompressed_page_size
                stored_length: size(&header, 3).ok_or("a page has no size")?, // compressed_page_size
            },
            length,
        ))
    }
}

/// Against the `parquet` crate, on what pyarrow writes.
#[cfg(all(test, feature = "candle"))]
mod tests {
    use std::path::Path;

    use parquet::basic::{self, Compression, Type};
    use parquet::column::page::{Page as TheirPage, PageReader};
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;

    const FILES: [&str; 7] = [
        "small_snappy",
        "small_plain",
        "small_gzip",
        "small_zstd",
        "masks",
        "path_only",
        "cifar_like",
    ];

    fn kind(theirs: Type) -> Kind {
        match theirs {
            Type::INT32 => Kind::Int32,
            Type::INT64 => Kind::Int64,
            Type::BYTE_ARRAY => Kind::ByteArray,
            _ => Kind::Other,
        }
    }

    fn codec(theirs: Compression) -> Codec {
        match theirs {
            Compression::UNCOMPRESSED => Codec::None,
            Compression::SNAPPY => Codec::Snappy,
            Compression::GZIP(_) => Codec::Gzip,
            Compression::ZSTD(_) => Codec::Zstandard,
            _ => Codec::Other,
        }
    }

    fn encoding(theirs: basic::Encoding) -> Encoding {
        match theirs {
            basic::Encoding::PLAIN => Encoding::Plain,
            basic::Encoding::PLAIN_DICTIONARY | basic::Encoding::RLE_DICTIONARY => {
                Encoding::Dictionary
            }
            _ => Encoding::Other,
        }
    }

    #[allow(clippy::unwrap_used)] // a helper of tests
    fn compare_pages(column: &ColumnMeta, bytes: &[u8], theirs: &mut dyn PageReader) {
        let start = column.start as usize;
        let mut rest = &bytes[start..start + column.stored_length as usize];
        while let Some(page) = theirs.get_next_page().unwrap() {
            let (header, length) = PageHeader::parse(rest).unwrap();
            rest = &rest[length + header.stored_length..];
            let n = page.num_values() as usize;
            match (header.page, &page) {
                (Page::Dictionary, TheirPage::DictionaryPage { .. }) => {}
                (
                    Page::Data {
                        n_values,
                        encoding: ours,
                    },
                    TheirPage::DataPage { .. },
                ) => assert_eq!((n_values, ours), (n, encoding(page.encoding()))),
                (
                    Page::DataV2 {
                        n_values,
                        n_nulls,
                        encoding: ours,
                        definition_length,
                        repetition_length,
                        compressed,
                    },
                    TheirPage::DataPageV2 {
                        num_nulls,
                        def_levels_byte_len,
                        rep_levels_byte_len,
                        is_compressed,
                        ..
                    },
                ) => {
                    assert_eq!((n_values, ours), (n, encoding(page.encoding())));
                    assert_eq!(n_nulls, *num_nulls as usize);
                    assert_eq!(definition_length, *def_levels_byte_len as usize);
                    assert_eq!(repetition_length, *rep_levels_byte_len as usize);
                    assert_eq!(compressed, *is_compressed);
                }
                (ours, _) => panic!("{ours:?} is another page there"),
            }
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn metadata_and_page_headers_equal_the_parquet_crates() {
        for name in FILES {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/{name}.parquet"));
            let bytes = std::fs::read(&path).unwrap();
            let end = bytes.len() - 8;
            let length = u32::from_le_bytes(*bytes[end..].first_chunk().unwrap()) as usize;
            let ours = FileMeta::parse(&bytes[end - length..end]).unwrap();
            let file = std::fs::File::open(&path).unwrap();
            let theirs = SerializedFileReader::new(file).unwrap();
            let meta = theirs.metadata();
            assert_eq!(ours.n_rows as i64, meta.file_metadata().num_rows());
            let columns = meta.file_metadata().schema_descr().columns();
            assert_eq!(ours.leaves.len(), columns.len(), "{name}");
            for (leaf, column) in ours.leaves.iter().zip(columns) {
                assert_eq!(leaf.path, column.path().parts());
                assert_eq!(leaf.kind, kind(column.physical_type()));
                assert_eq!(
                    i64::from(leaf.max_definition),
                    i64::from(column.max_def_level())
                );
                assert_eq!(leaf.repeated, column.max_rep_level() > 0);
            }
            assert_eq!(ours.groups.len(), meta.num_row_groups(), "{name}");
            for (g, group) in ours.groups.iter().enumerate() {
                let reader = theirs.get_row_group(g).unwrap();
                for (c, column) in group.iter().enumerate() {
                    let their = meta.row_group(g).column(c);
                    assert_eq!(column.kind, kind(their.column_type()));
                    assert_eq!(column.codec, codec(their.compression()));
                    assert_eq!(column.n_values as i64, their.num_values());
                    assert_eq!((column.start, column.stored_length), their.byte_range());
                    let mut pages = reader.get_column_page_reader(c).unwrap();
                    compare_pages(column, &bytes, &mut *pages);
                }
            }
        }
    }
}
