//! A value, or the reason why there is none.

/// A figure, or why it is undefined: an undefined figure costs the figure, never the run.
///
/// In JSON it stands as two fields, the value and `<name>_undefined`, so that files written
/// before this type read the same; see [`Defined::from_fields`] and [`Defined::into_fields`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Defined<T> {
    /// The figure.
    Value(T),
    /// Why there is none.
    Undefined(String),
}

impl<T> Defined<T> {
    /// From a value and a reason as they stand in a file; a value wins.
    pub fn from_fields(value: Option<T>, reason: Option<String>) -> Self {
        match (value, reason) {
            (Some(value), _) => Self::Value(value),
            (None, Some(reason)) => Self::Undefined(reason),
            (None, None) => Self::Undefined("the file gives no reason".to_owned()),
        }
    }

    /// The value and the reason as they stand in a file; exactly one is there.
    pub fn into_fields(self) -> (Option<T>, Option<String>) {
        match self {
            Self::Value(value) => (Some(value), None),
            Self::Undefined(reason) => (None, Some(reason)),
        }
    }

    /// The value, if it is defined.
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Undefined(_) => None,
        }
    }

    /// Why it is undefined, if it is.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Value(_) => None,
            Self::Undefined(reason) => Some(reason),
        }
    }

    /// The same with the value changed.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Defined<U> {
        match self {
            Self::Value(value) => Defined::Value(change(value)),
            Self::Undefined(reason) => Defined::Undefined(reason),
        }
    }
}
