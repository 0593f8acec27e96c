//! Rows one after the other, of sets that need not fit into memory.

mod npy_rows;
mod text_rows;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use collapse_numeric::Matrix;
use ndarray::{Array2, Axis, concatenate};

use crate::error::{Error, Result};
use crate::file::{Reading, ending, open};
use crate::set::FeatureSet;
use crate::{npy, whole};
use npy_rows::Arrays;
use text_rows::{Columns, Record, UNKNOWN, parse_csv, parse_json};

/// Rows of a part, where as many are at hand.
const PART_ROWS: usize = 1024;
/// Numbers of a part.
const PART_NUMBERS: usize = 1 << 18;
/// Bytes that are read at once.
const BUFFER: usize = 1 << 18;
/// UTF-8's mark of the byte order.
const BYTE_ORDER: [u8; 3] = [0xef, 0xbb, 0xbf];
/// Bytes of a line of text.
const LONGEST_LINE: u64 = 1 << 28;

/// The rows of a feature set in parts of at most 1,024, each a feature set of its own.
///
/// A part ends early where the next row is not at hand yet, so that rows from a pipe come through as they are written.
/// Memory is that of one part, whatever the length of the stream; only `.safetensors`, `.npz`, folders and `.npy`
/// arrays in Fortran order are read whole, as one part. What comes before a row that is wrong comes through.
pub struct Rows(Source);

enum Source {
    Parts(Box<Parts>),
    Whole(Option<Box<FeatureSet>>),
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rows")
    }
}

impl Rows {
    /// The rows of a file of any kind that [`read`](crate::read()) knows.
    ///
    /// # Errors
    /// As [`read`](crate::read()); for what is wrong further on, the iterator's items tell it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_as(path.as_ref(), Reading::default())
    }

    /// As [`open`](Self::open); labels are left out, whatever they are.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for labels.
    pub fn open_unlabelled(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_as(path.as_ref(), Reading::without_labels())
    }

    fn open_as(path: &Path, reading: Reading) -> Result<Self> {
        let form = match ending(path).as_deref() {
            Some("npy") if path.is_file() && !column_major(path)? => Form::Npy(Arrays::default()),
            Some("csv") if !path.is_dir() => Form::Csv(None),
            Some("jsonl" | "ndjson") if !path.is_dir() => Form::Json,
            _ => {
                let whole = whole::load(path, reading)?;
                return Ok(Self(Source::Whole(Some(Box::new(whole)))));
            }
        };
        let (file, _) = open(path)?;
        let mut parts = Parts::new(path.display().to_string(), Box::new(file), Some(form));
        parts.unlabelled = reading.unlabelled;
        Ok(Self(Source::Parts(Box::new(parts))))
    }

    /// The rows of a stream, which messages call `origin`: arrays of NumPy one after the other, each [N, D] or one row
    /// \[D\]; JSON lines; or CSV. The first byte that is not blank tells which.
    ///
    /// A JSON line is a list of features, or `{"features": […], "logits": […], "label": 3}` of which only the features
    /// must be there. CSV without a header holds features alone; a header names the columns `feature…`, `logit…` and
    /// `label`, others are ignored. Columns whose names end in numbers are taken in the order of these, all others as they
    /// stand. A first line 0,1,2,… of three columns or more, as pandas writes, is a header of features. A label of −1, by which
    /// some exporters say that there is no class, becomes `usize::MAX`, which is none.
    pub fn from_reader(origin: &str, reader: impl Read + Send + 'static) -> Self {
        let parts = Parts::new(origin.to_owned(), Box::new(reader), None);
        Self(Source::Parts(Box::new(parts)))
    }

    /// As [`from_reader`](Self::from_reader); labels are left out, whatever they are.
    pub fn from_reader_unlabelled(origin: &str, reader: impl Read + Send + 'static) -> Self {
        let mut parts = Parts::new(origin.to_owned(), Box::new(reader), None);
        parts.unlabelled = true;
        Self(Source::Parts(Box::new(parts)))
    }
}

impl Iterator for Rows {
    type Item = Result<FeatureSet>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Source::Whole(set) => set.take().map(|set| Ok(*set)),
            Source::Parts(parts) => parts.next().transpose(),
        }
    }
}

/// The whole of a file of rows.
pub(crate) fn load(path: &Path, reading: Reading) -> Result<FeatureSet> {
    let mut parts = Vec::new();
    let mut bytes = 0u64;
    let limit = reading.limits.set_bytes;
    for part in Rows::open_as(path, reading)? {
        let part = part?;
        let logits = part.logits.as_ref().map_or(0, Array2::len);
        bytes += 8 * (part.n_samples() * part.n_features() + logits) as u64;
        if bytes > limit {
            return Err(Error::TooLarge {
                file: path.display().to_string(),
                tensor: "features".to_owned(),
                bytes,
                limit,
            });
        }
        parts.push(part);
    }
    let set = FeatureSet::stacked(parts).ok_or_else(|| Error::Row {
        origin: path.display().to_string(),
        row: 0,
        reason: "there are no rows".to_owned(),
    })?;
    set.with_known_labels(path)
}

fn column_major(path: &Path) -> Result<bool> {
    let (file, _) = open(path)?;
    // What is wrong with the header is told when the rows are read.
    Ok(npy::header(&mut BufReader::new(file)).is_ok_and(|header| header.column_major))
}

impl FeatureSet {
    /// The rows of all parts, one below the other; `None` of no parts. Head and metadata are those of the first part;
    /// logits and labels are there where all parts have them, and all features and logits must have one width.
    #[must_use]
    pub fn stacked(parts: Vec<Self>) -> Option<Self> {
        if parts.len() < 2 {
            return parts.into_iter().next();
        }
        let stack = |arrays: Vec<&Array2<f64>>| {
            let views: Vec<_> = arrays.iter().map(|array| array.view()).collect();
            concatenate(Axis(0), &views).ok()
        };
        let features: Vec<&Matrix> = parts.iter().map(|part| &part.features).collect();
        let features = Matrix::stacked(&features)?;
        let logits: Option<Vec<_>> = parts.iter().map(|part| part.logits.as_ref()).collect();
        let labels: Option<Vec<_>> = parts.iter().map(|part| part.labels.as_deref()).collect();
        let (logits, labels) = (logits.and_then(stack), labels.map(|labels| labels.concat()));
        let first = parts.into_iter().next()?;
        Some(Self {
            features,
            logits,
            labels,
            ..first
        })
    }

    /// The first `n` of its rows.
    fn first_rows(mut self, n: usize) -> Self {
        self.features = self.features.view().slice(0..n).to_matrix();
        if let Some(logits) = &mut self.logits {
            *logits = logits.view().split_at(Axis(0), n).0.to_owned();
        }
        if let Some(labels) = &mut self.labels {
            labels.truncate(n);
        }
        self
    }

    /// A set whose labels are all −1 has none; among others −1 is no class.
    fn with_known_labels(mut self, path: &Path) -> Result<Self> {
        let unknown = |label: &usize| *label == UNKNOWN;
        let labels = self.labels.as_deref().unwrap_or_default();
        let Some(row) = labels.iter().position(unknown) else {
            return Ok(self);
        };
        if !labels.iter().all(unknown) {
            return Err(Error::NotAClass {
                file: path.display().to_string(),
                row,
                label: -1,
            });
        }
        self.labels = None;
        Ok(self)
    }
}

enum Form {
    Npy(Arrays),
    Json,
    /// The columns, once the first line is read.
    Csv(Option<Columns>),
}

struct Parts {
    origin: String,
    reader: BufReader<Box<dyn Read + Send>>,
    form: Option<Form>,
    /// Rows before the next.
    row: usize,
    /// Numbers of features and logits of a row.
    widths: Option<(usize, usize)>,
    /// Whether rows have a label.
    labelled: Option<bool>,
    unlabelled: bool,
    /// What is wrong with the row behind the last part.
    wrong: Option<Error>,
    ended: bool,
}

impl Parts {
    fn new(origin: String, reader: Box<dyn Read + Send>, form: Option<Form>) -> Self {
        Self {
            origin,
            reader: BufReader::with_capacity(BUFFER, reader),
            form,
            row: 0,
            widths: None,
            labelled: None,
            unlabelled: false,
            wrong: None,
            ended: false,
        }
    }

    fn next(&mut self) -> Result<Option<FeatureSet>> {
        if self.ended {
            return Ok(None);
        }
        let part = match self.wrong.take() {
            Some(error) => Err(error),
            None => self.part(),
        };
        if !matches!(part, Ok(Some(_))) {
            self.ended = true;
        }
        let Some(part) = part? else {
            return Ok(None);
        };
        let part = self.finite(part)?;
        self.row += part.n_samples();
        Ok(Some(part))
    }

    /// The rows before the first that holds a NaN or an infinity, which comes next; an error where that is the first.
    fn finite(&mut self, mut part: FeatureSet) -> Result<FeatureSet> {
        loop {
            match part.check(&self.origin) {
                Ok(()) => return Ok(part),
                Err(error @ Error::NotFinite { row: 1.., .. }) => {
                    if let Error::NotFinite { row, .. } = &error {
                        part = part.first_rows(*row);
                    }
                    self.wrong = Some(shifted(error, self.row));
                }
                Err(error) => return Err(shifted(error, self.row)),
            }
        }
    }

    fn part(&mut self) -> Result<Option<FeatureSet>> {
        if self.form.is_none() {
            let first = first_byte(&mut self.reader);
            let first = first.map_err(|error| unread(&self.origin, self.row, &error))?;
            self.form = Some(match first {
                None => return Ok(None),
                Some(0x93) => Form::Npy(Arrays::default()),
                Some(b'[' | b'{') => Form::Json,
                Some(_) => Form::Csv(None),
            });
        }
        match &mut self.form {
            Some(Form::Npy(arrays)) => {
                let found = arrays.rows(&mut self.reader, PART_ROWS, PART_NUMBERS);
                let found = found.map_err(|reason| wrong(&self.origin, self.row, reason))?;
                let Some(features) = found else {
                    return Ok(None);
                };
                self.check_widths((features.ncols(), 0), self.row)?;
                Ok(Some(FeatureSet::new(features)))
            }
            Some(_) => self.lines(),
            None => Ok(None),
        }
    }

    /// The rows of lines at hand.
    fn lines(&mut self) -> Result<Option<FeatureSet>> {
        let mut part = TextPart::default();
        let mut line = Vec::new();
        while part.n < PART_ROWS && part.features.len() < PART_NUMBERS {
            if part.n > 0 && !self.reader.buffer().contains(&b'\n') {
                break;
            }
            let row = self.row + part.n;
            line.clear();
            let mut bounded = (&mut self.reader).take(LONGEST_LINE);
            let read = bounded.read_until(b'\n', &mut line);
            if read.map_err(|error| unread(&self.origin, row, &error))? == 0 {
                break;
            }
            if line.len() as u64 == LONGEST_LINE && line.last() != Some(&b'\n') {
                let reason = format!("the line has more than {LONGEST_LINE} bytes");
                return Err(wrong(&self.origin, row, reason));
            }
            if line.iter().all(is_blank) {
                continue;
            }
            match self.record(&line, row) {
                Ok(None) => {}
                Ok(Some(record)) => part.push(record),
                Err(error) if part.n == 0 => return Err(error),
                Err(error) => {
                    self.wrong = Some(error);
                    break;
                }
            }
        }
        part.into_set()
            .map_err(|reason| wrong(&self.origin, self.row, reason))
    }

    /// The row of a line; none of a header.
    fn record(&mut self, line: &[u8], row: usize) -> Result<Option<Record>> {
        let labelled = !self.unlabelled;
        let record = match &mut self.form {
            Some(Form::Csv(columns)) => parse_csv(line, columns, labelled),
            _ => parse_json(line, labelled).map(Some),
        };
        let record = record.map_err(|reason| wrong(&self.origin, row, reason))?;
        if let Some(record) = &record {
            self.check_widths((record.features.len(), record.logits.len()), row)?;
            let labelled = record.label.is_some();
            if labelled != *self.labelled.get_or_insert(labelled) {
                let reason = match labelled {
                    true => "it has a label, the rows before have none",
                    false => "it has no label, the rows before have one",
                };
                return Err(wrong(&self.origin, row, reason.to_owned()));
            }
        }
        Ok(record)
    }

    fn check_widths(&mut self, found: (usize, usize), row: usize) -> Result<()> {
        let expected = *self.widths.get_or_insert(found);
        if found == expected {
            return Ok(());
        }
        let reason = format!(
            "it has {} features and {} logits, the rows before have {} and {}",
            found.0, found.1, expected.0, expected.1
        );
        Err(wrong(&self.origin, row, reason))
    }
}

#[derive(Default)]
struct TextPart {
    n: usize,
    features: Vec<f64>,
    logits: Vec<f64>,
    labels: Vec<usize>,
}

impl TextPart {
    fn push(&mut self, record: Record) {
        self.n += 1;
        self.features.extend(record.features);
        self.logits.extend(record.logits);
        self.labels.extend(record.label);
    }

    fn into_set(self) -> Result<Option<FeatureSet>, String> {
        let n = self.n;
        if n == 0 {
            return Ok(None);
        }
        let matrix = |values: Vec<f64>| {
            let width = values.len() / n;
            Array2::from_shape_vec((n, width), values).map_err(|error| error.to_string())
        };
        let mut set = FeatureSet::new(matrix(self.features)?);
        if !self.logits.is_empty() {
            set = set.with_logits(matrix(self.logits)?);
        }
        if !self.labels.is_empty() {
            set = set.with_labels(self.labels);
        }
        Ok(Some(set))
    }
}

fn is_blank(byte: &u8) -> bool {
    byte.is_ascii_whitespace() || BYTE_ORDER.contains(byte)
}

/// The first byte that is not blank, behind a mark of the byte order; it is left in the reader.
fn first_byte(reader: &mut impl BufRead) -> std::io::Result<Option<u8>> {
    loop {
        let buffer = reader.fill_buf()?;
        let blanks = buffer.iter().take_while(|byte| is_blank(byte)).count();
        match buffer.get(blanks).copied() {
            None if buffer.is_empty() => return Ok(None),
            None => reader.consume(blanks),
            first => {
                reader.consume(blanks);
                return Ok(first);
            }
        }
    }
}

fn wrong(origin: &str, row: usize, reason: String) -> Error {
    Error::Row {
        origin: origin.to_owned(),
        row,
        reason,
    }
}

fn unread(origin: &str, row: usize, error: &std::io::Error) -> Error {
    wrong(origin, row, format!("it cannot be read ({error})"))
}

/// An error whose row is counted from the first row of all.
fn shifted(error: Error, first: usize) -> Error {
    match error {
        Error::NotFinite {
            file,
            tensor,
            row,
            column,
            value,
        } => Error::NotFinite {
            file,
            tensor,
            row: row + first,
            column,
            value,
        },
        other => other,
    }
}
