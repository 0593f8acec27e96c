//! Parquet files with an image and a label column, as the Hugging Face hub serves them.
//!
//! Reads what such files hold and nothing else: one BYTE_ARRAY leaf of encoded images (`img.bytes`,
//! `image.bytes` or a plain binary column) and one leaf of labels, integers or words; PLAIN and dictionary
//! encodings; pages of version 1 and 2; uncompressed, Snappy, gzip or Zstandard. A reader of our own, because it
//! borrows image bytes straight from the mapped file, and because every size in the file is
//! checked before anything is allocated. Source: the Apache Parquet format specification.

mod pages;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use pages::{Blob, PageValues, all_defined, unpack};

use super::thrift::{self, Value};
use super::{Limits, decode};
use crate::{Error, Fit, ImageSet, ImageShape, Part, registry};

const FORMAT: &str = "parquet";
const INT32: i64 = 1;
const INT64: i64 = 2;
const BYTE_ARRAY: i64 = 6;
/// Names of label columns, the likeliest first.
const LABEL_COLUMNS: [&str; 3] = ["label", "fine_label", "labels"];

/// Which columns to read, and what to make of the images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Label column; by default `label`, `fine_label` or `labels` (integers, else words), or the only integer column.
    pub label_column: Option<String>,
    /// Shape to bring every image to; by default all must agree in size, and the set is grey only
    /// if every image is.
    pub shape: Option<ImageShape>,
    /// How images reach `shape`.
    pub fit: Fit,
    /// What a file may ask for.
    pub limits: Limits,
}

/// A leaf of the schema.
struct Leaf {
    path: Vec<String>,
    kind: i64,
    max_definition: u32,
    repeated: bool,
}

/// A parquet file's metadata, enough to find the two columns.
pub(crate) struct File<'a> {
    bytes: &'a [u8],
    origin: String,
    leaves: Vec<Leaf>,
    groups: Vec<Value<'a>>,
    n_rows: usize,
    /// Names of the label column `names[0]`, by column, from the hub's own metadata.
    hub_metadata: Option<serde_json::Value>,
}

/// Labels that were words: the words, and each row's index among them.
struct Words {
    classes: Vec<String>,
    labels: Vec<usize>,
}

/// No genuine set within the limits has more rows.
const MAX_ROWS: i64 = 1 << 26;

impl<'a> File<'a> {
    pub(crate) fn open(bytes: &'a [u8], origin: &str) -> Result<Self, Error> {
        let broken = |detail: &str| Error::format(origin, FORMAT, detail);
        if !bytes.starts_with(b"PAR1") || !bytes.ends_with(b"PAR1") || bytes.len() < 12 {
            return Err(broken(
                "it does not begin and end with PAR1 (is it truncated?)",
            ));
        }
        let body = &bytes[..bytes.len() - 8];
        let length = &bytes[bytes.len() - 8..bytes.len() - 4];
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let start = body
            .len()
            .checked_sub(length)
            .ok_or_else(|| broken("its footer is longer than the file"))?;
        let (metadata, _) = thrift::read_struct(&body[start..], origin)?;
        let n_rows = metadata
            .int(3)
            .filter(|n| (0..=MAX_ROWS).contains(n))
            .ok_or_else(|| broken("its number of rows is missing or implausible"))?
            as usize;
        let schema = metadata
            .list(2)
            .ok_or_else(|| broken("its schema is missing"))?;
        let mut leaves = Vec::new();
        let mut next = 0;
        read_schema(schema, &mut next, &mut Vec::new(), 0, false, &mut leaves)
            .ok_or_else(|| broken("its schema is malformed"))?;
        let groups = metadata
            .list(4)
            .ok_or_else(|| broken("its row groups are missing"))?
            .to_vec();
        let hub_metadata = metadata
            .list(5)
            .unwrap_or_default()
            .iter()
            .find(|pair| pair.bytes(1) == Some(b"huggingface"))
            .and_then(|pair| serde_json::from_slice(pair.bytes(2)?).ok());
        Ok(Self {
            bytes,
            origin: origin.to_string(),
            leaves,
            groups,
            n_rows,
            hub_metadata,
        })
    }

    pub(crate) fn has_integer_column(&self, name: &str) -> bool {
        self.leaves
            .iter()
            .any(|l| matches!(l.kind, INT32 | INT64) && !l.repeated && l.path == [name])
    }

    fn image_leaf(&self) -> Result<usize, Error> {
        let is_image = |leaf: &Leaf| leaf.kind == BYTE_ARRAY && !leaf.repeated;
        let nested = |leaf: &Leaf| leaf.path.len() == 2 && leaf.path[1] == "bytes";
        let named = |leaf: &Leaf| {
            leaf.path.len() == 1 && matches!(leaf.path[0].as_str(), "img" | "image" | "bytes")
        };
        self.leaves
            .iter()
            .position(|l| is_image(l) && (nested(l) || named(l)))
            .ok_or_else(|| {
                Error::format(
                    &self.origin,
                    FORMAT,
                    "it has no image column (a struct with `bytes`, or binary `img` or `image`)",
                )
            })
    }

    /// Index of the label leaf; `None` when there is none and none was asked for.
    fn label_leaf(&self, wanted: Option<&str>) -> Result<Option<usize>, Error> {
        let integer = |leaf: &Leaf| {
            matches!(leaf.kind, INT32 | INT64) && leaf.path.len() == 1 && !leaf.repeated
        };
        let by_name = |name: &str| {
            self.leaves
                .iter()
                .position(|l| integer(l) && l.path[0] == name)
        };
        if let Some(name) = wanted {
            return by_name(name).map(Some).ok_or_else(|| {
                let known: Vec<_> = self
                    .leaves
                    .iter()
                    .filter(|l| integer(l))
                    .map(|l| l.path[0].clone())
                    .collect();
                Error::format(
                    &self.origin,
                    FORMAT,
                    format!("it has no integer column {name:?}, only {known:?}"),
                )
            });
        }
        let only = || {
            let mut all = (0..self.leaves.len()).filter(|&i| integer(&self.leaves[i]));
            all.next().filter(|_| all.next().is_none())
        };
        Ok(LABEL_COLUMNS.into_iter().find_map(by_name).or_else(only))
    }

    /// Class names in the hub's metadata.
    fn class_names(&self, column: &str) -> Option<Vec<String>> {
        let names = self
            .hub_metadata
            .as_ref()?
            .get("info")?
            .get("features")?
            .get(column)?
            .get("names")?
            .as_array()?;
        names
            .iter()
            .map(|n| n.as_str().map(str::to_string))
            .collect()
    }

    /// One column of all row groups, in order.
    fn column<T: Send>(
        &self,
        leaf: usize,
        values: impl Fn(PageValues<'a>) -> Result<Vec<T>, &'static str> + Sync,
    ) -> Result<Vec<T>, Error> {
        let broken = |detail: &str| Error::format(&self.origin, FORMAT, detail);
        let chunks: Vec<Vec<T>> = self
            .groups
            .par_iter()
            .map(|group| {
                let chunk = group
                    .list(1)
                    .and_then(|c| c.get(leaf))
                    .ok_or_else(|| broken("a row group lacks a column"))?;
                let metadata = chunk
                    .field(3)
                    .ok_or_else(|| broken("a column lacks its metadata"))?;
                self.chunk(metadata, &self.leaves[leaf], &values)
                    .map_err(|detail| {
                        broken(&format!(
                            "column {}: {detail}",
                            self.leaves[leaf].path.join(".")
                        ))
                    })
            })
            .collect::<Result<_, _>>()?;
        let all: Vec<T> = chunks.into_iter().flatten().collect();
        if all.len() != self.n_rows {
            return Err(broken(&format!(
                "a column has {} values for {} rows",
                all.len(),
                self.n_rows
            )));
        }
        Ok(all)
    }

    fn chunk<T>(
        &self,
        metadata: &Value<'a>,
        leaf: &Leaf,
        values: &impl Fn(PageValues<'a>) -> Result<Vec<T>, &'static str>,
    ) -> Result<Vec<T>, &'static str> {
        if metadata.int(1) != Some(leaf.kind) {
            return Err("its type differs from the schema's");
        }
        let codec = metadata.int(4).ok_or("its codec is missing")?;
        let n_values = metadata
            .int(5)
            .and_then(|n| usize::try_from(n).ok())
            .ok_or("its length is missing")?;
        if n_values > self.n_rows {
            return Err("it has more values than the file has rows");
        }
        let data_start = metadata.int(9).ok_or("its offset is missing")?;
        let start = match metadata.int(11) {
            Some(dictionary) if dictionary > 0 && dictionary < data_start => dictionary,
            _ => data_start,
        };
        let mut position = usize::try_from(start).map_err(|_| "its offset is negative")?;
        let mut dictionary: Option<Arc<Cow<'a, [u8]>>> = None;
        let mut out = Vec::new();
        while out.len() < n_values {
            let rest = self
                .bytes
                .get(position..)
                .ok_or("a page lies outside the file")?;
            let (header, header_length) =
                thrift::read_struct(rest, "").map_err(|_| "a page header is malformed")?;
            let size = |id| header.int(id).and_then(|s| usize::try_from(s).ok());
            let stored_length = size(3).ok_or("a page has no size")?;
            let full_length = size(2).ok_or("a page has no size")?;
            let stored = rest
                .get(header_length..)
                .and_then(|r| r.get(..stored_length))
                .ok_or("a page ends outside the file")?;
            position += header_length + stored_length;
            let page_values = |n: Option<i64>| {
                n.and_then(|n| usize::try_from(n).ok())
                    .filter(|&n| n <= n_values)
                    .ok_or("a page has more values than its column")
            };
            match header.int(1) {
                Some(2) => {
                    let page = Arc::new(unpack(stored, full_length, codec)?);
                    dictionary = Some(page);
                }
                Some(0) => {
                    let page_header = header.field(5).ok_or("a data page lacks its header")?;
                    let n = page_values(page_header.int(1))?;
                    let page = unpack(stored, full_length, codec)?;
                    let mut from = 0;
                    if leaf.max_definition > 0 {
                        let length = page
                            .first_chunk::<4>()
                            .ok_or("a page ends within its levels")?;
                        let length = u32::from_le_bytes(*length) as usize;
                        let end = length.checked_add(4).ok_or("levels overflow")?;
                        let levels = page.get(4..end).ok_or("a page ends within its levels")?;
                        all_defined(levels, leaf.max_definition, n)?;
                        from = end;
                    }
                    let encoding = page_header.int(2);
                    out.extend(values(PageValues {
                        page: Arc::new(page),
                        from,
                        n,
                        encoding,
                        dictionary: dictionary.clone(),
                    })?);
                }
                Some(3) => {
                    let page_header = header.field(8).ok_or("a data page lacks its header")?;
                    let n = page_values(page_header.int(1))?;
                    let level_bytes = |id| {
                        page_header
                            .int(id)
                            .and_then(|l| usize::try_from(l).ok())
                            .ok_or("levels have no length")
                    };
                    let (definition, repetition) = (level_bytes(5)?, level_bytes(6)?);
                    let split = definition
                        .checked_add(repetition)
                        .ok_or("levels overflow")?;
                    if page_header.int(2).unwrap_or(0) != 0 {
                        return Err("a row is null");
                    }
                    if split > stored.len() {
                        return Err("a page ends within its levels");
                    }
                    let compressed = !matches!(page_header.field(7), Some(Value::Bool(false)));
                    let full = full_length
                        .checked_sub(split)
                        .ok_or("a page is shorter than its levels")?;
                    let page = unpack(&stored[split..], full, if compressed { codec } else { 0 })?;
                    let encoding = page_header.int(4);
                    out.extend(values(PageValues {
                        page: Arc::new(page),
                        from: 0,
                        n,
                        encoding,
                        dictionary: dictionary.clone(),
                    })?);
                }
                // Index pages carry no values.
                Some(1) => {}
                _ => return Err("a page has an unknown type"),
            }
            if stored_length == 0 && header_length == 0 {
                return Err("a page is empty");
            }
        }
        if out.len() == n_values {
            Ok(out)
        } else {
            Err("its pages hold more values than it declares")
        }
    }

    /// The first encoded image; `None` for a file without rows.
    pub(crate) fn first_image(&self) -> Result<Option<Vec<u8>>, Error> {
        let leaf = self.image_leaf()?;
        let metadata = self
            .groups
            .first()
            .and_then(|g| g.list(1)?.get(leaf)?.field(3));
        let Some(metadata) = metadata else {
            return Ok(None);
        };
        let images = self
            .chunk(metadata, &self.leaves[leaf], &PageValues::blobs)
            .map_err(|detail| Error::format(&self.origin, FORMAT, detail))?;
        Ok(images.first().map(|image| image.as_slice().to_vec()))
    }

    /// Encoded images, in row order.
    pub(crate) fn images(&self) -> Result<Vec<Blob<'a>>, Error> {
        self.column(self.image_leaf()?, PageValues::blobs)
    }

    /// Labels as stored, in row order.
    pub(crate) fn labels(&self, column: Option<&str>) -> Result<Option<(String, Vec<i64>)>, Error> {
        let Some(leaf) = self.label_leaf(column)? else {
            return Ok(None);
        };
        let wide = self.leaves[leaf].kind == INT64;
        let labels = self.column(leaf, |page| page.integers(wide))?;
        Ok(Some((self.leaves[leaf].path[0].clone(), labels)))
    }

    /// Labels written as words: the words in alphabetical order, and the place of each row's word among them.
    fn words(&self) -> Result<Option<Words>, Error> {
        let leaf = self.leaves.iter().position(|leaf| {
            leaf.kind == BYTE_ARRAY
                && !leaf.repeated
                && matches!(&leaf.path[..], [name] if LABEL_COLUMNS.contains(&name.as_str()))
        });
        let Some(leaf) = leaf else {
            return Ok(None);
        };
        let words: Vec<String> = self
            .column(leaf, PageValues::blobs)?
            .iter()
            .map(|word| String::from_utf8_lossy(word.as_slice()).into_owned())
            .collect();
        let mut classes = words.clone();
        classes.sort();
        classes.dedup();
        let labels = words
            .iter()
            .map(|word| classes.binary_search(word).unwrap_or_default())
            .collect();
        Ok(Some(Words { classes, labels }))
    }
}

fn read_schema(
    schema: &[Value<'_>],
    next: &mut usize,
    path: &mut Vec<String>,
    definition: u32,
    repeated: bool,
    leaves: &mut Vec<Leaf>,
) -> Option<()> {
    let root = *next == 0;
    let element = schema.get(*next)?;
    *next += 1;
    let (definition, repeated) = if root {
        (0, false)
    } else {
        path.push(String::from_utf8_lossy(element.bytes(4)?).into_owned());
        let repetition = element.int(3).unwrap_or(0);
        (
            definition + u32::from(repetition != 0),
            repeated || repetition == 2,
        )
    };
    if path.len() > 8 {
        return None;
    }
    match element.int(5).filter(|&n| n > 0) {
        Some(children) => {
            for _ in 0..children {
                read_schema(schema, next, path, definition, repeated, leaves)?;
            }
        }
        None => leaves.push(Leaf {
            path: path.clone(),
            kind: element.int(1)?,
            max_definition: definition,
            repeated,
        }),
    }
    if !root {
        path.pop();
    }
    Some(())
}

/// Decodes the parquet file `bytes` into a set.
///
/// Class names come from the registry, else from the hub's metadata in the file, else they are numbers.
/// A label column of -1 alone (the hub's mark for hidden labels) gives an unlabelled set.
///
/// # Errors
/// [`Error::Format`], [`Error::Image`], [`Error::TooLarge`], [`Error::Inconsistent`].
pub fn read(
    bytes: &[u8],
    name: &str,
    part: Part,
    origin: &str,
    options: &Options,
) -> Result<ImageSet, Error> {
    let file = File::open(bytes, origin)?;
    let images = file.images()?;
    let encoded: Vec<&[u8]> = images.iter().map(Blob::as_slice).collect();
    let (shape, pixels) = decode::decode_all(
        &encoded,
        origin,
        options.shape,
        options.fit,
        &options.limits,
    )?;
    let labels = file.labels(options.label_column.as_deref())?;
    if labels.is_none()
        && let Some(Words { classes, labels }) = file.words()?
    {
        return ImageSet::new(name, part, shape, pixels, Some(labels), classes);
    }
    let Some((column, labels)) = labels.filter(|(_, labels)| labels.iter().any(|&l| l != -1))
    else {
        return ImageSet::new(name, part, shape, pixels, None, Vec::new());
    };
    let labels: Vec<usize> = labels
        .iter()
        .map(|&l| usize::try_from(l).ok().filter(|&l| l < 1 << 16))
        .collect::<Option<_>>()
        .ok_or_else(|| Error::inconsistent(name, "a label is negative or above 65535"))?;
    let mut classes = registry::classes_or_numbers(name, &labels);
    if let Some(names) = file
        .class_names(&column)
        .filter(|n| n.len() >= classes.len())
    {
        classes = names;
    }
    ImageSet::new(name, part, shape, pixels, Some(labels), classes)
}

/// As [`read`], from a file, which is mapped rather than read.
///
/// # Errors
/// As [`read`], and [`Error::Io`].
pub fn read_file(
    path: &Path,
    name: &str,
    part: Part,
    options: &Options,
) -> Result<ImageSet, Error> {
    let map = crate::map::open(path)?;
    read(&map, name, part, &path.display().to_string(), options)
}
