//! Thrift's compact protocol, as far as Parquet's metadata needs it: bytes to a tree of values.

/// A decoded value; strings and binaries are borrowed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Bool(bool),
    Int(i64),
    Double,
    Bytes(&'a [u8]),
    List(Vec<Value<'a>>),
    Struct(Vec<(i16, Value<'a>)>),
}

impl<'a> Value<'a> {
    pub(super) fn field(&self, id: i16) -> Option<&Value<'a>> {
        match self {
            Self::Struct(fields) => fields.iter().find(|(i, _)| *i == id).map(|(_, v)| v),
            _ => None,
        }
    }

    pub(super) fn int(&self, id: i16) -> Option<i64> {
        match self.field(id) {
            Some(Value::Int(v)) => Some(*v),
            _ => None,
        }
    }

    pub(super) fn bytes(&self, id: i16) -> Option<&'a [u8]> {
        match self.field(id) {
            Some(Value::Bytes(v)) => Some(v),
            _ => None,
        }
    }

    pub(super) fn list(&self, id: i16) -> Option<&[Value<'a>]> {
        match self.field(id) {
            Some(Value::List(v)) => Some(v),
            _ => None,
        }
    }
}

const MAX_DEPTH: usize = 16;

/// Reads one struct from the front of `bytes`; returns it and the number of bytes it took.
pub(super) fn read_struct(bytes: &[u8]) -> Option<(Value<'_>, usize)> {
    let mut reader = Reader { bytes, position: 0 };
    let value = reader.structure(0)?;
    Some((value, reader.position))
}

struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.position)?;
        self.position += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let slice = self
            .bytes
            .get(self.position..self.position.checked_add(length)?)?;
        self.position += length;
        Some(slice)
    }

    fn structure(&mut self, depth: usize) -> Option<Value<'a>> {
        let mut fields = Vec::new();
        let mut id = 0i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(Value::Struct(fields));
            }
            id = match head >> 4 {
                0 => i16::try_from(self.zigzag()?).ok()?,
                delta => id.checked_add(i16::from(delta))?,
            };
            let value = match head & 15 {
                1 => Value::Bool(true),
                2 => Value::Bool(false),
                kind => self.value(kind, depth + 1)?,
            };
            fields.push((id, value));
        }
    }

    fn value(&mut self, kind: u8, depth: usize) -> Option<Value<'a>> {
        if depth > MAX_DEPTH {
            return None;
        }
        Some(match kind {
            1 | 2 => Value::Bool(self.byte()? == 1),
            3 => Value::Int(i64::from(self.byte()? as i8)),
            4..=6 => Value::Int(self.zigzag()?),
            7 => {
                self.take(8)?;
                Value::Double
            }
            8 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            9 | 10 => {
                let head = self.byte()?;
                let length = match head >> 4 {
                    15 => usize::try_from(self.varint()?).ok()?,
                    short => usize::from(short),
                };
                // Every element takes at least one byte.
                if length > self.bytes.len() - self.position {
                    return None;
                }
                let mut items = Vec::new();
                for _ in 0..length {
                    items.push(self.value(head & 15, depth + 1)?);
                }
                Value::List(items)
            }
            12 => self.structure(depth)?,
            // Maps do not occur in Parquet's metadata.
            _ => return None,
        })
    }
}
