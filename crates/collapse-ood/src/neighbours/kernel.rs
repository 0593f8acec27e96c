//! Inner products of whole numbers, several queries by sixteen rows at a time.
//!
//! A panel holds sixteen rows by pairs of columns, so that one instruction multiplies a pair of a query with the pairs of
//! eight rows and adds the two products. AVX2 by [`pulp`]'s safe face of it; the plain form elsewhere.

/// Rows of a panel.
pub(super) const ROWS: usize = 16;
/// Queries of a tile.
pub(super) const QUERIES: usize = 6;

/// One pair of columns of every row: `[row 0 left, row 0 right, row 1 left, …]`.
pub(super) type RowPairs = [i16; 2 * ROWS];
/// One pair of columns of every query, `left + right · 2¹⁶`.
pub(super) type QueryPairs = [i32; QUERIES];
/// The products of every query with every row.
pub(super) type Products = [[i32; ROWS]; QUERIES];

/// Two numbers side by side in one.
pub(super) fn pair(left: i16, right: i16) -> i32 {
    i32::from(left as u16 as i16) & 0xffff | i32::from(right) << 16
}

/// Products over all pairs; no sum may leave the range of i32.
pub(super) fn products(rows: &[RowPairs], queries: &[QueryPairs]) -> Products {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return simd.vectorize(avx2::Tile {
            simd,
            rows,
            queries,
        });
    }
    plain(rows, queries)
}

fn plain(rows: &[RowPairs], queries: &[QueryPairs]) -> Products {
    let mut sums = [[0; ROWS]; QUERIES];
    for (rows, queries) in rows.iter().zip(queries) {
        for (sums, query) in sums.iter_mut().zip(queries) {
            let (left, right) = (i32::from(*query as i16), query >> 16);
            for (sum, row) in sums.iter_mut().zip(rows.as_chunks::<2>().0) {
                *sum += left * i32::from(row[0]) + right * i32::from(row[1]);
            }
        }
    }
    sums
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use pulp::NullaryFnOnce;
    use pulp::x86::V3;

    use super::{Products, QUERIES, QueryPairs, RowPairs};

    pub(super) struct Tile<'a> {
        pub(super) simd: V3,
        pub(super) rows: &'a [RowPairs],
        pub(super) queries: &'a [QueryPairs],
    }

    impl NullaryFnOnce for Tile<'_> {
        type Output = Products;

        #[inline(always)]
        fn call(self) -> Products {
            let V3 { avx, avx2, .. } = self.simd;
            let mut sums = [[avx._mm256_setzero_si256(); 2]; QUERIES];
            for (rows, queries) in self.rows.iter().zip(self.queries) {
                let rows: [core::arch::x86_64::__m256i; 2] = pulp::cast(*rows);
                for (sums, query) in sums.iter_mut().zip(queries) {
                    let query = avx._mm256_set1_epi32(*query);
                    for (sum, rows) in sums.iter_mut().zip(rows) {
                        *sum = avx2._mm256_add_epi32(*sum, avx2._mm256_madd_epi16(rows, query));
                    }
                }
            }
            sums.map(pulp::cast)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collapse_random::Stream;

    /// Against the definition, with the largest numbers that occur.
    #[test]
    fn every_form_sums_products() {
        let mut stream = Stream::new(1, "whole numbers", 0);
        for n_pairs in [1, 2, 7, 64] {
            let bound = (i32::MAX as f64 / (2.0 * n_pairs as f64))
                .sqrt()
                .min(32767.0);
            let mut number = || match stream.below(4) {
                0 => bound as i16,
                1 => -(bound as i16),
                _ => ((stream.below(2001) as f64 / 1000.0 - 1.0) * bound) as i16,
            };
            let rows: Vec<Vec<i16>> = (0..ROWS)
                .map(|_| (0..2 * n_pairs).map(|_| number()).collect())
                .collect();
            let queries: Vec<Vec<i16>> = (0..QUERIES)
                .map(|_| (0..2 * n_pairs).map(|_| number()).collect())
                .collect();
            let panel: Vec<RowPairs> = (0..n_pairs)
                .map(|p| std::array::from_fn(|i| rows[i / 2][2 * p + i % 2]))
                .collect();
            let tile: Vec<QueryPairs> = (0..n_pairs)
                .map(|p| std::array::from_fn(|q| pair(queries[q][2 * p], queries[q][2 * p + 1])))
                .collect();
            let dot = |a: &[i16], b: &[i16]| {
                a.iter()
                    .zip(b)
                    .map(|(a, b)| i32::from(*a) * i32::from(*b))
                    .sum::<i32>()
            };
            let expected: Products =
                std::array::from_fn(|q| std::array::from_fn(|r| dot(&queries[q], &rows[r])));
            assert_eq!(plain(&panel, &tile), expected);
            assert_eq!(products(&panel, &tile), expected);
        }
    }
}
