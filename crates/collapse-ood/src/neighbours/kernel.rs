//! Inner products of whole numbers, several queries by the rows of a panel at a time.
//!
//! A panel holds its rows by pairs of columns, so that one instruction multiplies a pair of a query with the pairs of
//! eight rows or sixteen and adds the two products. AVX-512, with VNNI where there is it, or AVX2 by
//! [`pulp`]'s safe face of them; the plain form elsewhere.

use pulp::NullaryFnOnce;

/// Rows of a panel.
pub(super) const ROWS: usize = 32;
/// Queries of a tile.
pub(super) const QUERIES: usize = 8;

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

/// The vectors of a processor.
pub(super) trait Simd: Copy {
    /// `work` with these instructions.
    fn run<W: NullaryFnOnce>(self, work: W) -> W::Output;

    /// Products over all pairs; no sum may leave the range of i32. Fast inside [`run`](Self::run).
    fn products(self, rows: &[RowPairs], queries: &[QueryPairs]) -> Products;
}

/// Work for whatever vectors there are.
pub(super) trait Work {
    type Output;

    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// `work` with the widest vectors of this processor.
pub(super) fn on_this_processor<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(simd) = x86::Vnni::try_new() {
            return work.run(simd);
        }
        if let Some(simd) = pulp::x86::V4::try_new() {
            return work.run(simd);
        }
        if let Some(simd) = pulp::x86::V3::try_new() {
            return work.run(simd);
        }
    }
    work.run(Plain)
}

/// No vectors but those the compiler finds.
#[derive(Clone, Copy)]
pub(super) struct Plain;

impl Simd for Plain {
    fn run<W: NullaryFnOnce>(self, work: W) -> W::Output {
        work.call()
    }

    fn products(self, rows: &[RowPairs], queries: &[QueryPairs]) -> Products {
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
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m256i, __m512i, _mm512_dpwssd_epi32};

    use pulp::NullaryFnOnce;
    use pulp::x86::{V3, V4};

    use super::{Products, QUERIES, QueryPairs, ROWS, RowPairs, Simd};

    /// Vectors of 512 bits.
    trait Wide: Copy {
        fn avx512(self) -> V4;
        /// `sum + Σ rows · query` over each pair.
        fn add_products(self, sum: __m512i, rows: __m512i, query: __m512i) -> __m512i;
    }

    #[inline(always)]
    fn wide_products(simd: impl Wide, rows: &[RowPairs], queries: &[QueryPairs]) -> Products {
        let V4 { avx512f, .. } = simd.avx512();
        let mut sums = [[avx512f._mm512_setzero_si512(); 2]; QUERIES];
        for (rows, queries) in rows.iter().zip(queries) {
            let rows: [__m512i; 2] = pulp::cast(*rows);
            for (sums, query) in sums.iter_mut().zip(queries) {
                let query = avx512f._mm512_set1_epi32(*query);
                for (sum, rows) in sums.iter_mut().zip(rows) {
                    *sum = simd.add_products(*sum, rows, query);
                }
            }
        }
        sums.map(pulp::cast)
    }

    impl Wide for V4 {
        #[inline(always)]
        fn avx512(self) -> V4 {
            self
        }

        #[inline(always)]
        fn add_products(self, sum: __m512i, rows: __m512i, query: __m512i) -> __m512i {
            let products = self.avx512bw._mm512_madd_epi16(rows, query);
            self.avx512f._mm512_add_epi32(sum, products)
        }
    }

    impl Simd for V4 {
        fn run<W: NullaryFnOnce>(self, work: W) -> W::Output {
            self.vectorize(work)
        }

        #[inline(always)]
        fn products(self, rows: &[RowPairs], queries: &[QueryPairs]) -> Products {
            wide_products(self, rows, queries)
        }
    }

    /// AVX-512 with VNNI, which adds as it multiplies. A value proves that the processor has both.
    #[derive(Clone, Copy)]
    pub(super) struct Vnni(V4);

    impl Vnni {
        pub(super) fn try_new() -> Option<Self> {
            let simd = V4::try_new()?;
            std::arch::is_x86_feature_detected!("avx512vnni").then_some(Self(simd))
        }
    }

    #[allow(unsafe_code)]
    impl Wide for Vnni {
        #[inline(always)]
        fn avx512(self) -> V4 {
            self.0
        }

        #[inline(always)]
        fn add_products(self, sum: __m512i, rows: __m512i, query: __m512i) -> __m512i {
            // SAFETY: `self` proves that the instruction exists.
            unsafe { _mm512_dpwssd_epi32(sum, rows, query) }
        }
    }

    #[allow(unsafe_code)]
    impl Simd for Vnni {
        fn run<W: NullaryFnOnce>(self, work: W) -> W::Output {
            #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni")]
            fn with<W: NullaryFnOnce>(work: W) -> W::Output {
                work.call()
            }
            // SAFETY: `self` proves that the instructions exist.
            unsafe { with(work) }
        }

        #[inline(always)]
        fn products(self, rows: &[RowPairs], queries: &[QueryPairs]) -> Products {
            wide_products(self, rows, queries)
        }
    }

    /// Queries and rows whose sums fit the registers.
    const SOME: usize = QUERIES / 2;
    const HALF: usize = ROWS / 2;

    impl Simd for V3 {
        fn run<W: NullaryFnOnce>(self, work: W) -> W::Output {
            self.vectorize(work)
        }

        #[inline(always)]
        fn products(self, rows: &[RowPairs], queries: &[QueryPairs]) -> Products {
            let V3 { avx, avx2, .. } = self;
            let mut out = [[0; ROWS]; QUERIES];
            for (first, half) in [(0, 0), (0, 1), (SOME, 0), (SOME, 1)] {
                let mut sums = [[avx._mm256_setzero_si256(); 2]; SOME];
                for (rows, queries) in rows.iter().zip(queries) {
                    let rows: [[__m256i; 2]; 2] = pulp::cast(*rows);
                    for (sums, query) in sums.iter_mut().zip(&queries[first..]) {
                        let query = avx._mm256_set1_epi32(*query);
                        for (sum, rows) in sums.iter_mut().zip(rows[half]) {
                            *sum = avx2._mm256_add_epi32(*sum, avx2._mm256_madd_epi16(rows, query));
                        }
                    }
                }
                for (out, sums) in out[first..].iter_mut().zip(sums) {
                    let sums: [i32; HALF] = pulp::cast(sums);
                    out[half * HALF..][..HALF].copy_from_slice(&sums);
                }
            }
            out
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
            assert_eq!(Plain.products(&panel, &tile), expected);
            #[cfg(target_arch = "x86_64")]
            {
                let (panel, tile) = (panel.as_slice(), tile.as_slice());
                if let Some(simd) = pulp::x86::V3::try_new() {
                    assert_eq!(simd.run(|| simd.products(panel, tile)), expected);
                }
                if let Some(simd) = x86::Vnni::try_new() {
                    assert_eq!(simd.run(|| simd.products(panel, tile)), expected);
                }
                if let Some(simd) = pulp::x86::V4::try_new() {
                    assert_eq!(simd.run(|| simd.products(panel, tile)), expected);
                }
            }
        }
    }
}
