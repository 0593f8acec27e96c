//! Columns of a parquet file, read a row group at a time and in parallel.

use std::borrow::Cow;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::metadata::{ColumnMeta, FORMAT, FileMeta, Kind, Leaf, Page, PageHeader};
use super::pages::{Fault, PageValues, all_defined, unpack};
use crate::shared::SharedBytes;
use crate::{Error, input};

/// Names of image columns, the likeliest first; each may be binary or a struct with `bytes`.
const IMAGE_COLUMNS: [&str; 3] = ["image", "img", "bytes"];
/// Names of label columns, the likeliest first.
const LABEL_COLUMNS: [&str; 3] = ["label", "fine_label", "labels"];

/// Where a file's bytes are.
enum Bytes<'a> {
    Memory(&'a [u8]),
    File(Mutex<std::fs::File>, u64),
}

impl Bytes<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, length) => *length,
        }
    }

    /// `length` bytes from `start` on, which must lie within the file.
    fn range(&self, start: u64, length: u64) -> std::io::Result<Cow<'_, [u8]>> {
        let outside = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let end = start.checked_add(length).filter(|&end| end <= self.len());
        let end = end.ok_or_else(outside)?;
        match self {
            Self::Memory(bytes) => Ok(Cow::Borrowed(&bytes[start as usize..end as usize])),
            Self::File(file, _) => {
                let mut bytes = vec![0; length as usize];
                // A reader that panicked has left no state behind: every read seeks first.
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(start))?;
                file.read_exact(&mut bytes)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }
}

/// A parquet file, its footer read.
pub(crate) struct File<'a> {
    bytes: Bytes<'a>,
    origin: String,
    meta: FileMeta,
}

/// Labels that were words: the words, and each row's index among them.
pub(super) struct Words {
    pub(super) classes: Vec<String>,
    pub(super) labels: Vec<usize>,
}

impl File<'static> {
    /// Opens a file; its columns are read when they are asked for.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let (file, length) = input::open(path)?;
        Self::with_footer(
            Bytes::File(Mutex::new(file), length),
            path.display().to_string(),
        )
    }
}

impl<'a> File<'a> {
    pub(crate) fn in_memory(bytes: &'a [u8], origin: &str) -> Result<Self, Error> {
        Self::with_footer(Bytes::Memory(bytes), origin.to_string())
    }

    fn with_footer(bytes: Bytes<'a>, origin: String) -> Result<Self, Error> {
        const MAGIC: &[u8] = b"PAR1";
        let broken = |detail: &str| Error::format(&origin, FORMAT, detail);
        let io = |source| Error::io("read", Path::new(&origin))(source);
        let length = bytes.len();
        if length < 12 {
            return Err(broken("it is shorter than its frame"));
        }
        let end = bytes.range(length - 8, 8).map_err(io)?;
        if *bytes.range(0, 4).map_err(io)? != *MAGIC || end[4..] != *MAGIC {
            return Err(broken(
                "it does not begin and end with PAR1 (is it truncated?)",
            ));
        }
        let footer = u64::from(u32::from_le_bytes([end[0], end[1], end[2], end[3]]));
        let start = (length - 8)
            .checked_sub(footer)
            .ok_or_else(|| broken("its footer is longer than the file"))?;
        let meta = FileMeta::parse(&bytes.range(start, footer).map_err(io)?).map_err(broken)?;
        // Every row has an image of more than a byte.
        if meta.n_rows as u64 > length {
            return Err(broken("it declares more rows than it has bytes"));
        }
        Ok(Self {
            bytes,
            origin,
            meta,
        })
    }

    fn leaf_named(&self, name: &str, is: impl Fn(&Leaf) -> bool) -> Option<usize> {
        let mut leaves = self.meta.leaves.iter();
        leaves.position(|leaf| leaf.path == [name] && !leaf.repeated && is(leaf))
    }

    pub(crate) fn has_integer_column(&self, name: &str) -> bool {
        self.leaf_named(name, |leaf| leaf.kind.is_integer())
            .is_some()
    }

    /// The column of encoded images: by its name, else the only struct with `bytes`.
    fn image_leaf(&self) -> Result<usize, Error> {
        let binary = |leaf: &Leaf| leaf.kind == Kind::ByteArray && !leaf.repeated;
        let nested = |leaf: &Leaf| binary(leaf) && matches!(&leaf.path[..], [_, b] if b == "bytes");
        let of_column = |name: &str| {
            self.meta.leaves.iter().position(|leaf| {
                leaf.path[0] == name && (nested(leaf) || leaf.path.len() == 1 && binary(leaf))
            })
        };
        if let Some(leaf) = IMAGE_COLUMNS.into_iter().find_map(of_column) {
            return Ok(leaf);
        }
        let all: Vec<usize> = (0..self.meta.leaves.len())
            .filter(|&i| nested(&self.meta.leaves[i]))
            .collect();
        match all[..] {
            [only] => Ok(only),
            [] => Err(Error::unsupported(
                &self.origin,
                "it has no image column (a struct with `bytes`, or binary `img` or `image`); rename or rewrite the column",
            )),
            _ => {
                let names: Vec<&str> = all
                    .iter()
                    .map(|&i| self.meta.leaves[i].path[0].as_str())
                    .collect();
                Err(Error::unsupported(
                    &self.origin,
                    format!(
                        "it has several image columns ({}); name the one to read `image`",
                        names.join(", ")
                    ),
                ))
            }
        }
    }

    /// Index of the label leaf; `None` when there is none and none was asked for.
    fn label_leaf(&self, wanted: Option<&str>) -> Result<Option<usize>, Error> {
        let integer = |leaf: &Leaf| leaf.kind.is_integer();
        let all: Vec<usize> = (0..self.meta.leaves.len())
            .filter(|&i| {
                let leaf = &self.meta.leaves[i];
                integer(leaf) && leaf.path.len() == 1 && !leaf.repeated
            })
            .collect();
        if let Some(name) = wanted {
            return self.leaf_named(name, integer).map(Some).ok_or_else(|| {
                let known: Vec<&str> = all
                    .iter()
                    .map(|&i| self.meta.leaves[i].path[0].as_str())
                    .collect();
                Error::unsupported(
                    &self.origin,
                    format!("it has no integer column {name:?}, only {known:?}; name one of them"),
                )
            });
        }
        let by_name = |name| self.leaf_named(name, integer);
        let only = || match all[..] {
            [only] => Some(only),
            _ => None,
        };
        Ok(LABEL_COLUMNS.into_iter().find_map(by_name).or_else(only))
    }

    /// Class names in the hub's metadata.
    pub(super) fn class_names(&self, column: &str) -> Option<Vec<String>> {
        let hub = self.meta.hub.as_ref()?;
        let names = hub
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
        values: impl Fn(PageValues) -> Result<Vec<T>, Fault> + Sync,
    ) -> Result<Vec<T>, Error> {
        let broken = |detail: &str| Error::format(&self.origin, FORMAT, detail);
        let columns = self
            .meta
            .groups
            .iter()
            .map(|group| group.get(leaf))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| broken("a row group lacks a column"))?;
        let stored = columns
            .iter()
            .try_fold(0u64, |sum, column| sum.checked_add(column.stored_length));
        if stored.is_none_or(|stored| stored > self.bytes.len()) {
            return Err(broken("a column is longer than the file"));
        }
        let mut first_rows = Vec::with_capacity(columns.len());
        let mut n_rows = 0usize;
        for column in &columns {
            first_rows.push(n_rows);
            n_rows = n_rows.saturating_add(column.n_values);
        }
        if n_rows != self.meta.n_rows {
            return Err(broken(&format!(
                "a column has {n_rows} values for {} rows",
                self.meta.n_rows
            )));
        }
        let chunks: Vec<Vec<T>> = columns
            .into_par_iter()
            .zip(first_rows)
            .map(|(column, first_row)| {
                self.chunk(column, &self.meta.leaves[leaf], &values)
                    .map_err(|fault| self.explain(fault, leaf, first_row))
            })
            .collect::<Result<_, _>>()?;
        Ok(chunks.into_iter().flatten().collect())
    }

    fn explain(&self, fault: Fault, leaf: usize, first_row: usize) -> Error {
        let column = self.meta.leaves[leaf].name();
        match fault {
            Fault::Broken(detail) => {
                Error::format(&self.origin, FORMAT, format!("column {column}: {detail}"))
            }
            Fault::Unsupported(detail) => {
                Error::unsupported(&self.origin, format!("column {column}: {detail}"))
            }
            Fault::Null(position) => Error::unsupported(
                &self.origin,
                format!(
                    "row {} has nothing in column {column} (an image that is only a path, a row without label?); embed the images, or remove the row",
                    first_row + position
                ),
            ),
            Fault::Io(source) => Error::io("read", Path::new(&self.origin))(source),
        }
    }

    /// The values of one column of one row group.
    fn chunk<T>(
        &self,
        column: &ColumnMeta,
        leaf: &Leaf,
        values: &impl Fn(PageValues) -> Result<Vec<T>, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let out = self.first_values(column, leaf, values, column.n_values, column.stored_length)?;
        if out.len() == column.n_values {
            Ok(out)
        } else {
            Err("its pages hold more values than it declares".into())
        }
    }

    /// The values of the first pages of a column, at least `enough`, from no more than its first `window` bytes.
    fn first_values<T>(
        &self,
        column: &ColumnMeta,
        leaf: &Leaf,
        values: &impl Fn(PageValues) -> Result<Vec<T>, Fault>,
        enough: usize,
        window: u64,
    ) -> Result<Vec<T>, Fault> {
        if column.kind != leaf.kind {
            return Err("its type differs from the schema's".into());
        }
        let end = column.start.checked_add(column.stored_length);
        if end.is_none_or(|end| end > self.bytes.len()) {
            return Err("its pages lie outside the file".into());
        }
        let stored = self
            .bytes
            .range(column.start, window.min(column.stored_length))
            .map_err(Fault::Io)?;
        let chunk = SharedBytes::from(stored.into_owned());
        let mut at = 0;
        let mut dictionary = None;
        let mut out = Vec::new();
        while out.len() < enough.min(column.n_values) {
            let (header, header_length) = PageHeader::parse(&chunk[at..])?;
            let start = at + header_length;
            let page = start
                .checked_add(header.stored_length)
                .and_then(|end| chunk.slice(start..end))
                .ok_or("a page ends outside its column")?;
            at = start + header.stored_length;
            match header.page {
                Page::Index => {}
                Page::Dictionary => {
                    dictionary = Some(unpack(page, header.full_length, column.codec)?);
                }
                Page::Data { n_values, .. } | Page::DataV2 { n_values, .. } => {
                    if n_values > column.n_values - out.len() {
                        return Err("its pages hold more values than it declares".into());
                    }
                    let page = data_page(&header, page, leaf, column, dictionary.clone())
                        .and_then(values)
                        .map_err(|fault| match fault {
                            Fault::Null(position) => Fault::Null(out.len() + position),
                            other => other,
                        })?;
                    out.extend(page);
                }
            }
        }
        Ok(out)
    }

    /// The first encoded image; `None` for a file without rows.
    pub(crate) fn first_image(&self) -> Result<Option<Vec<u8>>, Error> {
        let leaf = self.image_leaf()?;
        let Some(column) = self.meta.groups.first().and_then(|group| group.get(leaf)) else {
            return Ok(None);
        };
        // A page holds a megabyte or two, a row group perhaps the whole set.
        const WINDOW: u64 = 4 << 20;
        let first = |window| {
            self.first_values(
                column,
                &self.meta.leaves[leaf],
                &PageValues::blobs,
                1,
                window,
            )
        };
        let images = first(WINDOW)
            .or_else(|_| first(u64::MAX))
            .map_err(|fault| self.explain(fault, leaf, 0))?;
        Ok(images.first().map(|image| image.to_vec()))
    }

    /// Encoded images, in row order.
    pub(super) fn images(&self) -> Result<Vec<SharedBytes>, Error> {
        self.column(self.image_leaf()?, PageValues::blobs)
    }

    /// Labels as stored, in row order, and the name of their column.
    pub(crate) fn labels(&self, column: Option<&str>) -> Result<Option<(String, Vec<i64>)>, Error> {
        let Some(leaf) = self.label_leaf(column)? else {
            return Ok(None);
        };
        let wide = self.meta.leaves[leaf].kind == Kind::Int64;
        let labels = self.column(leaf, |page| page.integers(wide))?;
        Ok(Some((self.meta.leaves[leaf].name(), labels)))
    }

    /// Labels written as words: the words in alphabetical order, and the place of each row's word among them.
    pub(super) fn words(&self) -> Result<Option<Words>, Error> {
        let words = |name| self.leaf_named(name, |leaf| leaf.kind == Kind::ByteArray);
        let Some(leaf) = LABEL_COLUMNS.into_iter().find_map(words) else {
            return Ok(None);
        };
        let words: Vec<String> = self
            .column(leaf, PageValues::blobs)?
            .iter()
            .map(|word| String::from_utf8_lossy(word).into_owned())
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

/// A data page, unpacked and without its levels, all of which must say that there is a value.
fn data_page(
    header: &PageHeader,
    stored: SharedBytes,
    leaf: &Leaf,
    column: &ColumnMeta,
    dictionary: Option<SharedBytes>,
) -> Result<PageValues, Fault> {
    let (bytes, n, encoding) = match header.page {
        Page::Data { n_values, encoding } => {
            let page = unpack(stored, header.full_length, column.codec)?;
            let values = if leaf.max_definition == 0 {
                page
            } else {
                let length = page
                    .first_chunk::<4>()
                    .ok_or("a page ends within its levels")?;
                let end = 4 + u32::from_le_bytes(*length) as usize;
                let levels = page.get(4..end).ok_or("a page ends within its levels")?;
                all_defined(levels, leaf.max_definition, n_values)?;
                page.slice(end..page.len())
                    .ok_or("a page ends within its levels")?
            };
            (values, n_values, encoding)
        }
        Page::DataV2 {
            n_values,
            n_nulls,
            encoding,
            definition_length,
            repetition_length,
            compressed,
        } => {
            let levels_end = repetition_length
                .checked_add(definition_length)
                .filter(|&end| end <= stored.len())
                .ok_or("a page ends within its levels")?;
            if n_nulls > 0 {
                let levels = &stored[repetition_length..levels_end];
                all_defined(levels, leaf.max_definition, n_values)?;
                return Err("a page declares nulls that its levels do not have".into());
            }
            let full = header
                .full_length
                .checked_sub(levels_end)
                .ok_or("a page is shorter than its levels")?;
            let values = stored
                .slice(levels_end..stored.len())
                .ok_or("a page ends within its levels")?;
            let values = if compressed {
                unpack(values, full, column.codec)?
            } else {
                values
            };
            (values, n_values, encoding)
        }
        Page::Index | Page::Dictionary => return Err("a page holds no values".into()),
    };
    Ok(PageValues {
        bytes,
        n,
        encoding,
        dictionary,
    })
}
