//! Which instructions the kernels use: found once, overridable, recorded.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use crate::peak::bf16_products_pay;
use crate::threads::forcing;
use std::cell::Cell;
use std::str::FromStr;
use std::sync::OnceLock;

/// Environment variable that overrides the detected path.
pub const PATH_VARIABLE: &str = "COLLAPSE_KERNEL_PATH";

/// A family of instructions. Later variants include what earlier ones of the same architecture do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KernelPath {
    /// Plain Rust, vectorised by the compiler for the baseline of the target.
    Portable,
    /// AArch64: the portable code with NEON's fused multiply-add, which is that target's baseline.
    Neon,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    Avx512,
    /// As `Avx512`; bf16 products by `vdpbf16ps`.
    Avx512Bf16,
    /// As `Avx512Bf16`; bf16 products by AMX tiles. f32 work runs on AVX-512.
    AmxBf16,
}

impl KernelPath {
    const ALL: [KernelPath; 6] = [
        Self::Portable,
        Self::Neon,
        Self::Avx2,
        Self::Avx512,
        Self::Avx512Bf16,
        Self::AmxBf16,
    ];

    /// Name used in the environment variable and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512-bf16",
            Self::AmxBf16 => "amx-bf16",
        }
    }

    /// The best path of this machine: the last that it can run, but for `avx512-bf16` where registers do fewer products of bf16 than of f32
    /// ([`bf16_products_pay`], as on an Intel Xeon without AMX). There it is `avx512`, which multiplies bf16 as f32.
    pub fn detect() -> Self {
        match Self::available().last().copied() {
            Some(path @ Self::Avx512Bf16) if bf16_products_pay(path) == Ok(false) => Self::Avx512,
            best => best.unwrap_or(Self::Portable),
        }
    }

    /// Every path this machine can run, slowest first.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|p| p.is_available()).collect()
    }

    /// Whether this machine can run the path.
    pub fn is_available(self) -> bool {
        static FOUND: OnceLock<[bool; 6]> = OnceLock::new();
        FOUND.get_or_init(|| Self::ALL.map(Self::probe))[self as usize]
    }

    /// Asserts that this path runs here and includes what `least` needs: what the value of a kernel proves.
    ///
    /// # Panics
    /// If it does not: paths in force have been checked, so that would be a mistake in the dispatch.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn assert_includes(self, least: Self) {
        assert!(
            self >= least && self.is_available(),
            "path {self} does not offer the instructions of {least} here"
        );
    }

    #[cfg(target_arch = "x86_64")]
    fn probe(self) -> bool {
        if cfg!(miri) {
            return self == Self::Portable;
        }
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = avx2
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        let bf16 = avx512 && is_x86_feature_detected!("avx512bf16");
        match self {
            Self::Portable => true,
            Self::Neon => false,
            Self::Avx2 => avx2,
            Self::Avx512 => avx512,
            Self::Avx512Bf16 => bf16,
            Self::AmxBf16 => bf16 && amx_granted(),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn probe(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Neon => cfg!(target_arch = "aarch64"),
            _ => false,
        }
    }

    pub(crate) fn list(paths: &[Self]) -> String {
        paths
            .iter()
            .map(|p| p.name())
            .collect::<Vec<_>>()
            .join(", ")
    }

    fn checked(self) -> Result<Self> {
        if self.is_available() {
            Ok(self)
        } else {
            Err(Error::UnsupportedPath {
                path: self,
                available: Self::available(),
            })
        }
    }
}

impl std::fmt::Display for KernelPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KernelPath {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|p| p.name() == name)
            .ok_or_else(|| Error::UnknownPath {
                name: name.to_owned(),
                available: Self::available(),
            })
    }
}

/// CPUID says the tiles exist, and Linux grants this process their state.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn amx_granted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    const AMX_BF16_AND_TILE: u32 = 1 << 22 | 1 << 24;
    if std::arch::x86_64::__cpuid(0).eax < 7
        || std::arch::x86_64::__cpuid_count(7, 0).edx & AMX_BF16_AND_TILE != AMX_BF16_AND_TILE
    {
        return false;
    }
    // SAFETY: arch_prctl with this code reads two integers and touches no memory of ours.
    unsafe {
        libc::syscall(
            libc::SYS_arch_prctl,
            ARCH_REQ_XCOMP_PERM,
            XFEATURE_XTILEDATA,
        ) == 0
    }
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn amx_granted() -> bool {
    false
}

thread_local! {
    /// The path of [`with_kernel_path`].
    pub(crate) static FORCED: Cell<Option<KernelPath>> = const { Cell::new(None) };
}

/// The path operations started on this thread take: the one of [`with_kernel_path`] if inside it,
/// else the one named by `COLLAPSE_KERNEL_PATH`, else the best of this machine. Chosen once per process.
///
/// # Errors
/// If the variable names no path, or one this machine cannot run.
pub fn kernel_path() -> Result<KernelPath> {
    static CHOSEN: OnceLock<Result<KernelPath>> = OnceLock::new();
    if let Some(path) = FORCED.get() {
        return Ok(path);
    }
    CHOSEN
        .get_or_init(|| match std::env::var(PATH_VARIABLE) {
            Ok(name) if !name.is_empty() => name.parse::<KernelPath>()?.checked(),
            _ => Ok(KernelPath::detect()),
        })
        .clone()
}

/// Runs `work` with `path` in force for every operation it starts on this thread.
///
/// # Errors
/// If this machine cannot run the path.
pub fn with_kernel_path<R>(path: KernelPath, work: impl FnOnce() -> R) -> Result<R> {
    let path = path.checked()?;
    Ok(forcing(&FORCED, Some(path), work))
}

/// Vector instructions for the passes that are written once and compiled several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Base,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl KernelPath {
    pub(crate) fn level(self) -> Level {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Level::Avx2,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 | Self::Avx512Bf16 | Self::AmxBf16 => Level::Avx512,
            _ => Level::Base,
        }
    }
}

/// Compiles one safe function for every [`Level`] and picks at run time.
///
/// The body stands once and is inlined into twins that enable the instructions; there is nothing unsafe
/// in it. The only unsafe act is the call of a twin, sound because a `Level` other than `Base` comes from a
/// [`KernelPath`] whose features were found on this machine.
macro_rules! multiversion {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident $(<$lt:lifetime, $g:ident : $bound:path>)? ($($arg:ident : $type:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$attribute])*
        #[allow(unsafe_code, clippy::too_many_arguments)]
        $visibility fn $name $(<$lt, $g: $bound>)? (level: $crate::path::Level, $($arg: $type),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body $(<$lt, $g: $bound>)? ($($arg: $type),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2 $(<$lt, $g: $bound>)? ($($arg: $type),*) $(-> $ret)? { body($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            #[allow(clippy::too_many_arguments)]
            fn avx512 $(<$lt, $g: $bound>)? ($($arg: $type),*) $(-> $ret)? { body($($arg),*) }
            match level {
                $crate::path::Level::Base => body($($arg),*),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: this level exists only where AVX2 and FMA were detected.
                $crate::path::Level::Avx2 => unsafe { avx2($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: this level exists only where AVX-512 F, BW, DQ and VL were detected.
                $crate::path::Level::Avx512 => unsafe { avx512($($arg),*) },
            }
        }
    };
}
pub(crate) use multiversion;
