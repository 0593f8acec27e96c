//! Files that are either the old ones or the new ones, and that say when they were damaged.
//!
//! ```
//! use collapse_files::{Seal, check, replace, seal};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("result.json");
//! let sealed = seal(format!("{{\"accuracy\": 0.95, \"seal\": \"{}\"}}", Seal::BLANK).into_bytes())?;
//! replace(&path, &sealed)?;
//!
//! let mut bytes = std::fs::read(&path)?;
//! assert!(check(&bytes).is_sound());
//! bytes[14] ^= 1; // 0.95 became 0.85
//! assert!(check(&bytes).is_damaged());
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//! - [`replace`], [`replace_with`], [`replace_json`], [`Replacement`]: temporary file in the same folder, sync, rename, sync of the folder; a failure
//!   leaves the old file and nothing else.
//! - [`Seal`], [`seal`], [`check`], [`Sealing`]: a SHA-256 over a file's content, kept in the file itself;
//!   [`SealedReplacement`] seals a file as it is written; [`to_sealed_json`], [`from_sealed_json`] do it for JSON.
//! - [`set_aside`]: moves a file or folder to a name of its own, for ever.
//! - [`Lock`]: a lock on a file that ends with its process.
//!
//! # Caveats
//! - It knows nothing of what is in the files: their owners place the seal and decide whether one is required.
//! - A seal tells damage, not forgery.

mod aside;
mod error;
mod json;
mod lock;
mod replace;
mod seal;
mod sealed;

pub use aside::set_aside;
pub use error::{Error, Result};
pub use json::{SealedJsonError, from_json_sealed_or_not, from_sealed_json, to_sealed_json};
pub use lock::{Lock, LockOutcome};
pub use replace::{Replacement, replace, replace_json, replace_with};
pub use seal::{Check, Seal, Sealing, check, seal};
pub use sealed::SealedReplacement;
