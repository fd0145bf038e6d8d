//! SRPO (Shen et al. 2025, arXiv:2509.06942): a reward of a picture that is recovered from any noise
//! level in one step, relative to what the reward says of the opposite.
//!
//! A finished picture is noised with noise that is known. After one step of the model the picture is
//! not estimated but recovered by taking that noise off again (Direct-Align), so that even at high
//! levels the reward sees a picture. One branch steps down to the data, which the reward is to like,
//! the other one up to the noise, where what it likes is to be undone. The reward is asked twice, with a
//! word in front of the prompt that says what is wanted and with one that says what is not: a taste of
//! the reward for anything else cancels.

use std::ops::Range;

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{Conditioning, Denoiser as _},
    diffusion::Process,
    schedule::{Solver, SolverChoice},
};
use hyperalign_models::hypernet::Adapter;
use hyperalign_rewards::Prompt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    BaseNeed, DataNeed, Method, Needs, Plan, RewardNeed, Setup, check,
    policy::{Policy, one_step_solver},
    reward_gradient::to_raise,
};
use crate::learner::{Emit, Metric, Names, Objective, Part, SettingsError, Shard};

/// The parts of the loss, and the relative scores.
const BRANCHES: [&str; 2] = ["denoising_branch", "inversion_branch"];

/// How much more the wanted word counts than the unwanted one, at the lowest and at the highest noise
/// level: in the branch towards the data, and in that towards the noise.
const EMPHASIS: [[f64; 2]; 2] = [[0.1, 0.25], [0.3, 0.01]];

/// Hyper-parameters of SRPO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SrpoSettings {
    /// Trajectories of an update.
    pub trajectories: usize,
    /// Words for what is wanted. They are put in front of prompts in turn, one for each update.
    pub wanted: Vec<String>,
    /// Words for what is not wanted, in turn as well.
    pub unwanted: Vec<String>,
    /// The lowest noise level that a picture is recovered from. At low levels a reward is cheated with
    /// colours.
    pub least_noise: f64,
    /// The highest. Above 0.99 pictures lose their structure.
    pub most_noise: f64,
    /// Length of the step, as a share of the distance between the two.
    pub step: f64,
    /// The relative score above which a picture is good enough, and teaches nothing; none where nothing
    /// is said. Published: 0.7, for HPSv2.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
}

impl Default for SrpoSettings {
    fn default() -> Self {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Self {
            trajectories: 4,
            wanted: words(&["Natural-lighting", "Detail", "Detailed", "Real"]),
            unwanted: words(&["Concept art", "Painting", "Anime", "Flat", "Oil"]),
            least_noise: 0.75,
            most_noise: 0.964,
            step: 0.1,
            threshold: None,
        }
    }
}

impl SrpoSettings {
    /// The noise level at a share of the way from the lowest to the highest.
    fn level(&self, share: f64) -> f64 {
        self.least_noise + (self.most_noise - self.least_noise) * share
    }
}

/// A prompt with a word in front of it.
fn with_word(word: &str, prompt: &str) -> String {
    format!("{word}. {prompt}")
}

impl Method for SrpoSettings {
    type Objective = Srpo;

    const NAME: &'static str = "srpo";

    fn needs(&self) -> Needs {
        Needs { base: BaseNeed::Flow, ..Needs::new(RewardNeed::Gradient, DataNeed::None) }
    }

    fn solver(&self, process: &Process) -> SolverChoice {
        one_step_solver(process, Solver::FlowEuler, 0.0)
    }

    fn check(&self, plan: &Plan) -> Result<(), SettingsError> {
        check::batch("method.trajectories", self.trajectories, plan.shards)?;
        for (name, words) in [("method.wanted", &self.wanted), ("method.unwanted", &self.unwanted)]
        {
            let are_words = !words.is_empty() && words.iter().all(|word| !word.trim().is_empty());
            check::require(are_words, name, format!("{words:?}"), "one word or more")?;
        }
        let Self { least_noise: least, most_noise: most, step, .. } = *self;
        let is_level = least > 0.0 && least < 1.0;
        check::require(is_level, "method.least_noise", least, "above 0 and below 1")?;
        let is_higher = most > least && most < 1.0;
        let expected = format!("above method.least_noise, {least}, and below 1");
        check::require(is_higher, "method.most_noise", most, expected)?;
        let is_step = step > 0.0 && step <= 0.5;
        check::require(is_step, "method.step", step, "above 0 and at most 0.5")?;
        let threshold = self.threshold.unwrap_or(0.0);
        check::require(threshold.is_finite(), "method.threshold", threshold, "a number")
    }

    fn reward_prompts(&self, prompt: &str) -> Vec<String> {
        let words = self.wanted.iter().chain(&self.unwanted);
        words.map(|word| with_word(word, prompt)).collect()
    }

    fn objective(&self, setup: Setup) -> Srpo {
        Srpo { settings: self.clone(), setup }
    }
}

/// The picture that is recovered after one step of a flow from the noise level `levels.start` to
/// `levels.end`, up or down, by taking off the noise that was put on:
/// `(sample + (end - start) velocity - end noise) / (1 - end)`. It is the picture itself where the
/// velocity is right, at any level.
///
/// # Shapes
///
/// - `sample`: the picture's latents at the level `start`; `noise`, `velocity` and the output as it,
///   `[batch, channels, height, width]`
pub fn recovered(
    sample: Tensor<4>,
    noise: Tensor<4>,
    velocity: Tensor<4>,
    levels: Range<f64>,
) -> Tensor<4> {
    let Range { start, end } = levels;
    let stepped = sample + velocity * (end - start);
    (stepped - noise * end).div_scalar(1.0 - end)
}

/// The objective of [`SrpoSettings`].
pub struct Srpo {
    settings: SrpoSettings,
    setup: Setup,
}

/// The pictures of a shard, off the tape.
pub struct Finished {
    prompts: Vec<String>,
    conditioning: Conditioning,
    /// Their latents, `[trajectories, channels, height, width]`.
    original: Tensor<4>,
    /// The noise that they were sampled from, and are noised with.
    noise: Tensor<4>,
}

impl Srpo {
    fn finish(&self, adapter: &Adapter, update: u64, shard: Shard) -> Finished {
        let setup = &self.setup;
        let rows = shard.samples(self.settings.trajectories);
        let prompts = Prompt::texts(&setup.prompts(update, rows.clone()));
        let conditioning = setup.encode(&prompts);
        let plan = setup.plan(self.settings.solver(setup.base().process()));
        let steps = plan.steps();
        let policy = Policy::new(setup, plan.into(), conditioning.clone());
        let noise = setup.start(update, rows);
        let mut samples = policy.rollout(adapter, noise.clone(), steps, None);
        let original = samples.pop().expect("a trajectory has an end");
        Finished { prompts, conditioning, original, noise }
    }

    /// The noise levels of the two branches, and how far the first of each is on the way from the
    /// lowest level to the highest.
    fn branches(&self, update: u64) -> [(Range<f64>, f64); 2] {
        let mut stream = self.setup.update_stream(update);
        let middle = stream.range(0.005, 0.995);
        let step = self.settings.step.min(middle).min(1.0 - middle);
        let level = |share: f64| self.settings.level(share);
        let low = middle - step;
        let down = level(middle + step)..level(middle);
        let up = level(low)..level(middle);
        [(down, middle), (up, low)]
    }
}

impl Objective for Srpo {
    type Module = Adapter;
    type Batch = Vec<Finished>;

    fn names(&self) -> Names {
        Names { parts: BRANCHES.to_vec(), metrics: BRANCHES.to_vec() }
    }

    fn prepare(&self, adapter: &Adapter, update: u64) -> Vec<Finished> {
        self.setup.shards(adapter, |adapter, shard| self.finish(adapter, update, shard))
    }

    fn losses(
        &self,
        adapter: &Adapter,
        finished: &Vec<Finished>,
        update: u64,
        shard: Shard,
        emit: &mut dyn Emit,
    ) {
        let SrpoSettings { wanted, unwanted, threshold, .. } = &self.settings;
        let Finished { prompts, conditioning, original, noise } = &finished[shard.index];
        let (setup, rows) = (&self.setup, prompts.len());
        let denoiser = setup.guided();
        let asked = [wanted, unwanted].map(|words| {
            let word = &words[update as usize % words.len()];
            let prompts = prompts.iter().map(|prompt| with_word(word, prompt));
            Prompt::of(&prompts.collect::<Vec<String>>())
        });
        for (branch, (levels, share)) in self.branches(update).into_iter().enumerate() {
            let start = levels.start;
            let sample = original.clone() * (1.0 - start) + noise.clone() * start;
            let times = setup.times(&vec![start; rows]);
            let lora = adapter.emit(setup.base(), sample.clone(), times.clone(), conditioning).lora;
            let velocity = denoiser.predict(sample.clone(), times, conditioning, Some(&lora));
            let image = setup.picture(recovered(sample, noise.clone(), velocity, levels));
            // Towards the noise the words change places: what is liked there is to be undone.
            let [first, second] = if branch == 0 { [0, 1] } else { [1, 0] };
            let [low, high] = EMPHASIS[branch];
            let emphasis = 1.0 + low + (high - low) * share;
            let score = |which: usize| setup.reward().score(image.clone(), &asked[which]);
            let relative = score(first) * emphasis - score(second);
            let mean = relative.clone().detach().mean().into_scalar::<f64>();
            emit.metric(Metric::mean(BRANCHES[branch], mean, rows));
            let loss = to_raise(relative, *threshold);
            emit.part(Part::new(BRANCHES[branch], 0.5, loss.mean()));
        }
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::{
        noise::{Purpose, Stream, normal},
        schedule::FlowSchedulerConfig,
        testing,
    };

    use super::*;

    #[test]
    fn settings_that_cannot_be_are_named() {
        let scheduler = FlowSchedulerConfig::flux_dev().flow_match_euler(8, 64).unwrap();
        let plan = Plan { scheduler: &scheduler, shards: 2 };
        let good = SrpoSettings::default();
        assert_eq!(good.check(&plan), Ok(()));
        type Change = fn(&mut SrpoSettings);
        let wrong: [(&str, Change); 8] = [
            ("method.trajectories", |s| s.trajectories = 3),
            ("method.wanted", |s| s.wanted.clear()),
            ("method.unwanted", |s| s.unwanted.push(" ".to_owned())),
            ("method.least_noise", |s| s.least_noise = 0.0),
            ("method.most_noise", |s| s.most_noise = 0.5),
            ("method.most_noise", |s| s.most_noise = 1.0),
            ("method.step", |s| s.step = 0.6),
            ("method.threshold", |s| s.threshold = Some(f64::INFINITY)),
        ];
        for (name, change) in wrong {
            let mut settings = good.clone();
            change(&mut settings);
            assert_eq!(settings.check(&plan).unwrap_err().name, name);
        }
    }

    /// Up and down, from any level: what is recovered by the right velocity is the picture itself.
    #[test]
    fn the_right_velocity_recovers_the_picture() {
        let draw = |index| {
            let stream = Stream::new(3, Purpose::Start, 0, index);
            normal([1, 2, 3, 4], [stream], &testing::device())
        };
        let (original, noise) = (draw(0), draw(1));
        let velocity = noise.clone() - original.clone();
        for (start, end) in [(0.3, 0.2), (0.2, 0.3), (0.9, 0.75), (0.75, 0.95), (0.5, 0.5)] {
            let sample = original.clone() * (1.0 - start) + noise.clone() * start;
            let found = recovered(sample.clone(), noise.clone(), velocity.clone(), start..end);
            let error = (found - original.clone()).abs().max().into_scalar::<f64>();
            assert!(error < 1e-5, "{start} to {end}: {error}");
            let wrong = recovered(sample, noise.clone(), velocity.clone() * 0.5, start..end);
            let error = (wrong - original.clone()).abs().max().into_scalar::<f64>();
            assert!(start == end || error > 0.01, "{start} to {end}: {error}");
        }
    }
}
