//! What the tape holds of attention, by the bytes that are allocated. A test of its own: other
//! threads of the process would be counted too.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

use burn::tensor::{Distribution, Tensor};
use hyperalign_core::attention::attention;
use hyperalign_core::testing;

/// The system's allocator, with the sum of what is allocated and the most that it has been.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promises are those that are asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const HEADS: usize = 4;
const FLOAT: usize = size_of::<f32>();

fn random(shape: [usize; 4]) -> Tensor<4> {
    Tensor::random(shape, Distribution::Default, &testing::cpu())
}

/// Bytes that are held when `f` is done and were not before, with its result.
fn kept<T>(f: impl FnOnce() -> T) -> (usize, T) {
    let before = LIVE.load(Ordering::Relaxed);
    let result = f();
    (LIVE.load(Ordering::Relaxed).saturating_sub(before), result)
}

/// Bytes that were held while `f` ran, beyond those held before.
fn peak<T>(f: impl FnOnce() -> T) -> (usize, T) {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = f();
    (PEAK.load(Ordering::Relaxed) - before, result)
}

/// Three attentions, one after the other, of far fewer scores than a chunk has.
#[test]
fn the_tape_holds_no_scores() {
    let tokens = 256;
    let scores = HEADS * tokens * tokens * FLOAT;
    let x = random([1, HEADS, tokens, 4]);
    let biases = [None, Some(random([1, 1, 1, tokens])), Some(random([1, 1, tokens, tokens]))];
    let run = |leaf: &Tensor<4>| {
        biases.iter().fold(leaf.clone(), |x, bias| attention(x.clone(), x.clone(), x, bias.clone()))
    };
    // What is set up once, such as a pool of threads, is no part of it.
    let warm = x.clone().autodiff().require_grad();
    assert!(warm.grad(&run(&warm).sum().backward()).is_some());

    let leaf = x.autodiff().require_grad();
    let (bytes, output) = kept(|| run(&leaf));
    assert!(output.is_tracked());
    assert!(bytes < scores / 2, "{bytes} bytes are kept, one tensor of scores has {scores}");
    // The count does see what a tape keeps: the same scores in plain operations.
    let (bytes, plain) = kept(|| leaf.clone().matmul(leaf.clone().transpose()).exp());
    assert!(plain.is_tracked() && bytes >= scores, "{bytes} of {scores} bytes are counted");

    // Not even while they are used are all scores of many tokens there.
    let tokens = 2500;
    let scores = tokens * tokens * FLOAT;
    let leaf = random([1, 1, tokens, 4]).autodiff().require_grad();
    let (bytes, gradients) = peak(|| {
        let output = attention(leaf.clone(), leaf.clone(), leaf.clone(), None);
        output.sum().backward()
    });
    assert!(leaf.grad(&gradients).is_some());
    assert!(bytes < scores, "{bytes} bytes at once, all scores have {scores}");
}
