//! Mutated inputs for the readers of all crates: none may make a reader panic, keep it longer than a
//! second, or make it take memory out of proportion.
//!
//! The driver is the same in continuous integration and by hand; only the number of inputs differs
//! (`cargo xtask fuzz`). Inputs are a function of the reader's name and of their number, so that
//! what is found once is found again. Each reader has a corpus of ours; there is no instrumentation
//! and no other compiler.

mod memory;
mod mutate;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    time::{Duration, Instant},
};

pub use memory::{Counting, peak_of};
use mutate::Mutator;

use crate::caught;

/// The variable that says how many inputs each reader gets.
pub const INPUTS: &str = "HYPERALIGN_FUZZ_INPUTS";
/// Inputs where it says nothing: a matter of seconds.
const FEW: u64 = 10_000;
/// The longest that a reader may take for one input.
const LONGEST: Duration = Duration::from_secs(1);
/// A reader that takes so long will not come back: the process is ended.
const HANGS: Duration = Duration::from_secs(30);
/// Bytes that a reader may take for each byte of its input.
const FACTOR: usize = 10;

/// A reader, as it is fuzzed.
#[derive(Debug)]
pub struct Fuzz<'a> {
    /// Its name, from which all inputs follow.
    pub name: &'a str,
    /// Inputs that it reads.
    pub corpus: Vec<Vec<u8>>,
    /// Pieces that its format is made of.
    pub words: &'a [&'a str],
    /// Bytes that it may take whatever the input is.
    pub constant: usize,
}

/// What came of a number of inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Inputs that were tried.
    pub inputs: u64,
    /// Of these, how many were refused.
    pub refused: u64,
    /// The longest that one took.
    pub longest: Duration,
    /// The most memory that one took, in bytes.
    pub memory: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inputs, refused, longest, memory } = self;
        write!(
            f,
            "{inputs} inputs, {refused} refused, longest {:.1} ms, most memory {:.1} MiB",
            longest.as_secs_f64() * 1e3,
            *memory as f64 / f64::from(1 << 20)
        )
    }
}

/// How many inputs each reader gets.
pub fn inputs() -> u64 {
    std::env::var(INPUTS).ok().and_then(|text| text.parse().ok()).unwrap_or(FEW)
}

impl Fuzz<'_> {
    /// Gives `inputs` mutated inputs to `read`, which says whether it took one for good.
    ///
    /// # Panics
    ///
    /// Panics, with the input's number and bytes, for the first that makes the reader panic, keeps
    /// it longer than a second, or makes it take more than ten times its length and the constant;
    /// and if the reader does not read its corpus.
    pub fn run(&self, inputs: u64, mut read: impl FnMut(&[u8]) -> bool) -> Figures {
        for (at, sample) in self.corpus.iter().enumerate() {
            assert!(read(sample), "{}: sample {at} of the corpus is refused", self.name);
        }
        caught::report_the_others();
        let mutator = Mutator::new(self.name, &self.corpus, self.words);
        let watch = watch(self.name);
        let mut figures = Figures { inputs, ..Figures::default() };
        for number in 0..inputs {
            let input = mutator.input(number);
            // A watch that is gone has told why.
            let _ = watch.send(number);
            let start = Instant::now();
            let (outcome, memory) = peak_of(|| catch_unwind(AssertUnwindSafe(|| read(&input))));
            let took = start.elapsed();
            let shown = || format!("{}, input {number}: {}", self.name, Shown(&input));
            let taken = outcome.unwrap_or_else(|_| panic!("a panic; {}", shown()));
            assert!(took <= LONGEST, "it took {took:?}; {}", shown());
            let most = FACTOR * input.len() + self.constant;
            assert!(memory <= most, "it took {memory} bytes of {most}; {}", shown());
            figures.refused += u64::from(!taken);
            figures.longest = figures.longest.max(took);
            figures.memory = figures.memory.max(memory);
        }
        figures
    }
}

/// Ends the process if no new number comes for long: a reader that hangs cannot be stopped.
fn watch(name: &str) -> Sender<u64> {
    let (sender, numbers) = channel();
    let name = name.to_owned();
    std::thread::spawn(move || {
        let mut last = None;
        loop {
            match numbers.recv_timeout(HANGS) {
                Ok(number) => last = Some(number),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let text = format!("{name}, input {last:?}: it has not come back\n");
                    let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
                    std::process::abort();
                }
            }
        }
    });
    sender
}

/// An input as it is shown: what is text as text, the rest in hexadecimal, and not without end.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(2000)];
        write!(f, "{} bytes: b\"{}\"", self.0.len(), shown.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fuzz(constant: usize) -> Fuzz<'static> {
        Fuzz { name: "toy", corpus: vec![b"abcabc".to_vec()], words: &["x", "yz"], constant }
    }

    fn told(fuzz: &Fuzz, read: impl FnMut(&[u8]) -> bool) -> String {
        let run = catch_unwind(AssertUnwindSafe(|| fuzz.run(2000, read)));
        let panic = run.unwrap_err();
        panic.downcast_ref::<String>().unwrap().clone()
    }

    #[test]
    fn what_a_reader_must_not_do_is_found() {
        let figures = fuzz(1 << 20).run(2000, |bytes| bytes.starts_with(b"abc"));
        assert!(figures.refused > 100 && figures.refused < 2000, "{figures}");
        assert_eq!(figures, Figures { longest: figures.longest, ..figures });
        let panics = told(&fuzz(1 << 20), |bytes| bytes[0] != b'x' || bytes[9999] == 0);
        assert!(panics.starts_with("a panic; toy, input"), "{panics}");
        let slow = |bytes: &[u8]| {
            if bytes.contains(&b'z') {
                std::thread::sleep(LONGEST + Duration::from_millis(10));
            }
            true
        };
        assert!(told(&fuzz(1 << 20), slow).starts_with("it took 1.0"));
        let refuses = told(&fuzz(0), |_| false);
        assert!(refuses.contains("corpus is refused"), "{refuses}");
    }

    #[test]
    fn inputs_follow_from_the_name_and_the_number() {
        let all = |name: &str| {
            let corpus = vec![b"abcabc".to_vec()];
            let mutator = Mutator::new(name, &corpus, &["x"]);
            (0..50).map(|number| mutator.input(number)).collect::<Vec<_>>()
        };
        assert_eq!(all("a"), all("a"));
        assert_ne!(all("a"), all("b"));
    }
}
