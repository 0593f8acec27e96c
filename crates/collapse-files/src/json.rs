//! JSON texts that carry their own seal, in a field called `seal`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::seal::{Check, Seal, check, seal};

/// A value with its seal; the seal is what it is given, or whatever stands there.
#[derive(Serialize, Deserialize)]
struct WithSeal<T, S> {
    #[serde(flatten)]
    value: T,
    seal: S,
}

/// Why a text is not taken for what was sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealedJsonError {
    /// The seal does not fit, or is none.
    #[error("its seal does not fit its content")]
    Damaged,
    /// There is no seal where one is required.
    #[error("it has no seal")]
    Unsealed,
    /// The text is no JSON of this kind.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// `value`, which must be written as an object, as indented JSON with a seal over the whole text; ends in a newline.
///
/// # Errors
/// [`Error::Blank`] when `value` holds the text of a seal itself, [`Error::Value`] when it has no form as a JSON object.
pub fn to_sealed_json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(&WithSeal {
        value,
        seal: Seal::BLANK,
    })
    .map_err(Error::Value)?;
    text.push(b'\n');
    seal(text)
}

/// What [`to_sealed_json`] wrote.
///
/// # Errors
/// [`SealedJsonError`]; nothing without a sound seal is taken.
pub fn from_sealed_json<T: DeserializeOwned>(
    text: &[u8],
) -> std::result::Result<T, SealedJsonError> {
    match check(text) {
        Check::Sound(_) => Ok(serde_json::from_slice::<WithSeal<T, String>>(text)?.value),
        Check::Damaged => Err(SealedJsonError::Damaged),
        Check::Unsealed => Err(SealedJsonError::Unsealed),
    }
}

/// As [`from_sealed_json`], and what another program or an older version wrote without a seal.
///
/// # Errors
/// [`SealedJsonError::Damaged`], [`SealedJsonError::Json`].
pub fn from_json_sealed_or_not<T: DeserializeOwned>(
    text: &[u8],
) -> std::result::Result<T, SealedJsonError> {
    match from_sealed_json(text) {
        Err(SealedJsonError::Unsealed) => {}
        read => return read,
    }
    // A seal whose mark was hit is still a field.
    #[derive(Deserialize)]
    struct Remains {
        seal: Option<serde::de::IgnoredAny>,
    }
    if let Ok(Remains { seal: Some(_) }) = serde_json::from_slice(text) {
        return Err(SealedJsonError::Damaged);
    }
    Ok(serde_json::from_slice(text)?)
}
