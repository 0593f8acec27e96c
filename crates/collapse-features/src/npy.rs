//! The header of a `.npy` array.
//!
//! Source: NumPy, `numpy/lib/format.py` (versions 1.0 to 3.0).

use std::io::Read;

/// Bytes of a header; NumPy itself refuses to read longer ones.
const LARGEST_HEADER: usize = 10_000;

/// What stands before the numbers.
#[derive(Debug, PartialEq)]
pub(crate) struct Header {
    /// NumPy's name of the element type, e.g. `<f4`.
    pub(crate) descr: String,
    /// Whether the first index runs fastest.
    pub(crate) column_major: bool,
    /// Length of every dimension.
    pub(crate) shape: Vec<usize>,
    /// Bytes up to the first number.
    pub(crate) bytes: usize,
}

/// Reads a header; the reader then stands at the first number. The error says what is wrong.
pub(crate) fn header(reader: &mut dyn Read) -> Result<Header, String> {
    let mut start = [0u8; 8];
    take(reader, &mut start)?;
    if start[..6] != *b"\x93NUMPY" {
        return Err("it does not begin as an array of NumPy".to_owned());
    }
    let (length, prefix) = match start[6] {
        1 => {
            let mut length = [0u8; 2];
            take(reader, &mut length)?;
            (usize::from(u16::from_le_bytes(length)), 10)
        }
        2 | 3 => {
            let mut length = [0u8; 4];
            take(reader, &mut length)?;
            (u32::from_le_bytes(length) as usize, 12)
        }
        version => return Err(format!("its format version {version} is unknown")),
    };
    if length > LARGEST_HEADER {
        return Err(format!("its header would have {length} bytes"));
    }
    let mut text = vec![0u8; length];
    take(reader, &mut text)?;
    let text = std::str::from_utf8(&text).map_err(|_| "its header is no text".to_owned())?;
    let (descr, column_major, shape) = Literal { rest: text }
        .dictionary()
        .ok_or_else(|| format!("its header {:?} is not understood", text.trim_end()))?;
    Ok(Header {
        descr,
        column_major,
        shape,
        bytes: prefix + length,
    })
}

fn take(reader: &mut dyn Read, bytes: &mut [u8]) -> Result<(), String> {
    let read = reader.read_exact(bytes);
    read.map_err(|error| format!("its header cannot be read ({error})"))
}

/// The part of Python's literals that NumPy writes: one dictionary of a text, a truth value and a tuple of integers.
struct Literal<'a> {
    rest: &'a str,
}

impl<'a> Literal<'a> {
    fn dictionary(mut self) -> Option<(String, bool, Vec<usize>)> {
        let (mut descr, mut order, mut shape) = (None, None, None);
        self.eat("{").then_some(())?;
        while !self.eat("}") {
            let key = self.text()?;
            self.eat(":").then_some(())?;
            let first = match key {
                "descr" => descr.replace(self.element_type()?).is_none(),
                "fortran_order" => order.replace(self.truth()?).is_none(),
                "shape" => shape.replace(self.tuple()?).is_none(),
                _ => false,
            };
            first.then_some(())?;
            if !self.eat(",") {
                self.eat("}").then_some(())?;
                break;
            }
        }
        let end = self.rest.trim_start().is_empty();
        end.then_some((descr?, order?, shape?))
    }

    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn text(&mut self) -> Option<&'a str> {
        let quote = ["'", "\""].into_iter().find(|quote| self.eat(quote))?;
        let (text, rest) = self.rest.split_once(quote)?;
        self.rest = rest;
        Some(text)
    }

    /// A plain type is a text; the list of a structured one is kept as it stands, for the message.
    fn element_type(&mut self) -> Option<String> {
        if !self.eat("[") {
            return self.text().map(str::to_owned);
        }
        let mut depth = 1;
        let end = self.rest.find(|c| {
            depth += i32::from(c == '[') - i32::from(c == ']');
            depth == 0
        })?;
        let (fields, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        Some(format!("[{fields}"))
    }

    fn truth(&mut self) -> Option<bool> {
        match self.eat("True") {
            true => Some(true),
            false => self.eat("False").then_some(false),
        }
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        let mut sizes = Vec::new();
        self.eat("(").then_some(())?;
        while !self.eat(")") {
            let digits = self.rest.trim_start();
            let end = digits.find(|c: char| !c.is_ascii_digit())?;
            sizes.push(digits[..end].parse().ok()?);
            // NumPy under Python 2 wrote long integers.
            self.rest = digits[end..].strip_prefix('L').unwrap_or(&digits[end..]);
            if !self.eat(",") {
                self.eat(")").then_some(())?;
                break;
            }
        }
        Some(sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Header, String> {
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((text.len() as u16).to_le_bytes());
        file.extend(text.as_bytes());
        header(&mut file.as_slice())
    }

    #[test]
    fn headers_as_numpy_writes_them() {
        let cases: [(&str, &str, bool, &[usize]); 5] = [
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }  \n",
                "<f4",
                false,
                &[3, 4],
            ),
            (
                "{'descr': '|b1', 'fortran_order': True, 'shape': (), }\n",
                "|b1",
                true,
                &[],
            ),
            (
                "{'descr': '<i8', 'fortran_order': False, 'shape': (7,), }\n",
                "<i8",
                false,
                &[7],
            ),
            (
                "{\"shape\":(7L,2L),\"descr\":\"<i8\",\"fortran_order\":False}",
                "<i8",
                false,
                &[7, 2],
            ),
            (
                "{'descr': [('a', '<f4'), ('b', '<f4', (2,))], 'fortran_order': False, 'shape': (1,), }",
                "[('a', '<f4'), ('b', '<f4', (2,))]",
                false,
                &[1],
            ),
        ];
        for (text, descr, column_major, shape) in cases {
            let found = of(text).unwrap();
            assert_eq!(
                (found.descr.as_str(), found.column_major, &found.shape[..]),
                (descr, column_major, shape)
            );
            assert_eq!(found.bytes, 10 + text.len());
        }
    }

    #[test]
    fn other_headers_are_refused() {
        for text in [
            "",
            "{}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } x",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, -4), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), 'shape': (4, 3), }",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': (3, 4), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)",
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains("not understood"), "{text}: {error}");
        }
        let other = header(&mut b"\x89PNG\r\n\x1a\n".as_slice()).unwrap_err();
        assert!(other.contains("NumPy"), "{other}");
    }
}
