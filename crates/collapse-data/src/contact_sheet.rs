//! A labelled contact sheet: a row a class with its first images, drawn as PNG.

use crate::{Error, Fit, ImageSet, ImageShape};

const TILE: usize = 48;
const GAP: usize = 4;
const LABEL: usize = 150;
const MAX_ROWS: usize = 24;

/// Draws up to `per_row` images of each of the first 24 classes (or of the set, if unlabelled) and returns PNG bytes.
///
/// # Errors
/// [`Error::Inconsistent`] for an empty set; [`Error::Parameter`] for `per_row` of 0 or above 64.
pub fn contact_sheet(set: &ImageSet, per_row: usize) -> Result<Vec<u8>, Error> {
    if !(1..=64).contains(&per_row) {
        return Err(Error::Parameter {
            name: "per_row",
            value: per_row.to_string(),
            remedy: "give 1 to 64",
        });
    }
    if set.is_empty() {
        return Err(Error::inconsistent(set.name(), "there is no image to show"));
    }
    let rows: Vec<(String, Vec<usize>)> = match set.labels() {
        Some(labels) => (0..set.n_classes())
            .map(|class| {
                let of_class = (0..set.len())
                    .filter(|&i| labels[i] == class)
                    .take(per_row)
                    .collect();
                (set.classes()[class].clone(), of_class)
            })
            .filter(|(_, images): &(String, Vec<usize>)| !images.is_empty())
            .take(MAX_ROWS)
            .collect(),
        None => (0..set.len().min(per_row * 8))
            .collect::<Vec<_>>()
            .chunks(per_row)
            .map(|chunk| (chunk[0].to_string(), chunk.to_vec()))
            .collect(),
    };
    let width = LABEL + per_row * (TILE + GAP) + GAP;
    let height = rows.len() * (TILE + GAP) + GAP;
    let mut sheet = Sheet::new(width, height);
    for (row, (label, images)) in rows.iter().enumerate() {
        let top = GAP + row * (TILE + GAP);
        sheet.write(label, GAP * 2, top + TILE / 2 - 7);
        let tiles = set
            .select(images)?
            .converted(ImageShape::new(TILE, TILE, 3), Fit::Resize)?;
        for (column, tile) in tiles.pixels().chunks_exact(TILE * TILE * 3).enumerate() {
            let left = LABEL + column * (TILE + GAP);
            for (i, pixel) in tile.chunks_exact(3).enumerate() {
                sheet.set(
                    left + i % TILE,
                    top + i / TILE,
                    [pixel[0], pixel[1], pixel[2]],
                );
            }
        }
    }
    sheet
        .into_png()
        .map_err(|e| Error::inconsistent(set.name(), format!("the sheet cannot be encoded: {e}")))
}

/// An RGB picture.
struct Sheet {
    width: usize,
    pixels: Vec<u8>,
}

impl Sheet {
    fn new(width: usize, height: usize) -> Self {
        const BACKGROUND: u8 = 250;
        Self {
            width,
            pixels: vec![BACKGROUND; width * height * 3],
        }
    }

    fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        let at = (y * self.width + x) * 3;
        self.pixels[at..at + 3].copy_from_slice(&colour);
    }

    fn into_png(self) -> Result<Vec<u8>, png::EncodingError> {
        let height = self.pixels.len() / (self.width * 3);
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, self.width as u32, height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header()?.write_image_data(&self.pixels)?;
        Ok(out)
    }

    fn write(&mut self, text: &str, left: usize, top: usize) {
        const SCALE: usize = 2;
        let room = (LABEL - 3 * GAP) / (4 * SCALE);
        for (i, character) in text
            .chars()
            .map(|c| c.to_ascii_lowercase())
            .take(room)
            .enumerate()
        {
            let Some((_, rows)) = GLYPHS.iter().find(|(c, _)| *c == character) else {
                continue;
            };
            for (y, row) in rows.iter().enumerate() {
                for x in 0..3 {
                    if row >> (2 - x) & 1 == 1 {
                        for (dy, dx) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                            let at = (left + (i * 4 + x) * SCALE + dx, top + y * SCALE + dy);
                            self.set(at.0, at.1, [30, 30, 30]);
                        }
                    }
                }
            }
        }
    }
}

/// Glyphs of 3×5 pixels, one row in three bits, for a–z, 0–9 and a few marks.
const GLYPHS: [(char, [u8; 5]); 40] = [
    ('a', [2, 5, 7, 5, 5]),
    ('b', [6, 5, 6, 5, 6]),
    ('c', [3, 4, 4, 4, 3]),
    ('d', [6, 5, 5, 5, 6]),
    ('e', [7, 4, 6, 4, 7]),
    ('f', [7, 4, 6, 4, 4]),
    ('g', [3, 4, 5, 5, 3]),
    ('h', [5, 5, 7, 5, 5]),
    ('i', [7, 2, 2, 2, 7]),
    ('j', [1, 1, 1, 5, 2]),
    ('k', [5, 5, 6, 5, 5]),
    ('l', [4, 4, 4, 4, 7]),
    ('m', [5, 7, 7, 5, 5]),
    ('n', [6, 5, 5, 5, 5]),
    ('o', [2, 5, 5, 5, 2]),
    ('p', [6, 5, 6, 4, 4]),
    ('q', [2, 5, 5, 6, 3]),
    ('r', [6, 5, 6, 5, 5]),
    ('s', [3, 4, 2, 1, 6]),
    ('t', [7, 2, 2, 2, 2]),
    ('u', [5, 5, 5, 5, 7]),
    ('v', [5, 5, 5, 5, 2]),
    ('w', [5, 5, 7, 7, 5]),
    ('x', [5, 5, 2, 5, 5]),
    ('y', [5, 5, 2, 2, 2]),
    ('z', [7, 1, 2, 4, 7]),
    ('0', [7, 5, 5, 5, 7]),
    ('1', [2, 6, 2, 2, 7]),
    ('2', [6, 1, 2, 4, 7]),
    ('3', [6, 1, 2, 1, 6]),
    ('4', [5, 5, 7, 1, 1]),
    ('5', [7, 4, 6, 1, 6]),
    ('6', [3, 4, 7, 5, 7]),
    ('7', [7, 1, 2, 2, 2]),
    ('8', [7, 5, 7, 5, 7]),
    ('9', [7, 5, 7, 1, 6]),
    ('-', [0, 0, 7, 0, 0]),
    ('_', [0, 0, 0, 0, 7]),
    ('/', [1, 1, 2, 4, 4]),
    ('.', [0, 0, 0, 0, 2]),
];
