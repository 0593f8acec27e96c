//! Winograd's algorithms from their interpolation points, in f64, and what an implementation may err.
//!
//! An implementation of y = Aᵀ [Σ (G g Gᵀ) ⊙ (Bᵀ d B)] A makes some roundings on each path from an operand to y, so that
//! |error| ≤ γ_k · |Aᵀ| [Σ (|G| |g| |Gᵀ|) ⊙ (|Bᵀ| |d| |B|)] |A| for k roundings a path (Higham 2002, section 3.1). The right-hand side, the
//! *size* of an output, does not change if a row of B is scaled and the row of G with it inversely, so these matrices need not be
//! scaled as the implementation's.

use super::{roundoff, sum_roundoff};
use collapse_kernels::{Conv, NetworkElement, Shape};

/// Roundings on a path beside the sum over channels or rows: two transforms of two stages for each operand and two for the result,
/// each at most five roundings of values and of coefficients.
const TRANSFORM_ROUNDINGS: usize = 60;

/// One line of an algorithm: y = Aᵀ [(G g) ⊙ (Bᵀ d)].
pub struct Algorithm {
    /// Outputs of a tile in each dimension.
    pub m: usize,
    /// Inputs from a tile to the next, and before its first output's own.
    step: usize,
    margin: usize,
    /// α × inputs, α × 3, α × m.
    bt: Vec<Vec<f64>>,
    g: Vec<Vec<f64>>,
    a: Vec<Vec<f64>>,
}

/// Coefficients of Π (x − p), lowest first.
fn product_of_roots(points: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut coefficients = vec![1.0];
    for p in points {
        let mut next = vec![0.0; coefficients.len() + 1];
        for (k, c) in coefficients.iter().enumerate() {
            next[k + 1] += c;
            next[k] -= p * c;
        }
        coefficients = next;
    }
    coefficients
}

impl Algorithm {
    /// F(m, taps) with finite points and ∞ (Cook and Toom).
    fn new(points: &[f64], taps: usize) -> Self {
        let alpha = points.len() + 1;
        let m = alpha + 1 - taps;
        let powers = |p: f64, n: usize| -> Vec<f64> { (0..n).map(|k| p.powi(k as i32)).collect() };
        let last = |n: usize| -> Vec<f64> { (0..n).map(|k| f64::from(k + 1 == n)).collect() };
        let (mut bt, mut g, mut a) = (vec![], vec![], vec![]);
        for (i, &p) in points.iter().enumerate() {
            let others = || {
                points
                    .iter()
                    .enumerate()
                    .filter(|&(j, _)| j != i)
                    .map(|(_, &q)| q)
            };
            let norm: f64 = others().map(|q| p - q).product();
            let mut row = product_of_roots(others());
            row.resize(alpha, 0.0);
            bt.push(row);
            g.push(powers(p, taps).into_iter().map(|v| v / norm).collect());
            a.push(powers(p, m));
        }
        bt.push(product_of_roots(points.iter().copied()));
        g.push(last(taps));
        a.push(last(m));
        Self {
            m,
            step: m,
            margin: 1,
            bt,
            g,
            a,
        }
    }

    pub fn two() -> Self {
        Self::new(&[0.0, 1.0, -1.0], 3)
    }

    pub fn four() -> Self {
        let p = 2.0 / 3.0;
        Self::new(&[0.0, p, -p, 1.0 / p, -1.0 / p], 3)
    }

    /// Stride 2, forward: F(4, 2) of the odd inputs with the outer taps, and the even inputs times the middle tap.
    pub fn strided() -> Self {
        let odd = Self::new(&[0.5, -0.5, 1.5, -1.5], 2);
        let unit = |n: usize, k: usize| -> Vec<f64> { (0..n).map(|j| f64::from(j == k)).collect() };
        let mut all = Self {
            m: 4,
            step: 8,
            margin: 1,
            bt: vec![],
            g: vec![],
            a: vec![],
        };
        for ((bt, g), a) in odd.bt.iter().zip(&odd.g).zip(&odd.a) {
            all.bt.push(
                (0..9)
                    .map(|j| if j % 2 == 0 { bt[j / 2] } else { 0.0 })
                    .collect(),
            );
            all.g.push(vec![g[0], 0.0, g[1]]);
            all.a.push(a.clone());
        }
        for k in 0..4 {
            all.bt.push(unit(9, 2 * k + 1));
            all.g.push(unit(3, 1));
            all.a.push(unit(4, k));
        }
        all
    }

    /// Stride 2, to the input.
    pub fn unstrided() -> Self {
        let odd = Self::new(&[0.5, -0.5, 1.5, -1.5], 2);
        let unit = |n: usize, k: usize| -> Vec<f64> { (0..n).map(|j| f64::from(j == k)).collect() };
        let mut all = Self {
            m: 8,
            step: 4,
            margin: 0,
            bt: vec![],
            g: vec![],
            a: vec![],
        };
        for ((bt, g), a) in odd.bt.iter().zip(&odd.g).zip(&odd.a) {
            all.bt.push(bt.clone());
            all.g.push(vec![g[0], 0.0, g[1]]);
            all.a.push(
                (0..8)
                    .map(|j| if j % 2 == 1 { a[j / 2] } else { 0.0 })
                    .collect(),
            );
        }
        for k in 0..4 {
            all.bt.push(unit(5, k));
            all.g.push(unit(3, 1));
            all.a.push(unit(8, 2 * k));
        }
        all
    }

    fn absolute(&self) -> Self {
        let abs = |m: &Vec<Vec<f64>>| -> Vec<Vec<f64>> {
            m.iter()
                .map(|r| r.iter().map(|v| v.abs()).collect())
                .collect()
        };
        Self {
            bt: abs(&self.bt),
            g: abs(&self.g),
            a: abs(&self.a),
            ..*self
        }
    }

    /// L X Lᵀ
    fn square(l: &[Vec<f64>], x: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let times = |l: &[Vec<f64>], x: &[Vec<f64>]| -> Vec<Vec<f64>> {
            l.iter()
                .map(|row| {
                    (0..x[0].len())
                        .map(|j| row.iter().zip(x).map(|(l, x)| l * x[j]).sum())
                        .collect()
                })
                .collect()
        };
        let half = times(l, x);
        times(l, &transposed(&half))
            .into_iter()
            .fold(vec![vec![]; half.len()], |mut t, row| {
                t.iter_mut().zip(row).for_each(|(t, v)| t.push(v));
                t
            })
    }
}

fn transposed(x: &[Vec<f64>]) -> Vec<Vec<f64>> {
    (0..x[0].len())
        .map(|j| x.iter().map(|row| row[j]).collect())
        .collect()
}

/// A map's window of n × n pixels from (y, x) on, zeros outside.
fn window(map: &[f64], (h, w): (usize, usize), (y, x): (isize, isize), n: usize) -> Vec<Vec<f64>> {
    let at = |y: isize, x: isize| {
        let inside = (0..h as isize).contains(&y) && (0..w as isize).contains(&x);
        if inside {
            map[y as usize * w + x as usize]
        } else {
            0.0
        }
    };
    (0..n as isize)
        .map(|i| (0..n as isize).map(|j| at(y + i, x + j)).collect())
        .collect()
}

/// A convolution of 3×3, in torch's order.
pub struct Problem<'a> {
    pub conv: Conv,
    pub input: Shape,
    pub x: &'a [f64],
    pub w: &'a [f64],
    pub dy: &'a [f64],
}

impl Problem<'_> {
    fn planes(values: &[f64], shape: Shape, channels: usize, n: usize, c: usize) -> &[f64] {
        let plane = shape.h * shape.w;
        &values[(n * channels + c) * plane..][..plane]
    }

    /// Sizes (or, with `exact`, values) of the forward pass, or of the gradient to the input.
    pub fn gathered(&self, algorithm: &Algorithm, to_input: bool, exact: bool) -> Vec<f64> {
        let absolute;
        let l = if exact {
            algorithm
        } else {
            absolute = algorithm.absolute();
            &absolute
        };
        let (i, o) = (self.conv.in_channels(), self.conv.out_channels());
        let (source, from, to) = if to_input {
            (self.dy, o, i)
        } else {
            (self.x, i, o)
        };
        let value = |v: f64| if exact { v } else { v.abs() };
        let output = self.conv.output_shape(self.input);
        let (from_map, to_map) = if to_input {
            (output, self.input)
        } else {
            (self.input, output)
        };
        let (h, w, n) = (to_map.h, to_map.w, to_map.n);
        let (alpha, inputs) = (l.bt.len(), l.bt[0].len());
        let filter = |s: usize, t: usize| -> Vec<Vec<f64>> {
            let (row, column) = if to_input { (s, t) } else { (t, s) };
            let taps = &self.w[(row * i + column) * 9..][..9];
            let tap = |k: usize| value(if to_input { taps[8 - k] } else { taps[k] });
            let g: Vec<Vec<f64>> = (0..3)
                .map(|y| (0..3).map(|x| tap(y * 3 + x)).collect())
                .collect();
            Algorithm::square(&l.g, &g)
        };
        let filters: Vec<Vec<Vec<f64>>> = (0..from * to).map(|k| filter(k / to, k % to)).collect();
        let mut out = vec![0.0; n * to * h * w];
        for image in 0..n {
            for (ty, tx) in tiles(h, w, l.m) {
                let corner = |t: usize| (t / l.m * l.step) as isize - l.margin as isize;
                let transforms: Vec<Vec<Vec<f64>>> = (0..from)
                    .map(|s| {
                        let plane = Self::planes(source, from_map, from, image, s);
                        let mut d = window(
                            plane,
                            (from_map.h, from_map.w),
                            (corner(ty), corner(tx)),
                            inputs,
                        );
                        d.iter_mut().flatten().for_each(|v| *v = value(*v));
                        Algorithm::square(&l.bt, &d)
                    })
                    .collect();
                for t in 0..to {
                    let mut sum = vec![vec![0.0; alpha]; alpha];
                    for s in 0..from {
                        add_product(&mut sum, &filters[s * to + t], &transforms[s]);
                    }
                    let y = Algorithm::square(&transposed(&l.a), &sum);
                    for a in 0..l.m.min(h - ty) {
                        for b in 0..l.m.min(w - tx) {
                            out[((image * to + t) * h + ty + a) * w + tx + b] = y[a][b];
                        }
                    }
                }
            }
        }
        out
    }

    /// Sizes (or values) of the gradient to the weights.
    pub fn to_weights(&self, algorithm: &Algorithm, exact: bool) -> Vec<f64> {
        let absolute;
        let l = if exact {
            algorithm
        } else {
            absolute = algorithm.absolute();
            &absolute
        };
        let value = |v: f64| if exact { v } else { v.abs() };
        let (i, o) = (self.conv.in_channels(), self.conv.out_channels());
        let output = self.conv.output_shape(self.input);
        let alpha = l.bt.len();
        let mut sums = vec![vec![vec![0.0; alpha]; alpha]; i * o];
        for image in 0..output.n {
            for (ty, tx) in tiles(output.h, output.w, l.m) {
                let transform = |values: &[f64],
                                 shape: Shape,
                                 c: usize,
                                 matrix: &[Vec<f64>],
                                 corner: [isize; 2]| {
                    let plane = Self::planes(values, shape, shape.c, image, c);
                    let size = matrix[0].len();
                    let mut d = window(plane, (shape.h, shape.w), (corner[0], corner[1]), size);
                    d.iter_mut().flatten().for_each(|v| *v = value(*v));
                    Algorithm::square(matrix, &d)
                };
                let corner = [ty, tx].map(|t| (t / l.m * l.step) as isize - l.margin as isize);
                let v: Vec<_> = (0..i)
                    .map(|c| transform(self.x, self.input, c, &l.bt, corner))
                    .collect();
                let corner = [ty as isize, tx as isize];
                let y: Vec<_> = (0..o)
                    .map(|c| transform(self.dy, output, c, &l.a, corner))
                    .collect();
                for k in 0..o {
                    for c in 0..i {
                        add_product(&mut sums[k * i + c], &v[c], &y[k]);
                    }
                }
            }
        }
        sums.iter()
            .flat_map(|sum| {
                Algorithm::square(&transposed(&l.g), sum)
                    .into_iter()
                    .flatten()
            })
            .collect()
    }
}

fn tiles(h: usize, w: usize, side: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..h)
        .step_by(side)
        .flat_map(move |y| (0..w).step_by(side).map(move |x| (y, x)))
}

fn add_product(sum: &mut [Vec<f64>], a: &[Vec<f64>], b: &[Vec<f64>]) {
    for ((sum, a), b) in sum
        .iter_mut()
        .flatten()
        .zip(a.iter().flatten())
        .zip(b.iter().flatten())
    {
        *sum += a * b;
    }
}

/// What a sum of `terms` products of this size may err: roundings of the accumulator all along, one of each operand to `Operand`, and one
/// of the result to `Result`.
pub fn bound<Operand: NetworkElement, Result: NetworkElement>(
    size: f64,
    terms: usize,
    value: f64,
) -> f64 {
    let k = (terms + TRANSFORM_ROUNDINGS) as f64 * sum_roundoff::<Operand>();
    let operand = if Operand::NAME == "bf16" {
        roundoff::<Operand>()
    } else {
        0.0
    };
    let relative = (1.0 + operand).powi(2) * (1.0 + k / (1.0 - k)) - 1.0;
    let error = relative * size + terms as f64 * 100.0 * f64::from(f32::MIN_POSITIVE);
    error + roundoff::<Result>() * (value.abs() + error)
}
