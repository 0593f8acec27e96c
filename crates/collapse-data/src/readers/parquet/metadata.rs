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
