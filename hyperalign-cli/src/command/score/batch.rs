//! How many pictures are scored at once.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use hyperalign_core::{image::MAX_PIXELS, memory};
use hyperalign_rewards::Prompt;
use image::RgbImage;

use crate::rewards::Judges;

/// The most that are chosen on a CPU, whose cores are all busy with fewer; and where the system
/// does not tell what memory is free.
const MOST_ON_CPU: usize = 16;
/// The most that are chosen on other devices.
const MOST: usize = 64;
/// Of the free memory, the part that is taken: one of so many.
const PART: u64 = 2;
/// Bytes of a decoded pixel.
const PIXEL: u64 = 3;
/// Pixels that are reckoned with for each picture, 1024x1024. Of larger ones there are fewer at
/// once.
const PIXELS: u64 = 1 << 20;

/// How many pictures are scored at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    most: usize,
    /// No picture is added to those that have so many together.
    pixels: u64,
}

impl Batch {
    /// What the user wants.
    pub fn of(most: usize) -> Self {
        Self { most, pixels: MAX_PIXELS }
    }

    /// What half of the free memory suffices for. What a device other than the CPU has free,
    /// nobody says: there it is where to begin, within what the machine itself has.
    pub fn that_fits(judges: &Judges, is_cpu: bool) -> Self {
        let most = if is_cpu { MOST_ON_CPU } else { MOST };
        match memory::available() {
            Some(free) => Self::within(free / PART, judges.memory_per_picture(), most),
            None => Self::of(MOST_ON_CPU),
        }
    }

    /// At most `most` pictures, each of which takes `each` bytes besides its pixels.
    fn within(budget: u64, each: u64, most: usize) -> Self {
        let fitting = budget / (each + PIXEL * PIXELS);
        let most = usize::try_from(fitting).map_or(most, |fitting| fitting.clamp(1, most));
        let left = budget.saturating_sub(each * most as u64);
        Self { most, pixels: (left / PIXEL).min(MAX_PIXELS) }
    }

    /// How many more may be added to `pictures`.
    pub fn room(&self, pictures: usize) -> usize {
        self.most.saturating_sub(pictures)
    }

    /// Whether no more are added to so many with so many pixels.
    pub fn is_full(&self, pictures: usize, pixels: u64) -> bool {
        self.room(pictures) == 0 || pixels >= self.pixels
    }

    /// Scores of pictures that were checked. Where a reward panics, they are scored again in halves,
    /// down to single ones: the others are not to lose their scores with one that it cannot bear.
    /// If it can bear all of them, only not together, there are fewer at once from here on, and
    /// `tell` is given a line that says so. That is how devices run out of memory.
    pub fn score(
        &mut self,
        judges: &Judges,
        pictures: &[RgbImage],
        prompts: &[Prompt],
        tell: impl FnOnce(&str),
    ) -> Vec<Result<Vec<f32>, String>> {
        let mut results = Vec::with_capacity(pictures.len());
        let mut at_once = pictures.len();
        let (mut first_panic, mut is_ones_own) = (None, false);
        while results.len() < pictures.len() {
            let these = results.len()..(results.len() + at_once).min(pictures.len());
            let count = these.len();
            match caught(|| judges.score(&pictures[these.clone()], &prompts[these])) {
                Ok(scores) => results.extend(scores),
                Err(panic) if count == 1 => {
                    is_ones_own = true;
                    results.push(Err(format!("the reward failed: {panic}")));
                }
                Err(panic) => {
                    first_panic.get_or_insert(panic);
                    at_once = count.div_ceil(2);
                }
            }
        }
        if let Some(panic) = first_panic.filter(|_| !is_ones_own) {
            let reason = panic.lines().next().unwrap_or_default();
            let before = pictures.len();
            *self = Self { most: at_once, ..*self };
            tell(&format!(
                "{before} pictures at once were too many ({reason}): {self} from here on"
            ));
        }
        results
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.most == 1 { "" } else { "s" };
        write!(f, "{} picture{s} at once", self.most)
    }
}

/// What `f` gives, or what it panicked with.
pub fn caught<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        text.unwrap_or_else(|| "a panic without words".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use burn::tensor::{Device, Tensor};
    use hyperalign_rewards::Reward;
    use image::Rgb;

    use super::*;
    use crate::rewards::RewardArgs;

    const GIB: u64 = 1 << 30;

    /// The red of the first pixel. It has memory for so many pictures at once, and cannot bear
    /// black ones.
    struct Small {
        memory: usize,
        calls: Arc<Mutex<Vec<usize>>>,
    }

    impl Reward for Small {
        fn name(&self) -> &str {
            "small"
        }

        fn version(&self) -> String {
            "1".to_owned()
        }

        fn score(&self, _: Tensor<4>, _: &[Prompt]) -> Tensor<1> {
            unreachable!("pictures are scored as they are")
        }

        fn differentiable(&self) -> bool {
            false
        }

        fn score_pictures(&self, pictures: &[RgbImage], _: &[Prompt], _: &Device) -> Vec<f32> {
            self.calls.lock().unwrap().push(pictures.len());
            assert!(pictures.len() <= self.memory, "out of memory\nat address 0");
            let red = pictures.iter().map(|picture| f32::from(picture.get_pixel(0, 0).0[0]));
            red.inspect(|red| assert!(*red > 0.0, "no black")).collect()
        }
    }

    fn small(memory: usize) -> (Judges, Arc<Mutex<Vec<usize>>>) {
        let calls = Arc::default();
        let reward = Small { memory, calls: Arc::clone(&calls) };
        (Judges::of(vec![Arc::new(reward)], &Device::flex()), calls)
    }

    fn pictures(reds: &[u8]) -> Vec<RgbImage> {
        reds.iter().map(|red| RgbImage::from_pixel(8, 8, Rgb([*red, 0, 0]))).collect()
    }

    #[test]
    fn the_batch_is_halved_until_it_fits_and_stays_so() {
        let (judges, calls) = small(3);
        let mut batch = Batch::of(10);
        let reds: Vec<u8> = (1..=10).collect();
        let (pictures, prompts) = (pictures(&reds), vec![Prompt::default(); 10]);
        let mut told = Vec::new();
        let mut tell = |line: &str| told.push(line.to_owned());
        let scores = batch.score(&judges, &pictures, &prompts, &mut tell);
        let expected: Vec<_> = reds.iter().map(|red| Ok(vec![f32::from(*red)])).collect();
        assert_eq!(scores, expected);
        assert_eq!(*calls.lock().unwrap(), [10, 5, 3, 3, 3, 1]);
        assert_eq!(batch.room(0), 3);
        // No panic, and no line.
        batch.score(&judges, &pictures[..3], &prompts[..3], &mut tell);
        assert_eq!(
            told,
            ["10 pictures at once were too many (out of memory): 3 pictures at once from here on"]
        );
    }

    #[test]
    fn one_picture_that_cannot_be_scored_makes_no_batch_smaller() {
        let (judges, _) = small(16);
        let mut batch = Batch::of(4);
        let (pictures, prompts) = (pictures(&[1, 2, 0, 4]), vec![Prompt::default(); 4]);
        let scores = batch.score(&judges, &pictures, &prompts, |line| panic!("{line}"));
        assert_eq!(scores[2], Err("the reward failed: no black".to_owned()));
        assert_eq!([&scores[0], &scores[3]], [&Ok(vec![1.0]), &Ok(vec![4.0])]);
        assert_eq!(batch, Batch::of(4));
    }

    #[test]
    fn scores_do_not_depend_on_the_batch() {
        let args = RewardArgs {
            reward: vec!["emoji-proxy".to_owned()],
            weights: Vec::new(),
            trained_on: Vec::new(),
        };
        let (judges, _) = Judges::open_what_can_be(&args, &Device::flex()).unwrap();
        assert!(judges.memory_per_picture() > 0);
        let pictures: Vec<RgbImage> = (0..5_u8)
            .map(|k| RgbImage::from_fn(64, 64, |x, y| Rgb([x as u8 * k, y as u8, 50 * k])))
            .collect();
        let prompts = vec![Prompt::from("a red heart"); 5];
        let score = |at_once: usize| -> Vec<f32> {
            let parts = pictures.chunks(at_once).zip(prompts.chunks(at_once));
            let scores = parts.flat_map(|(pictures, prompts)| {
                Batch::of(at_once).score(&judges, pictures, prompts, |_| {})
            });
            scores.map(|scores| scores.unwrap()[0]).collect()
        };
        let (one, all) = (score(1), score(5));
        assert!(one[0] != one[1], "{one:?}");
        let differ = |(a, b): (&f32, &f32)| (a - b).abs() > 1e-5 * a.abs().max(1.0);
        assert!(!one.iter().zip(&all).any(differ), "{one:?} {all:?}");
    }

    #[test]
    fn the_batch_fits_the_memory() {
        // Enough for all that are of use.
        assert_eq!(Batch::within(8 * GIB, 41 << 20, MOST_ON_CPU), Batch::of(16));
        assert_eq!(Batch::within(8 * GIB, 41 << 20, MOST).most, 64);
        assert_eq!(Batch::within(8 * GIB, 0, MOST).most, 64);
        // 44 MiB each.
        let few = Batch::within(GIB / 4, 41 << 20, MOST_ON_CPU);
        assert_eq!(few.most, 5);
        // What the network leaves is for pixels: 51 MiB.
        assert_eq!(few.pixels, (51 << 20) / 3);
        assert!(few.is_full(5, 0) && few.is_full(1, 20_000_000) && !few.is_full(4, 1000));
        // One is always scored.
        let one = Batch::within(0, 41 << 20, MOST_ON_CPU);
        assert_eq!((one.room(0), one.is_full(1, 64)), (1, true));
        assert_eq!(one.to_string(), "1 picture at once");
    }
}
