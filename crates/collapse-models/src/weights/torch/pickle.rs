//! A bounded reader of Python's pickles: it builds values and runs nothing.
//!
//! Values lie in one list and refer to each other by number, so neither nesting nor sharing costs more than their
//! bytes. Source: CPython, `Lib/pickletools.py` (protocols 2 to 5).

use std::collections::BTreeMap;

/// Number of a value in its pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(u32);

/// A value; what a call would return is not known, only the call.
#[derive(Clone, Debug)]
pub(super) enum Value {
    None,
    Bool(bool),
    /// An integer; of those beyond 64 bits nothing is kept.
    Int(Option<i64>),
    Float,
    Text(Box<str>),
    Bytes,
    /// A list, tuple or set.
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A name of a module: `torch._utils _rebuild_tensor_v2`.
    Global(Box<str>),
    Call(Box<Call>),
    /// An object that the pickle leaves to its reader: a storage.
    Persistent(Id),
}

/// A function or class with its arguments, and what was put into the result.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) function: Id,
    pub(super) arguments: Id,
    pub(super) state: Option<Id>,
    pub(super) items: Vec<(Id, Id)>,
}

/// The most values a pickle may have; a checkpoint of ResNet-101 with its optimiser has 20,000.
const MOST_VALUES: usize = 4_000_000;

/// A pickle that was read.
#[derive(Debug)]
pub(super) struct Pickle {
    values: Vec<Value>,
    root: Id,
    /// Bytes of the pickle.
    pub(super) length: usize,
}

impl Pickle {
    /// Reads the pickle at the beginning of `bytes`.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut machine = Machine {
            bytes,
            at: 0,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: BTreeMap::new(),
        };
        let root = machine.run().map_err(|reason| {
            let at = machine.at;
            format!("its pickle cannot be read ({reason}, at byte {at})")
        })?;
        Ok(Self {
            length: machine.at,
            values: machine.values,
            root,
        })
    }

    pub(super) fn root(&self) -> Id {
        self.root
    }

    pub(super) fn get(&self, id: Id) -> &Value {
        &self.values[id.0 as usize]
    }

    pub(super) fn values(&self) -> &[Value] {
        &self.values
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn global(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Global(name) => Some(name),
            _ => None,
        }
    }

    pub(super) fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// An integer that is no size or position is none.
    pub(super) fn size(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Int(Some(value)) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The entries of a dictionary, or of what behaves as one.
    pub(super) fn entries(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Value::Dict(entries) => Some(entries),
            Value::Call(call) if !call.items.is_empty() => Some(&call.items),
            _ => None,
        }
    }

    /// The entry of a dictionary under a text.
    pub(super) fn entry(&self, id: Id, key: &str) -> Option<Id> {
        let mut entries = self.entries(id)?.iter().rev();
        entries
            .find(|(name, _)| self.text(*name) == Some(key))
            .map(|(_, value)| *value)
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
}

type Step<T = ()> = Result<T, String>;

impl Machine<'_> {
    fn run(&mut self) -> Step<Id> {
        loop {
            let code = self.byte()?;
            if code == b'.' {
                return self.pop();
            }
            self.step(code)?;
        }
    }

    fn step(&mut self, code: u8) -> Step {
        match code {
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.above_mark()?),
            b'2' => {
                let top = *self.stack.last().ok_or("the stack is empty")?;
                self.stack.push(top);
            }
            0x80 => drop(self.byte()?),
            0x95 => drop(self.take(8)?),
            b'N' | 0x88 | 0x89 | b'K' | b'M' | b'J' | 0x8a | 0x8b | b'G' => {
                return self.number(code);
            }
            b'X' | 0x8c | 0x8d | b'U' | b'T' | b'B' | b'C' | 0x8e | 0x96 => {
                return self.string(code);
            }
            b'c' | 0x93 | b'Q' | b'R' | 0x81 | 0x92 | b'b' => return self.object(code),
            b'q' | b'r' | 0x94 | b'h' | b'j' => return self.memory(code),
            _ => return self.collection(code),
        }
        Ok(())
    }

    fn number(&mut self, code: u8) -> Step {
        let value = match code {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(Some(i64::from(self.byte()?))),
            b'M' => Value::Int(Some(self.unsigned(2)? as i64)),
            b'J' => Value::Int(Some(i64::from(self.unsigned(4)? as u32 as i32))),
            b'G' => {
                self.take(8)?;
                Value::Float
            }
            _ => {
                let length = if code == 0x8a { 1 } else { 4 };
                let length = self.unsigned(length)?;
                Value::Int(long(self.take(length)?))
            }
        };
        self.push(value)
    }

    fn string(&mut self, code: u8) -> Step {
        let width = match code {
            0x8c | b'U' | b'C' => 1,
            b'X' | b'T' | b'B' => 4,
            _ => 8,
        };
        let length = self.unsigned(width)?;
        let bytes = self.take(length)?;
        let value = match code {
            b'X' | 0x8c | 0x8d => Value::Text(utf8(bytes)?),
            // Strings of Python 2 are names here as often as not.
            b'U' | b'T' => String::from_utf8(bytes.to_vec())
                .map_or(Value::Bytes, |text| Value::Text(text.into())),
            _ => Value::Bytes,
        };
        self.push(value)
    }

    fn object(&mut self, code: u8) -> Step {
        let value = match code {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                Value::Global(format!("{module} {name}").into())
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (
                    &self.values[module.0 as usize],
                    &self.values[name.0 as usize],
                ) {
                    (Value::Text(module), Value::Text(name)) => {
                        Value::Global(format!("{module} {name}").into())
                    }
                    _ => return Err("a name that is no text".to_owned()),
                }
            }
            b'Q' => Value::Persistent(self.pop()?),
            b'b' => {
                let state = self.pop()?;
                if let Value::Call(call) = self.top()? {
                    call.state = Some(state);
                }
                return Ok(());
            }
            _ => {
                if code == 0x92 {
                    // Keyword arguments are not looked at.
                    self.pop()?;
                }
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.call(function, arguments)
            }
        };
        self.push(value)
    }

    fn call(&self, function: Id, arguments: Id) -> Value {
        match &self.values[function.0 as usize] {
            Value::Global(name) if **name == *"collections OrderedDict" => Value::Dict(Vec::new()),
            _ => Value::Call(Box::new(Call {
                function,
                arguments,
                state: None,
                items: Vec::new(),
            })),
        }
    }

    fn memory(&mut self, code: u8) -> Step {
        let key = match code {
            b'q' | b'h' => u32::from(self.byte()?),
            0x94 => u32::try_from(self.memo.len()).map_err(|_| "too many values")?,
            _ => self.unsigned(4)? as u32,
        };
        if matches!(code, b'h' | b'j') {
            let known = *self.memo.get(&key).ok_or("a reference to nothing")?;
            self.stack.push(known);
        } else {
            let top = *self.stack.last().ok_or("the stack is empty")?;
            self.memo.insert(key, top);
        }
        Ok(())
    }

    fn collection(&mut self, code: u8) -> Step {
        let value = match code {
            b'}' => Value::Dict(Vec::new()),
            b']' | b')' | 0x8f => Value::Sequence(Vec::new()),
            0x85..=0x87 => {
                let length = usize::from(code - 0x84);
                let start = self
                    .stack
                    .len()
                    .checked_sub(length)
                    .ok_or("the stack is empty")?;
                Value::Sequence(self.stack.split_off(start))
            }
            b't' | b'l' | 0x91 => Value::Sequence(self.above_mark()?),
            b'd' => Value::Dict(pairs(&self.above_mark()?)),
            b'a' => {
                let item = self.pop()?;
                return self.append(&[item]);
            }
            b'e' | 0x90 => {
                let items = self.above_mark()?;
                return self.append(&items);
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                return self.set(&[(key, value)]);
            }
            b'u' => {
                let items = pairs(&self.above_mark()?);
                return self.set(&items);
            }
            _ => {
                return Err(format!(
                    "operation {code:#04x} is none of protocols 2 to 5; save again with torch.save's own protocol"
                ));
            }
        };
        self.push(value)
    }

    fn append(&mut self, items: &[Id]) -> Step {
        // A subclass of list takes items too; nobody looks at them.
        if let Value::Sequence(list) = self.top()? {
            list.extend_from_slice(items);
        }
        Ok(())
    }

    fn set(&mut self, items: &[(Id, Id)]) -> Step {
        match self.top()? {
            Value::Dict(entries) => entries.extend_from_slice(items),
            Value::Call(call) => call.items.extend_from_slice(items),
            _ => return Err("entries for what is no dictionary".to_owned()),
        }
        Ok(())
    }

    fn push(&mut self, value: Value) -> Step {
        if self.values.len() >= MOST_VALUES {
            return Err(format!("it has more than {MOST_VALUES} values"));
        }
        self.stack.push(Id(self.values.len() as u32));
        self.values.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Step<Id> {
        self.stack
            .pop()
            .ok_or_else(|| "the stack is empty".to_owned())
    }

    fn top(&mut self) -> Step<&mut Value> {
        let top = self.stack.last().ok_or("the stack is empty")?;
        Ok(&mut self.values[top.0 as usize])
    }

    fn above_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        if mark > self.stack.len() {
            return Err("a mark is missing".to_owned());
        }
        Ok(self.stack.split_off(mark))
    }

    fn byte(&mut self) -> Step<u8> {
        Ok(self.take(1)?[0])
    }

    fn unsigned(&mut self, width: usize) -> Step<usize> {
        let mut wide = [0u8; 8];
        wide[..width].copy_from_slice(self.take(width)?);
        usize::try_from(u64::from_le_bytes(wide)).map_err(|_| "a length beyond any file".to_owned())
    }

    fn take(&mut self, length: usize) -> Step<&[u8]> {
        let end = self
            .at
            .checked_add(length)
            .filter(|&end| end <= self.bytes.len());
        let end = end.ok_or("it is cut off")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn line(&mut self) -> Step<Box<str>> {
        let rest = &self.bytes[self.at..];
        let length = rest
            .iter()
            .position(|&byte| byte == b'\n')
            .ok_or("it is cut off")?;
        let line = utf8(&rest[..length])?;
        self.at += length + 1;
        Ok(line)
    }
}

fn utf8(bytes: &[u8]) -> Step<Box<str>> {
    let text = std::str::from_utf8(bytes).map_err(|_| "a text that is not UTF-8")?;
    Ok(text.into())
}

/// A little-endian integer in two's complement.
fn long(bytes: &[u8]) -> Option<i64> {
    let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) {
        0xFF
    } else {
        0
    };
    let mut wide = [fill; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(wide))
}

fn pairs(items: &[Id]) -> Vec<(Id, Id)> {
    items
        .chunks_exact(2)
        .map(|pair| (pair[0], pair[1]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_shared_through_the_memo_are_one() {
        // d = {}; [d, d], and d["k"] = -2 afterwards; python3 -c 'pickle.dumps(...)' by hand.
        let bytes = b"\x80\x02]q\x00(}q\x01h\x01eh\x010h\x01X\x01\0\0\0kJ\xfe\xff\xff\xffs0.";
        let pickle = Pickle::read(bytes).unwrap();
        let list = pickle.sequence(pickle.root()).unwrap();
        assert_eq!(list[0], list[1]);
        let value = pickle.entry(list[0], "k").unwrap();
        assert!(matches!(pickle.get(value), Value::Int(Some(-2))));
        assert_eq!(pickle.length, bytes.len());
    }

    #[test]
    fn nesting_has_no_depth() {
        let mut bytes = b"\x80\x02)".to_vec();
        bytes.resize(200_000, 0x85);
        bytes.push(b'.');
        let pickle = Pickle::read(&bytes).unwrap();
        assert_eq!(pickle.values().len(), 200_000 - 2);
    }

    #[test]
    fn broken_pickles_are_errors() {
        for (bytes, reason) in [
            (&b""[..], "cut off"),
            (b".", "stack is empty"),
            (b"u.", "mark is missing"),
            (b"X\xff\xff\xff\xffa", "cut off"),
            (b"h\x07.", "reference to nothing"),
            (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "cut off"),
            (b"N0\x85.", "stack is empty"),
            (b"\x7f.", "0x7f"),
        ] {
            let text = Pickle::read(bytes).unwrap_err();
            assert!(text.contains(reason), "{text} for {bytes:?}");
        }
    }

    #[test]
    fn integers_keep_their_sign() {
        assert_eq!(long(&[]), Some(0));
        assert_eq!(long(&[0xFF]), Some(-1));
        assert_eq!(long(&[0xFF, 0x00]), Some(255));
        assert_eq!(long(&[1; 9]), None);
    }
}
