//! Several rewards as one.

use std::{fmt, sync::Arc};

use burn::tensor::{Device, Tensor};
use hyperalign_core::image::to_images;
use image::RgbImage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Prompt, Reads, Reward, RewardTerm, ScoreError};

/// How a mix begins where rewards are named by a text.
pub(crate) const PREFIX: &str = "mix:";

/// One reward's part in a mix, `weight (score - mean) / std`.
#[derive(Clone)]
pub struct MixPart {
    /// The reward.
    pub reward: Arc<dyn Reward>,
    /// Its weight among the standardised scores.
    pub weight: f64,
    /// What its scores are on average, over pictures of the model to be trained.
    pub mean: f64,
    /// How much they differ there.
    pub std: f64,
}

/// A weighted sum of standardised rewards. Scores of different rewards differ in their unit a
/// thousandfold, so weights mean little without the standardisation.
#[derive(Clone)]
pub struct Mix {
    name: String,
    parts: Vec<MixPart>,
}

/// The description of a part, before its reward is opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MixTerm {
    /// The name of the reward.
    pub name: String,
    /// As in [`MixPart`].
    #[serde(default = "one")]
    pub weight: f64,
    /// As in [`MixPart`].
    #[serde(default)]
    pub mean: f64,
    /// As in [`MixPart`].
    #[serde(default = "one")]
    pub std: f64,
}

fn one() -> f64 {
    1.0
}

impl MixTerm {
    /// The text that describes the reward of these terms: the name alone of a single one that is
    /// taken as it is, a mix otherwise. [`Mix::parse`] reads it.
    pub fn describe(terms: &[Self]) -> String {
        match terms {
            [Self { name, weight, mean, std }] if (*weight, *mean, *std) == (1.0, 0.0, 1.0) => {
                name.clone()
            }
            _ => {
                let terms: Vec<String> = terms.iter().map(ToString::to_string).collect();
                format!("{PREFIX}{}", terms.join("+"))
            }
        }
    }
}

impl fmt::Display for MixTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, weight, mean, std } = self;
        write!(f, "{weight}*{name}({mean},{std})")
    }
}

/// Why a mix cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MixError {
    /// A part that is not written as parts are.
    #[error(
        "`{term}` is no part of a mix: write WEIGHT*NAME, or WEIGHT*NAME(MEAN,STD), as in \
         mix:1*hps_v2.1(0.27,0.02)+0.5*aesthetic(5.4,0.6)"
    )]
    Term {
        /// The part.
        term: String,
    },
    /// Numbers that make no sum.
    #[error("`{name}` in a mix: the weight and the mean must be finite, and the deviation above 0")]
    Numbers {
        /// The reward.
        name: String,
    },
}

impl Mix {
    /// A mix of `parts`.
    ///
    /// # Errors
    ///
    /// Fails if there is no part, a number is not finite, or a deviation is not above 0.
    pub fn new(parts: Vec<MixPart>) -> Result<Self, MixError> {
        if parts.is_empty() {
            return Err(MixError::Term { term: String::new() });
        }
        let fits = |part: &MixPart| {
            part.weight.is_finite()
                && part.mean.is_finite()
                && part.std.is_finite()
                && part.std > 0.0
        };
        if let Some(part) = parts.iter().find(|part| !fits(part)) {
            return Err(MixError::Numbers { name: part.reward.name().to_owned() });
        }
        let term = |part: &MixPart| {
            let MixPart { ref reward, weight, mean, std } = *part;
            MixTerm { name: reward.name().to_owned(), weight, mean, std }.to_string()
        };
        let terms: Vec<String> = parts.iter().map(term).collect();
        Ok(Self { name: format!("{PREFIX}{}", terms.join("+")), parts })
    }

    /// Reads the description of a mix: `WEIGHT*NAME(MEAN,STD)` joined by `+`. Without a weight it
    /// is 1; without mean and deviation the scores stay as they are.
    ///
    /// # Errors
    ///
    /// Fails for anything else.
    pub fn parse(text: &str) -> Result<Vec<MixTerm>, MixError> {
        text.split('+').map(str::trim).map(term).collect()
    }

    /// Its parts.
    pub fn parts(&self) -> &[MixPart] {
        &self.parts
    }

    /// The standardised and weighted sum of what each part gives.
    fn sum(&self, score: impl Fn(&dyn Reward) -> Tensor<1>) -> Tensor<1> {
        let standardised = |part: &MixPart| {
            score(part.reward.as_ref()).sub_scalar(part.mean).mul_scalar(part.weight / part.std)
        };
        let scores = self.parts.iter().map(standardised);
        scores.reduce(|a, b| a + b).expect("a mix has parts")
    }

    /// The standardised and weighted sums of what each part gives to `count` pictures.
    fn sums(&self, count: usize, score: impl Fn(&dyn Reward) -> Vec<f32>) -> Vec<f32> {
        let mut sums = vec![0.0; count];
        for part in &self.parts {
            for (sum, score) in sums.iter_mut().zip(score(part.reward.as_ref())) {
                *sum += (f64::from(score) - part.mean) * part.weight / part.std;
            }
        }
        sums.into_iter().map(|sum| sum as f32).collect()
    }
}

fn term(text: &str) -> Result<MixTerm, MixError> {
    let wrong = || MixError::Term { term: text.to_owned() };
    let number = |text: &str| text.trim().parse::<f64>().map_err(|_| wrong());
    let (weight, rest) = match text.split_once('*') {
        Some((weight, rest)) => (number(weight)?, rest.trim()),
        None => (1.0, text),
    };
    let (name, mean, std) = match rest.strip_suffix(')') {
        Some(rest) => {
            let (name, numbers) = rest.split_once('(').ok_or_else(wrong)?;
            let (mean, std) = numbers.split_once(',').ok_or_else(wrong)?;
            (name.trim(), number(mean)?, number(std)?)
        }
        None => (rest, 0.0, 1.0),
    };
    if name.is_empty() || name.contains(['(', ')', '*', ' ', ':']) {
        return Err(wrong());
    }
    Ok(MixTerm { name: name.to_owned(), weight, mean, std })
}

impl Reward for Mix {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> String {
        let versions = self
            .parts
            .iter()
            .map(|part| format!("{} {}", part.reward.name(), part.reward.version()));
        versions.collect::<Vec<_>>().join("; ")
    }

    fn score(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1> {
        self.sum(|reward| reward.score(images.clone(), prompts))
    }

    fn score_at(&self, images: Tensor<4>, prompts: &[Prompt], timesteps: Tensor<1>) -> Tensor<1> {
        self.sum(|reward| reward.score_at(images.clone(), prompts, timesteps.clone()))
    }

    fn terms(&self) -> Vec<RewardTerm> {
        let term = |part: &MixPart| RewardTerm {
            name: part.reward.name().to_owned(),
            weight: part.weight,
        };
        self.parts.iter().map(term).collect()
    }

    /// Standardised, so that terms of different units compare.
    fn measure_terms(&self, images: &Tensor<4>, prompts: &[Prompt]) -> Vec<Vec<f32>> {
        let pictures = (self.reads() == Reads::Pictures).then(|| to_images(images.clone()));
        let of = |part: &MixPart| {
            let scores = match &pictures {
                Some(pictures) => part.reward.score_pictures(pictures, prompts, &images.device()),
                None => part.reward.measure(images, prompts),
            };
            let standardised = |score| ((f64::from(score) - part.mean) / part.std) as f32;
            scores.into_iter().map(standardised).collect()
        };
        self.parts.iter().map(of).collect()
    }

    fn differentiable(&self) -> bool {
        self.parts.iter().all(|part| part.reward.differentiable())
    }

    fn needs_prompt(&self) -> bool {
        self.parts.iter().any(|part| part.reward.needs_prompt())
    }

    fn needs_rules(&self) -> bool {
        self.parts.iter().any(|part| part.reward.needs_rules())
    }

    fn score_pictures(
        &self,
        pictures: &[RgbImage],
        prompts: &[Prompt],
        device: &Device,
    ) -> Vec<f32> {
        self.sums(pictures.len(), |reward| reward.score_pictures(pictures, prompts, device))
    }

    /// One picture for all parts: what any of them needs rounded, all see rounded.
    fn reads(&self) -> Reads {
        let rounded = self.parts.iter().any(|part| part.reward.reads() == Reads::Pictures);
        if rounded { Reads::Pictures } else { Reads::Tensors }
    }

    fn passed_over(&self) -> Vec<String> {
        self.parts.iter().flat_map(|part| part.reward.passed_over()).collect()
    }

    fn memory_per_picture(&self) -> u64 {
        // One part scores after the other.
        self.parts.iter().map(|part| part.reward.memory_per_picture()).max().unwrap_or(0)
    }

    fn check(&self, size: [usize; 2], prompts: &[Prompt]) -> Result<(), ScoreError> {
        self.parts.iter().try_for_each(|part| part.reward.check(size, prompts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyperalign_core::testing;

    /// Brightness times a factor.
    struct Scaled(f64);

    impl Reward for Scaled {
        fn name(&self) -> &str {
            "scaled"
        }

        fn version(&self) -> String {
            self.0.to_string()
        }

        fn score(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1> {
            testing::Brightness.score(images, prompts).mul_scalar(self.0)
        }

        fn differentiable(&self) -> bool {
            self.0 > 0.0
        }
    }

    fn part(factor: f64, weight: f64, mean: f64, std: f64) -> MixPart {
        MixPart { reward: Arc::new(Scaled(factor)), weight, mean, std }
    }

    #[test]
    fn parts_are_standardised_and_weighted() {
        let device = testing::device();
        let mix = Mix::new(vec![part(1.0, 2.0, 0.25, 0.5), part(10.0, 0.5, 0.0, 1.0)]).unwrap();
        let images = Tensor::<4>::full([2, 3, 2, 2], 0.5, &device);
        let prompts = [Prompt::default(), Prompt::default()];
        // 2 (0.5 - 0.25) / 0.5 + 0.5 * 5
        let (scores, gradient) = mix.score_with_gradient(images, &prompts);
        assert_eq!(scores.into_data().iter::<f32>().collect::<Vec<_>>(), [3.5, 3.5]);
        // (2 / 0.5 + 0.5 * 10) / 12 pixels
        let each: Vec<f32> = gradient.into_data().iter().collect();
        assert!(each.iter().all(|value| (value - 0.75).abs() < 1e-6), "{each:?}");

        let white = RgbImage::from_pixel(2, 2, image::Rgb([255; 3]));
        let pictures = mix.score_pictures(&[white], &prompts[..1], &device);
        assert!((pictures[0] - 8.0).abs() < 1e-5, "{pictures:?}");
        assert_eq!(mix.name(), "mix:2*scaled(0.25,0.5)+0.5*scaled(0,1)");
        assert_eq!(mix.version(), "scaled 1; scaled 10");
    }

    /// What is summed is what is told apart, also where one part reads rounded pictures.
    #[test]
    fn terms_add_up_to_the_mix() {
        let device = testing::device();
        let images = Tensor::<4>::full([2, 3, 2, 2], 0.5, &device);
        let prompts = [Prompt::default(), Prompt::default()];
        let smooth =
            || MixPart { reward: Arc::new(testing::Brightness), weight: 3.0, mean: 0.25, std: 0.5 };
        for mix in [vec![part(10.0, 2.0, 0.0, 4.0), smooth()], vec![smooth()]] {
            let mix = Mix::new(mix).unwrap();
            let terms = mix.terms();
            let scores = mix.measure_terms(&images, &prompts);
            let whole = mix.measure(&images, &prompts);
            for (k, whole) in whole.iter().enumerate() {
                let sum: f64 = terms
                    .iter()
                    .zip(&scores)
                    .map(|(term, scores)| term.weight * f64::from(scores[k]))
                    .sum();
                assert!((sum - f64::from(*whole)).abs() < 1e-5, "{sum}, not {whole}");
            }
        }
        let alone = testing::Brightness.terms();
        assert_eq!(alone, [RewardTerm { name: "brightness".to_owned(), weight: 1.0 }]);
    }

    #[test]
    fn one_part_without_a_gradient_leaves_none() {
        let mix = Mix::new(vec![part(1.0, 1.0, 0.0, 1.0), part(-1.0, 1.0, 0.0, 1.0)]).unwrap();
        assert!(!mix.differentiable());
    }

    #[test]
    fn descriptions() {
        let terms = Mix::parse("0.5*hps_v2.1(0.27, 0.02) + aesthetic+-1*clip_score").unwrap();
        let term =
            |name: &str, weight, mean, std| MixTerm { name: name.to_owned(), weight, mean, std };
        assert_eq!(
            terms,
            [
                term("hps_v2.1", 0.5, 0.27, 0.02),
                term("aesthetic", 1.0, 0.0, 1.0),
                term("clip_score", -1.0, 0.0, 1.0)
            ]
        );
        assert_eq!(MixTerm::describe(&terms[1..2]), "aesthetic");
        let text = MixTerm::describe(&terms);
        assert_eq!(Mix::parse(text.strip_prefix(PREFIX).unwrap()).unwrap(), terms);
        for wrong in ["", "x*y", "2*", "a(1)", "a(1,2", "a(1,b)", "a b", "a++b", "mix:a"] {
            assert!(Mix::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Mix::new(Vec::new()).is_err());
        for (weight, mean, std) in
            [(f64::NAN, 0.0, 1.0), (1.0, f64::INFINITY, 1.0), (1.0, 0.0, 0.0)]
        {
            assert!(Mix::new(vec![part(1.0, weight, mean, std)]).is_err());
        }
    }
}
