//! A SHA-256 over a file's content, kept in the file itself.
//!
//! The seal is the text `collapse-sha256:` and 64 hexadecimal digits, anywhere in the file. Its digits are those of
//! the SHA-256 of the whole file with the digits themselves read as `0`. So any format that can hold a short ASCII
//! string can be sealed, and one function checks them all.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

const MARK: &[u8] = b"collapse-sha256:";
const DIGITS: usize = 64;

/// The seal's text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seal([u8; 32]);

impl Seal {
    /// What a file holds in the seal's place until it is sealed.
    pub const BLANK: &'static str =
        "collapse-sha256:0000000000000000000000000000000000000000000000000000000000000000";

    /// The SHA-256 itself.
    pub fn digest(&self) -> [u8; 32] {
        self.0
    }

    fn digits(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "collapse-sha256:{}", self.digits())
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What [`check`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Check {
    /// One seal, and it fits the content.
    Sound(Seal),
    /// A seal that does not fit, is cut off or stands twice: the file is not what was written.
    Damaged,
    /// No seal.
    Unsealed,
}

impl Check {
    /// Sealed and unchanged.
    pub fn is_sound(self) -> bool {
        matches!(self, Self::Sound(_))
    }

    /// Sealed and changed since.
    pub fn is_damaged(self) -> bool {
        self == Self::Damaged
    }
}

/// Writes the seal into the one place of `content` that holds [`Seal::BLANK`].
///
/// # Errors
/// [`Error::Blank`] when there is none or more than one.
pub fn seal(mut content: Vec<u8>) -> Result<Vec<u8>> {
    let places: Vec<usize> = marks(&content).collect();
    let &[place] = places.as_slice() else {
        return Err(Error::Blank {
            found: places.len(),
        });
    };
    let range = place + MARK.len()..place + MARK.len() + DIGITS;
    if content.get(range.clone()) != Some([b'0'; DIGITS].as_slice()) {
        return Err(Error::Blank { found: 0 });
    }
    let digits = Seal(Sha256::digest(&content).into()).digits();
    content[range].copy_from_slice(digits.as_bytes());
    Ok(content)
}

/// Whether `content` is what was sealed.
pub fn check(content: &[u8]) -> Check {
    let mut places = marks(content);
    let Some(place) = places.next() else {
        return Check::Unsealed;
    };
    let start = place + MARK.len();
    if places.next().is_some() || content.len() < start + DIGITS {
        return Check::Damaged;
    }
    let mut hasher = Sha256::new();
    hasher.update(&content[..start]);
    hasher.update([b'0'; DIGITS]);
    hasher.update(&content[start + DIGITS..]);
    let seal = Seal(hasher.finalize().into());
    if seal.digits().as_bytes() == &content[start..start + DIGITS] {
        Check::Sound(seal)
    } else {
        Check::Damaged
    }
}

/// The seal of a file that is written in parts, too large to be held whole.
///
/// Feed it every byte in order, the blank seal included, then write [`Sealing::finish`] over the blank seal.
#[derive(Clone, Debug, Default)]
pub struct Sealing(Sha256);

impl Sealing {
    /// Nothing written yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next bytes of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The seal of all bytes so far.
    #[must_use]
    pub fn finish(self) -> Seal {
        Seal(self.0.finalize().into())
    }
}

fn marks(content: &[u8]) -> impl Iterator<Item = usize> {
    memchr::memmem::find_iter(content, MARK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sealed(before: &[u8], after: &[u8]) -> Vec<u8> {
        seal([before, Seal::BLANK.as_bytes(), after].concat()).unwrap()
    }

    #[test]
    fn content_without_one_blank_seal_is_not_sealed() {
        assert!(matches!(
            seal(b"none".to_vec()),
            Err(Error::Blank { found: 0 })
        ));
        let twice = Seal::BLANK.repeat(2).into_bytes();
        assert!(matches!(seal(twice), Err(Error::Blank { found: 2 })));
        assert!(matches!(
            seal(sealed(b"", b"")),
            Err(Error::Blank { found: 0 })
        ));
    }

    #[test]
    fn foreign_content_is_unsealed() {
        assert_eq!(check(b""), Check::Unsealed);
        assert_eq!(check(b"{\"seal\": 1}"), Check::Unsealed);
    }

    #[test]
    fn a_file_written_in_parts_has_the_seal_of_the_whole() {
        let whole = sealed(b"head", b"tail");
        let mut sealing = Sealing::new();
        for part in [b"head".as_slice(), Seal::BLANK.as_bytes(), b"tail"] {
            sealing.update(part);
        }
        assert_eq!(check(&whole), Check::Sound(sealing.finish()));
    }

    proptest! {
        #[test]
        fn every_change_of_a_byte_is_told_from_the_sealed_content(
            before in proptest::collection::vec(any::<u8>(), 0..80),
            after in proptest::collection::vec(any::<u8>(), 0..80),
            at in any::<prop::sample::Index>(),
            flip in 1u8..,
        ) {
            let mut content = sealed(&before, &after);
            prop_assert!(check(&content).is_sound());
            let at = at.index(content.len());
            content[at] ^= flip;
            // A broken mark leaves an unsealed file; whoever wrote it knows that it must have one.
            prop_assert!(!check(&content).is_sound());
        }

        #[test]
        fn a_cut_file_is_not_sound(cut in any::<prop::sample::Index>()) {
            let content = sealed(b"some content before", b"and some after");
            prop_assert!(!check(&content[..cut.index(content.len())]).is_sound());
        }
    }
}
