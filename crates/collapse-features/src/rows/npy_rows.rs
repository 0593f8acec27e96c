//! Rows of NumPy's arrays, one array after the other.

use std::io::{BufRead, BufReader, Read};

use collapse_numeric::Matrix;
use ndarray::Array2;

use crate::npy;
use crate::number::{Number, Stream};
use crate::numpy::Element;

/// The array whose rows come next.
#[derive(Default)]
pub(super) struct Arrays {
    left: usize,
    width: usize,
    layout: Option<(Number, bool)>,
}

impl Arrays {
    /// The next rows [n, D], as many as are at hand, at least one; `None` at the end. The error says what is wrong.
    pub(super) fn rows<R: Read>(
        &mut self,
        reader: &mut BufReader<R>,
        most_rows: usize,
        most_numbers: usize,
    ) -> Result<Option<Matrix>, String> {
        while self.left == 0 {
            if reader
                .fill_buf()
                .map_err(|error| error.to_string())?
                .is_empty()
            {
                return Ok(None);
            }
            self.begin(reader)?;
        }
        let Some((number, big_endian)) = self.layout else {
            return Ok(None);
        };
        let at_hand = reader.buffer().len() / (number.bytes() * self.width);
        let most = most_rows.min(most_numbers / self.width);
        let n = at_hand.min(most).max(1).min(self.left);
        let stream = Stream {
            reader,
            number,
            count: n * self.width,
            big_endian,
        };
        let shape = (n, self.width);
        let rows = match number.is_single() {
            true => stream
                .singles()
                .map(|values| Array2::from_shape_vec(shape, values).map(Matrix::from)),
            false => stream
                .floats()
                .map(|values| Array2::from_shape_vec(shape, values).map(Matrix::from)),
        };
        let rows = rows.map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => format!(
                "the array ends {} rows early; write all of it before closing the stream",
                self.left
            ),
            _ => format!("it cannot be read ({error})"),
        })?;
        self.left -= n;
        rows.map(Some).map_err(|error| error.to_string())
    }

    fn begin(&mut self, reader: &mut dyn Read) -> Result<(), String> {
        let header =
            npy::header(reader).map_err(|reason| format!("an array begins here, but {reason}"))?;
        let (number, big_endian) = match Element::of(&header.descr) {
            Some(Element::Number { number, big_endian }) if number.is_float() => {
                (number, big_endian)
            }
            _ => {
                return Err(format!(
                    "an array of type {} begins here; it must be float16, float32 or float64",
                    header.descr
                ));
            }
        };
        let shape = format!("an array of shape {:?} begins here", header.shape);
        let (rows, rest) = match header.shape[..] {
            [width] => (1, vec![width]),
            [rows, ref rest @ ..] => (rows, rest.to_vec()),
            [] => return Err(format!("{shape}; it must be [N, D], or [D] for one row")),
        };
        let mut long = rest.iter().copied().filter(|size| *size != 1);
        let width = long.next().unwrap_or(1);
        if long.next().is_some() || width == 0 {
            return Err(format!("{shape}; it must be [N, D], or [D] for one row"));
        }
        if header.column_major && rows > 1 && width > 1 {
            return Err(format!(
                "{shape} in Fortran order, whose rows lie apart; write numpy.ascontiguousarray of it"
            ));
        }
        if width > LONGEST_ROW {
            return Err(format!("{shape}; a row may have {LONGEST_ROW} numbers"));
        }
        *self = Self {
            left: rows,
            width,
            layout: Some((number, big_endian)),
        };
        Ok(())
    }
}

/// Numbers of a row, so that a damaged header does not ask for all memory.
const LONGEST_ROW: usize = 1 << 22;
