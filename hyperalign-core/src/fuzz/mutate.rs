//! From samples to inputs that nobody wrote.

use crate::noise::{Purpose, Stream};

/// The most that one input is changed.
const CHANGES: usize = 4;
/// The longest that an input becomes, in bytes.
const LONGEST: usize = 1 << 16;
/// Numbers that break arithmetic.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    0x7FFF_FFFF_FFFF_FFFF,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// Makes inputs of a corpus.
#[derive(Debug)]
pub(super) struct Mutator<'a> {
    seed: u64,
    corpus: &'a [Vec<u8>],
    words: &'a [&'a str],
}

impl<'a> Mutator<'a> {
    pub(super) fn new(name: &str, corpus: &'a [Vec<u8>], words: &'a [&'a str]) -> Self {
        assert!(!corpus.is_empty(), "there is something to change");
        // Fowler, Noll and Vo's hash: readers with the same corpus get other inputs.
        let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        Self { seed, corpus, words }
    }

    /// Input `number`.
    pub(super) fn input(&self, number: u64) -> Vec<u8> {
        let (high, low) = ((number >> 32) as u32, number as u32);
        let mut stream = Stream::new(self.seed, Purpose::Data, high, low);
        let mut bytes = stream.pick(self.corpus).clone();
        for _ in 0..=stream.below(CHANGES) {
            self.change(&mut bytes, &mut stream);
        }
        bytes.truncate(LONGEST);
        bytes
    }

    fn change(&self, bytes: &mut Vec<u8>, stream: &mut Stream) {
        let at = stream.below(bytes.len() + 1);
        let end = (at + 1 + stream.below(32)).min(bytes.len());
        match stream.below(11) {
            0 => flip(bytes, at, 1 << stream.below(8)),
            1 => set(bytes, at, &[stream.bits() as u8]),
            2 | 3 => {
                let number = stream.pick(&NUMBERS).wrapping_add(stream.below(3) as u64);
                let size = 1 << stream.below(4);
                let little = number.to_le_bytes();
                let big = number.to_be_bytes();
                let number = if stream.chance(0.5) { &little[..size] } else { &big[8 - size..] };
                set(bytes, at, number);
            }
            4 => bytes.truncate(at),
            5 => drop(bytes.drain(at.min(end)..end)),
            6 => {
                let copy = bytes[at.min(end)..end].to_vec();
                let most = 1 << stream.below(9);
                let times = 1 + stream.below(most);
                insert(bytes, at, &copy.repeat(times));
            }
            7 | 8 if !self.words.is_empty() => {
                let word = stream.pick(self.words).as_bytes();
                // Deep nesting is many times the same.
                let times = if stream.chance(0.1) { 1 << stream.below(13) } else { 1 };
                insert(bytes, at, &word.repeat(times));
            }
            9 => {
                let other = stream.pick(self.corpus);
                let from = stream.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let digits = stream.pick(&NUMBERS).to_string();
                insert(bytes, at, digits.as_bytes());
            }
        }
    }
}

fn flip(bytes: &mut [u8], at: usize, bits: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= bits;
    }
}

fn set(bytes: &mut [u8], at: usize, value: &[u8]) {
    for (byte, value) in bytes.iter_mut().skip(at).zip(value) {
        *byte = *value;
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let piece = &piece[..piece.len().min(LONGEST)];
    bytes.splice(at..at, piece.iter().copied());
}
