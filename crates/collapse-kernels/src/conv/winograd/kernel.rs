//! What the Winograd drivers ask of a path, and the two register-level products written once for all of them.
#![allow(unsafe_code)]

use crate::element::Element;
use crate::shape::LANES;

/// Rows of a block of the left operand: as many as a product takes at once on the widest path.
pub(super) const BLOCK_ROWS: usize = 8;

/// Parameters of an element type: the type of sums and of the transforms' arithmetic.
pub(super) type Param<K> = <<K as Kernel>::E as Element>::Param;

/// Vectors of a path, whose value is the proof that the machine has the instructions: whoever holds one may use them.
///
/// A *word* is what one lane multiplies: an element, or a pair of bf16.
pub(crate) trait Kernel: Copy + Send + Sync {
    /// Activations and operands of products.
    type E: Element;
    /// `LANES` sums.
    type V: Copy;
    /// `LANES` words.
    type W: Copy;
    /// Lanes of a vector; divides sixteen.
    const LANES: usize;
    /// Elements in a word.
    const GROUP: usize;

    /// Runs `work` compiled with the path's instructions.
    fn run<T: Work<Self>>(self, work: T);

    fn zero(self) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `factor · a`
    fn scale(self, factor: f64, a: Self::V) -> Self::V;
    /// `factor · a + b`
    fn scale_add(self, factor: f64, a: Self::V, b: Self::V) -> Self::V;
    /// `b − factor · a`
    fn scale_sub(self, factor: f64, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`
    fn multiply_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;

    /// Widens `LANES` elements where `inside` is all ones; zeros where it is 0.
    ///
    /// # Safety
    /// The elements exist, whatever `inside` says.
    unsafe fn load(self, source: *const Self::E, inside: u32) -> Self::V;
    /// Rounds `LANES` sums to elements and returns what they have become.
    ///
    /// # Safety
    /// The elements exist and are the caller's alone.
    unsafe fn put(self, target: *mut Self::E, v: Self::V) -> Self::V;
    /// Rounds the lanes of `GROUP` vectors to elements, those of one lane side by side: `LANES` words.
    ///
    /// # Safety
    /// The words exist and are the caller's alone.
    unsafe fn put_words(self, target: *mut Self::E, v: [Self::V; 2]);
    /// # Safety
    /// The sums exist.
    unsafe fn load_sums(self, source: *const Param<Self>) -> Self::V;
    /// # Safety
    /// The sums exist and are the caller's alone.
    unsafe fn store_sums(self, target: *mut Param<Self>, v: Self::V);

    /// One word in every lane.
    ///
    /// # Safety
    /// The word exists.
    unsafe fn broadcast(self, source: *const Self::E) -> Self::W;
    /// # Safety
    /// `LANES` words exist.
    unsafe fn words(self, source: *const Self::E) -> Self::W;
    /// `sum + a · b`, summed over the elements of a word.
    fn multiply(self, a: Self::W, b: Self::W, sum: Self::V) -> Self::V;

    /// [`product`] in registers that suit the path.
    ///
    /// # Safety
    /// As there.
    unsafe fn product(self, p: Product<Self>);
    /// [`outer`] in registers that suit the path.
    ///
    /// # Safety
    /// As there.
    unsafe fn outer(self, o: Outer<Self>);
}

/// What is compiled for each path.
pub(crate) trait Work<K: Kernel> {
    fn run(self, kernel: K);
}

/// Elements of a line: sixteen words.
pub(super) const fn line<K: Kernel>() -> usize {
    LANES * K::GROUP
}

/// Eight rows times 16 or 32 columns: `m[r][j] = Σ_k v[r][k] · u[k][j]`.
pub(crate) struct Product<K: Kernel> {
    /// `[words / 16][8 rows][16 words]`, so that one pointer walks on and all broadcasts have constant distances.
    pub(super) v: *const K::E,
    /// `[words][columns]` words.
    pub(super) u: *const K::E,
    pub(super) words: usize,
    /// `[8 rows][columns]`.
    pub(super) m: *mut Param<K>,
    /// 16 or 32.
    pub(super) columns: usize,
}

/// Sixteens of words that are summed in registers before they join the sum in memory.
///
/// Most of the error of a Winograd convolution in f32 is that of long sums, whose transforms then cancel. Sums of sixteen leave a network's
/// features about as exact as the direct kernels do, for 3 to 5 % of a product's time. Between bf16 operands the sum's own error is nothing.
const fn sixteens_at_once<K: Kernel>() -> usize {
    if K::GROUP == 1 { 1 } else { usize::MAX }
}

/// `R` rows by `C` vectors of columns at a time.
///
/// # Safety
/// The operands are as long as [`Product`] says and `m` is the caller's alone. `R` divides eight, `C` the columns' vectors.
#[inline(always)]
pub(super) unsafe fn product<K: Kernel, const R: usize, const C: usize>(kernel: K, p: &Product<K>) {
    let sixteens = p.words / LANES;
    for column in (0..p.columns).step_by(C * K::LANES) {
        for row in (0..BLOCK_ROWS).step_by(R) {
            // SAFETY: addresses of the operands' extents.
            unsafe {
                let mut v = p.v.add(row * line::<K>());
                let mut u = p.u.add(column * K::GROUP);
                let m = p.m.add(row * p.columns + column);
                let mut done = 0;
                loop {
                    let mut sums = [[kernel.zero(); C]; R];
                    let part = (sixteens - done).min(sixteens_at_once::<K>());
                    for _ in 0..part {
                        for k in 0..LANES {
                            step::<K, R, C>(kernel, v.add(k * K::GROUP), u, line::<K>(), &mut sums);
                            u = u.add(p.columns * K::GROUP);
                        }
                        v = v.add(BLOCK_ROWS * line::<K>());
                    }
                    let first = done == 0;
                    done += part;
                    let last = done == sixteens;
                    if last {
                        for k in 0..p.words % LANES {
                            step::<K, R, C>(kernel, v.add(k * K::GROUP), u, line::<K>(), &mut sums);
                            u = u.add(p.columns * K::GROUP);
                        }
                    }
                    for (r, sums) in sums.iter().enumerate() {
                        for (c, &sum) in sums.iter().enumerate() {
                            let target = m.add(r * p.columns + c * K::LANES);
                            let sum = if first {
                                sum
                            } else {
                                kernel.add(kernel.load_sums(target), sum)
                            };
                            kernel.store_sums(target, sum);
                        }
                    }
                    if last {
                        break;
                    }
                }
            }
        }
    }
}

/// Adds the product of `R` words, `step` elements apart, and `C` vectors of words.
///
/// # Safety
/// They exist.
#[inline(always)]
unsafe fn step<K: Kernel, const R: usize, const C: usize>(
    kernel: K,
    a: *const K::E,
    b: *const K::E,
    step: usize,
    sums: &mut [[K::V; C]; R],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let b: [K::W; C] = std::array::from_fn(|c| kernel.words(b.add(c * line_part::<K>())));
        for (r, sums) in sums.iter_mut().enumerate() {
            let a = kernel.broadcast(a.add(r * step));
            for (sum, &b) in sums.iter_mut().zip(&b) {
                *sum = kernel.multiply(a, b, *sum);
            }
        }
    }
}

/// Elements of a vector of words.
const fn line_part<K: Kernel>() -> usize {
    K::LANES * K::GROUP
}

/// Up to sixteen input channels by 16 or 32 output channels: `d[i][j] (+)= Σ_lines v[line][i] · y[line][j]`. Blocks of eight lines
/// of sixteen words follow each other at the distances given, in elements.
pub(crate) struct Outer<K: Kernel> {
    pub(super) v: *const K::E,
    pub(super) v_step: usize,
    /// The second panel of sixteen output channels stands a block behind the first.
    pub(super) y: *const K::E,
    pub(super) y_step: usize,
    pub(super) blocks: usize,
    /// Input channels, a multiple of eight.
    pub(super) rows: usize,
    /// `[rows][columns]`.
    pub(super) d: *mut Param<K>,
    pub(super) columns: usize,
    /// Whether to add to what `d` holds.
    pub(super) accumulate: bool,
}

/// `R` rows by `C` vectors of columns at a time.
///
/// # Safety
/// The operands are as long as [`Outer`] says and `d` is the caller's alone. `R` divides eight, `C` the columns' vectors; `C`
/// vectors are at most sixteen columns or all of them.
#[inline(always)]
pub(super) unsafe fn outer<K: Kernel, const R: usize, const C: usize>(kernel: K, o: &Outer<K>) {
    let block = BLOCK_ROWS * line::<K>();
    for column in (0..o.columns).step_by(C * K::LANES) {
        for row in (0..o.rows).step_by(R) {
            // SAFETY: addresses of the operands' extents.
            unsafe {
                let mut sums = [[kernel.zero(); C]; R];
                let mut v = o.v.add(row * K::GROUP);
                let mut y = o.y.add(column / LANES * block + column % LANES * K::GROUP);
                for _ in 0..o.blocks {
                    for l in 0..BLOCK_ROWS {
                        let b: [K::W; C] = std::array::from_fn(|c| {
                            let lane = c * K::LANES;
                            let place = lane / LANES * block + lane % LANES * K::GROUP;
                            kernel.words(y.add(place + l * line::<K>()))
                        });
                        for (r, sums) in sums.iter_mut().enumerate() {
                            let a = kernel.broadcast(v.add(l * line::<K>() + r * K::GROUP));
                            for (sum, &b) in sums.iter_mut().zip(&b) {
                                *sum = kernel.multiply(a, b, *sum);
                            }
                        }
                    }
                    v = v.add(o.v_step);
                    y = y.add(o.y_step);
                }
                for (r, sums) in sums.iter().enumerate() {
                    for (c, &sum) in sums.iter().enumerate() {
                        let target = o.d.add((row + r) * o.columns + column + c * K::LANES);
                        let sum = if o.accumulate {
                            kernel.add(kernel.load_sums(target), sum)
                        } else {
                            sum
                        };
                        kernel.store_sums(target, sum);
                    }
                }
            }
        }
    }
}
