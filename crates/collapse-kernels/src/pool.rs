//! Memory that is taken once and used again, 64-byte aligned.
//!
//! First touch of fresh pages costs ten times a copy, and tile loads from unaligned buffers nearly twice an
//! aligned one, so every tensor lives in a block of this pool and returns to it when dropped.
#![allow(unsafe_code)]

use bytemuck::Pod;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

const ALIGN: usize = 64;
const HUGE_PAGE: usize = 2 << 20;
/// Blocks kept for later even when little is live.
const ALWAYS_KEPT: usize = 64 << 20;

/// What the pool has done since the process began, in bytes and counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolStatistics {
    /// Bytes ever taken from the system.
    pub allocated_bytes_total: usize,
    /// Bytes in tensors now.
    pub live: usize,
    /// Most bytes in tensors at any time.
    pub peak: usize,
    /// Bytes waiting to be used again.
    pub idle: usize,
    /// Times the system had to be asked.
    pub fresh_allocations: usize,
}

struct Block(NonNull<u8>);
// SAFETY: a block is plain memory owned by whoever holds it; nothing about it belongs to a thread.
unsafe impl Send for Block {}

/// Idle blocks of one size, the last returned last, each with the time it came back.
type Idle = VecDeque<(u64, Block)>;

struct Pool {
    idle: BTreeMap<usize, Idle>,
    /// Blocks that ever came back.
    clock: u64,
    statistics: PoolStatistics,
}

impl Pool {
    const fn new() -> Self {
        Self {
            idle: BTreeMap::new(),
            clock: 0,
            statistics: PoolStatistics {
                allocated_bytes_total: 0,
                live: 0,
                peak: 0,
                idle: 0,
                fresh_allocations: 0,
            },
        }
    }

    /// Keeps a block for later, in exchange for those that have waited longest: sizes in use stay, those of work that is
    /// over go.
    fn keep(&mut self, size: usize, block: Block) {
        self.clock += 1;
        let entry = (self.clock, block);
        self.idle.entry(size).or_default().push_back(entry);
        self.statistics.idle += size;
        // A cycle of work needs more than its peak where blocks of one size cannot serve for another.
        let peak = self.statistics.peak;
        while self.statistics.idle > (peak + peak / 2).max(ALWAYS_KEPT) {
            let Some((size, block)) = self.pop_oldest() else {
                break;
            };
            release(size, block);
        }
    }

    /// The block that has waited longest, with its size.
    fn pop_oldest(&mut self) -> Option<(usize, Block)> {
        let waiting = |(&size, idle): (&usize, &Idle)| Some((idle.front()?.0, size));
        let (_, size) = self.idle.iter().filter_map(waiting).min()?;
        let (_, block) = self.idle.get_mut(&size)?.pop_front()?;
        self.statistics.idle -= size;
        Some((size, block))
    }
}

static POOL: Mutex<Pool> = Mutex::new(Pool::new());

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Allocation counts of the tensor pool: in a steady state `fresh_allocations` stands still.
pub fn pool_statistics() -> PoolStatistics {
    pool().statistics
}

/// Has a pair of blocks of so many elements ready for every thread, so that which threads happen to work at the same time does not
/// decide when memory is taken.
pub(crate) fn reserve<A: Pod, B: Pod>((a, b): (usize, usize)) {
    let pair = |_| (Buffer::<A>::dirty(a), Buffer::<B>::dirty(b));
    let pairs: Vec<_> = (0..rayon::current_num_threads()).map(pair).collect();
    drop(pairs);
}

/// Gives every idle block back to the system.
pub fn release_idle_memory() {
    let mut pool = pool();
    while let Some((size, block)) = pool.pop_oldest() {
        release(size, block);
    }
}

fn release(size: usize, block: Block) {
    // SAFETY: idle blocks were allocated with exactly this layout and nobody else holds them.
    unsafe { dealloc(block.0.as_ptr(), layout(size)) };
}

/// Sizes come in steps of an eighth of their power of two, so that a shorter last batch finds a block.
fn size_class(bytes: usize) -> usize {
    let step = (bytes.max(1).next_power_of_two() / 16).max(1024);
    bytes.max(1).next_multiple_of(step)
}

fn layout(size: usize) -> Layout {
    let align = if size >= HUGE_PAGE { HUGE_PAGE } else { ALIGN };
    // SAFETY: the alignment is a power of two and sizes of real tensors lie far below isize::MAX;
    // `Buffer::dirty` checks that before it asks.
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

fn take(size: usize) -> NonNull<u8> {
    let mut pool = pool();
    let recycled = pool.idle.get_mut(&size).and_then(Idle::pop_back);
    pool.statistics.live += size;
    pool.statistics.peak = pool.statistics.peak.max(pool.statistics.live);
    if let Some((_, block)) = recycled {
        pool.statistics.idle -= size;
        return block.0;
    }
    pool.statistics.allocated_bytes_total += size;
    pool.statistics.fresh_allocations += 1;
    drop(pool);
    fresh(size)
}

fn fresh(size: usize) -> NonNull<u8> {
    let layout = layout(size);
    // SAFETY: the size is at least 1024.
    let pointer = unsafe { alloc_zeroed(layout) };
    let Some(pointer) = NonNull::new(pointer) else {
        handle_alloc_error(layout)
    };
    #[cfg(all(target_os = "linux", not(miri)))]
    if size >= HUGE_PAGE {
        // SAFETY: advice about pages inside the block just allocated; it changes no contents.
        unsafe {
            libc::madvise(
                pointer.as_ptr().cast(),
                size & !(HUGE_PAGE - 1),
                libc::MADV_HUGEPAGE,
            )
        };
    }
    pointer
}

fn give_back(pointer: NonNull<u8>, size: usize) {
    let mut pool = pool();
    pool.statistics.live -= size;
    pool.keep(size, Block(pointer));
}

/// A pooled slice. Plain old data, so whatever bytes it wakes up with are a value.
pub struct Buffer<T: Pod> {
    pointer: NonNull<u8>,
    len: usize,
    size: usize,
    element: PhantomData<T>,
}

// SAFETY: a buffer owns its memory exclusively, like a Vec.
unsafe impl<T: Pod + Send> Send for Buffer<T> {}
// SAFETY: shared access gives out `&[T]` alone.
unsafe impl<T: Pod + Sync> Sync for Buffer<T> {}

impl<T: Pod> Buffer<T> {
    /// Contents are whatever the block held before.
    pub(crate) fn dirty(len: usize) -> Self {
        let bytes = len.saturating_mul(size_of::<T>());
        assert!(
            bytes <= isize::MAX as usize / 4,
            "a tensor of {len} elements does not fit the address space"
        );
        let size = size_class(bytes);
        Self {
            pointer: take(size),
            len,
            size,
            element: PhantomData,
        }
    }
}

impl<T: Pod> Drop for Buffer<T> {
    fn drop(&mut self) {
        give_back(self.pointer, self.size);
    }
}

impl<T: Pod> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the block holds at least `len` elements, is aligned to 64 ≥ align_of::<T>(), was zeroed
        // when it came from the system and only ever held plain old data since: every byte is initialised.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr().cast(), self.len) }
    }
}

impl<T: Pod> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_hold_the_request_and_waste_little() {
        for bytes in [0, 1, 1023, 1024, 5000, 123_456, 33_554_432, 33_554_433] {
            let size = size_class(bytes);
            assert!(size >= bytes.max(1));
            assert!(
                size as f64 <= bytes as f64 * 1.126 + 1024.0,
                "{bytes} -> {size}"
            );
            assert_eq!(size_class(size), size);
        }
    }

    #[test]
    fn sizes_in_use_displace_those_of_work_that_is_over() {
        let mut pool = Pool::new();
        for _ in 0..20 {
            pool.keep(8 << 20, Block(fresh(8 << 20)));
        }
        assert_eq!(pool.statistics.idle, ALWAYS_KEPT);
        pool.keep(1 << 20, Block(fresh(1 << 20)));
        assert_eq!(pool.idle[&(1 << 20)].len(), 1);
        assert_eq!(pool.idle[&(8 << 20)].len(), 7);
        assert_eq!(pool.statistics.idle, 57 << 20);
        while let Some((size, block)) = pool.pop_oldest() {
            release(size, block);
        }
        assert_eq!(pool.statistics.idle, 0);
    }

    #[test]
    fn buffers_are_aligned() {
        for len in [1, 300, 3000, 3_000_000] {
            assert_eq!(Buffer::<f32>::dirty(len).as_ptr() as usize % 64, 0);
        }
    }
}
