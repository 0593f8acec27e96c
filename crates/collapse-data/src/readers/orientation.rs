//! EXIF orientation: which way up a camera's picture is.
//!
//! Source: TIFF 6.0 and EXIF 2.3, tag 0x0112.

use crate::ImageShape;

/// The orientation, 1 to 8, in EXIF metadata (a TIFF file); 1, upright, where there is none or it is damaged.
pub(super) fn of_exif(tiff: &[u8]) -> u8 {
    find(tiff).filter(|o| (1..=8).contains(o)).unwrap_or(1)
}

fn find(tiff: &[u8]) -> Option<u8> {
    const ORIENTATION: u16 = 0x0112;
    const SHORT: u16 = 3;
    let big_endian = match tiff.first_chunk::<4>()? {
        b"II*\0" => false,
        b"MM\0*" => true,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = *tiff.get(at..)?.first_chunk::<2>()?;
        Some(if big_endian {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        })
    };
    let word = |at: usize| {
        let (first, second) = (u32::from(short(at)?), u32::from(short(at + 2)?));
        Some(if big_endian {
            first << 16 | second
        } else {
            second << 16 | first
        })
    };
    let directory = word(4)? as usize;
    let n_entries = usize::from(short(directory)?);
    let entry = (0..n_entries)
        .map(|i| directory + 2 + 12 * i)
        .find(|&entry| short(entry) == Some(ORIENTATION))?;
    if (short(entry + 2)?, word(entry + 4)?) != (SHORT, 1) {
        return None;
    }
    u8::try_from(short(entry + 8)?).ok()
}

/// An image's pixels [H, W, C] as they are to be seen, and their shape.
pub(super) fn upright(
    shape: ImageShape,
    pixels: Vec<u8>,
    orientation: u8,
) -> (ImageShape, Vec<u8>) {
    if !(2..=8).contains(&orientation) {
        return (shape, pixels);
    }
    let ImageShape {
        height,
        width,
        channels,
    } = shape;
    let turned = if orientation >= 5 {
        ImageShape::new(width, height, channels)
    } else {
        shape
    };
    let mut out = Vec::with_capacity(pixels.len());
    for y in 0..turned.height {
        for x in 0..turned.width {
            let (row, column) = match orientation {
                2 => (y, width - 1 - x),
                3 => (height - 1 - y, width - 1 - x),
                4 => (height - 1 - y, x),
                5 => (x, y),
                6 => (height - 1 - x, y),
                7 => (height - 1 - x, width - 1 - y),
                _ => (x, width - 1 - y),
            };
            let at = (row * width + column) * channels;
            out.extend_from_slice(&pixels[at..at + channels]);
        }
    }
    (turned, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Pillow 13's `ImageOps.exif_transpose` gives them for [[1, 2, 3], [4, 5, 6]].
    #[test]
    fn each_orientation_turns_as_pillow_does() {
        let expected: [(u8, usize, [u8; 6]); 8] = [
            (1, 3, [1, 2, 3, 4, 5, 6]),
            (2, 3, [3, 2, 1, 6, 5, 4]),
            (3, 3, [6, 5, 4, 3, 2, 1]),
            (4, 3, [4, 5, 6, 1, 2, 3]),
            (5, 2, [1, 4, 2, 5, 3, 6]),
            (6, 2, [4, 1, 5, 2, 6, 3]),
            (7, 2, [6, 3, 5, 2, 4, 1]),
            (8, 2, [3, 6, 2, 5, 1, 4]),
        ];
        for (orientation, width, pixels) in expected {
            let image = vec![1, 2, 3, 4, 5, 6];
            let (shape, turned) = upright(ImageShape::new(2, 3, 1), image, orientation);
            assert_eq!((shape.width, &turned[..]), (width, &pixels[..]));
        }
    }

    #[test]
    fn the_tag_is_found_in_both_byte_orders_and_damage_means_upright() {
        let little = b"II*\0\x08\0\0\0\x02\0\x00\x01\x03\0\x01\0\0\0\x05\0\0\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
        let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0";
        assert_eq!(of_exif(little), 6);
        assert_eq!(of_exif(big), 8);
        for cut in 0..little.len() - 2 {
            assert_eq!(of_exif(&little[..cut]), 1, "{cut}");
        }
    }
}
