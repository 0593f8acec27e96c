//! The number types of activations, and the arithmetic done on them.

use bytemuck::Pod;
use half::bf16;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub, SubAssign};

/// Floating-point type of parameters, statistics and accumulation: `f32` or `f64`.
pub trait Float:
    Element<Param = Self>
    + PartialOrd
    + Default
    + std::fmt::Debug
    + std::fmt::Display
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self;
    /// The exact value as `f64`.
    fn to_f64(self) -> f64;
    /// Square root.
    fn sqrt(self) -> Self;
    /// `self * a + b`, fused where the target's baseline has the instruction.
    #[inline(always)]
    fn multiply_add(self, a: Self, b: Self) -> Self {
        self * a + b
    }
}

/// Type of an activation: `f32`, `f64` or [`half::bf16`]. Sealed: kernels exist for these three.
pub trait Element: Pod + Send + Sync + PartialEq + std::fmt::Debug + 'static {
    /// Type of the parameters, statistics and accumulators that go with it.
    type Param: Float;
    /// Images are stored in multiples of this many, the rest zero.
    const BATCH_ALIGN: usize;
    /// Name in messages and records.
    const NAME: &'static str;
    /// Widens, exactly.
    fn widen(self) -> Self::Param;
    /// Rounds to nearest, ties to even.
    fn narrow(value: Self::Param) -> Self;
}

macro_rules! real {
    ($type:ident) => {
        impl Float for $type {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $type
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $type::sqrt(self)
            }
            #[cfg(target_arch = "aarch64")]
            #[inline(always)]
            fn multiply_add(self, a: Self, b: Self) -> Self {
                self.mul_add(a, b)
            }
        }
        impl Element for $type {
            type Param = $type;
            const BATCH_ALIGN: usize = 1;
            const NAME: &'static str = stringify!($type);
            #[inline(always)]
            fn widen(self) -> Self {
                self
            }
            #[inline(always)]
            fn narrow(value: Self) -> Self {
                value
            }
        }
    };
}
real!(f32);
real!(f64);

impl Element for bf16 {
    type Param = f32;
    const BATCH_ALIGN: usize = 16;
    const NAME: &'static str = "bf16";
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
    /// Branch-free so that it vectorises; a NaN stays a NaN.
    #[inline(always)]
    fn narrow(value: f32) -> Self {
        let bits = value.to_bits();
        let rounded = (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16;
        let quiet = (bits >> 16) as u16 | 0x40;
        bf16::from_bits(if bits & 0x7fff_ffff > 0x7f80_0000 {
            quiet
        } else {
            rounded
        })
    }
}
