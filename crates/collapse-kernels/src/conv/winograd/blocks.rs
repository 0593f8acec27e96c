//! How maps divide into tiles, and tiles of images into blocks.
//!
//! A *row* of the products is a tile of an image.

use super::kernel::BLOCK_ROWS;
use crate::shape::Shape;
use std::ops::Range;

/// Squares of `side` × `side` pixels that cover a map; the last ones may reach beyond it.
#[derive(Clone, Copy)]
pub(super) struct Tiling {
    map: (usize, usize),
    side: usize,
    across: usize,
    pub(super) count: usize,
}

impl Tiling {
    pub(super) fn new(shape: Shape, side: usize) -> Self {
        let across = shape.w.div_ceil(side);
        Self {
            map: (shape.h, shape.w),
            side,
            across,
            count: across * shape.h.div_ceil(side),
        }
    }

    /// Pixels of a line of the map.
    pub(super) fn width(&self) -> usize {
        self.map.1
    }

    /// Line and column of a tile among the tiles.
    pub(super) fn place(&self, tile: usize) -> (usize, usize) {
        (tile / self.across, tile % self.across)
    }

    /// Lines and columns of a tile's pixels that are on the map.
    pub(super) fn extent(&self, tile: usize) -> (usize, usize) {
        let (y, x) = self.place(tile);
        let left = |place: usize, side: usize| (side - place * self.side).min(self.side);
        (left(y, self.map.0), left(x, self.map.1))
    }
}

/// Tiles of all images, cut into blocks of about as many rows as asked for. Depends on shapes alone.
#[derive(Clone, Copy)]
pub(super) struct Blocks {
    images: usize,
    tiles: usize,
    images_each: usize,
    tiles_each: usize,
    /// Blocks of images; those of one tile follow `tile_blocks` apart.
    pub(super) image_blocks: usize,
    tile_blocks: usize,
}

/// Some images of some tiles: row `(tile − tiles.start) · images + image − first_image`.
#[derive(Clone)]
pub(super) struct Block {
    pub(super) first_image: usize,
    pub(super) images: usize,
    pub(super) tiles: Range<usize>,
    /// Which of the blocks of images.
    pub(super) image_block: usize,
}

impl Blocks {
    /// `rows` a multiple of eight.
    pub(super) fn new(images: usize, tiles: usize, rows: usize) -> Self {
        let images_each = images.clamp(1, rows);
        let tiles_each = (rows / images_each).clamp(1, tiles.max(1));
        Self {
            images,
            tiles,
            images_each,
            tiles_each,
            image_blocks: images.div_ceil(images_each),
            tile_blocks: tiles.div_ceil(tiles_each),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.image_blocks * self.tile_blocks
    }

    /// Rows of the largest block, in whole blocks of eight.
    pub(super) fn rows(&self) -> usize {
        (self.images_each * self.tiles_each).next_multiple_of(BLOCK_ROWS)
    }

    pub(super) fn get(&self, index: usize) -> Block {
        let (image_block, tile_block) = (index / self.tile_blocks, index % self.tile_blocks);
        let first_image = image_block * self.images_each;
        let first_tile = tile_block * self.tiles_each;
        Block {
            first_image,
            images: self.images_each.min(self.images - first_image),
            tiles: first_tile..(first_tile + self.tiles_each).min(self.tiles),
            image_block,
        }
    }

    /// Images in one of the blocks of images.
    pub(super) fn images_in(&self, image_block: usize) -> usize {
        self.images_each
            .min(self.images - image_block * self.images_each)
    }
}

impl Block {
    pub(super) fn rows(&self) -> usize {
        self.tiles.len() * self.images
    }
}

/// One line of 64 bytes more than needed, so that points do not fall on the same sets of the caches.
pub(super) fn padded<T>(len: usize) -> usize {
    len + 64 / size_of::<T>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_take_every_row_once_and_extents_cover_the_map() {
        for (images, h, w, rows) in [
            (1, 1, 1, 8),
            (5, 7, 9, 8),
            (128, 8, 8, 32),
            (3, 13, 4, 16),
            (40, 4, 4, 16),
        ] {
            let shape = Shape {
                h,
                w,
                n: images,
                c: 1,
            };
            let tiling = Tiling::new(shape, 4);
            let covered: usize = (0..tiling.count)
                .map(|t| tiling.extent(t))
                .map(|(y, x)| y * x)
                .sum();
            assert_eq!(covered, h * w);
            let blocks = Blocks::new(images, tiling.count, rows);
            let mut seen = vec![0; images * tiling.count];
            for block in (0..blocks.len()).map(|i| blocks.get(i)) {
                assert!(block.rows() <= blocks.rows());
                assert_eq!(blocks.images_in(block.image_block), block.images);
                for tile in block.tiles.clone() {
                    for image in block.first_image..block.first_image + block.images {
                        seen[tile * images + image] += 1;
                    }
                }
            }
            assert!(seen.iter().all(|&s| s == 1));
        }
    }
}
