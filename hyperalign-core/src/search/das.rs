//! Diffusion alignment as sampling: sequential Monte Carlo with a guided proposal.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Resampling, Tempering, tempering};
use crate::{
    one_picture::{Found, Judged, OnePicture, SettingError, widened},
    rows::select_rows,
    sampler::{Look, Trajectory},
};

/// DAS (Kim et al. 2025, arXiv:2501.05803, algorithm 1): draws from what the model draws, tilted by
/// the reward, `p(x) exp(r(x) / alpha)`. Particles are sampled side by side, guided by the gradient
/// of the reward of their one-step estimates, weighed by how well they do for how likely they are,
/// and resampled where few of them carry all the weight.
///
/// With `psi_i = temperature_i r(D(x0(x_i))) / alpha` and the guidance
/// `G = temperature_(i+1) grad r / alpha`, a step of mean m and deviation s is drawn from
/// `N(m + s^2 G, s^2)`, and the log-weight grows by
/// `psi_i - psi_(i-1) + log N(x; m, s^2) - log N(x; m + s^2 G, s^2)`. That difference of densities
/// is `-s^2 |G|^2 / 2 - s G.z` for the noise z that was drawn, and vanishes with s.
///
/// The picture is that of the particle with the largest weight at the end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Das {
    /// Particles.
    pub particles: usize,
    /// How much the reward has to say, in its own unit: the smaller, the more. Where nothing is
    /// said it is up to whoever knows the reward, and 1 to nobody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Particles are resampled where their effective number is below this share of them.
    pub ess_threshold: f64,
    /// How the pull of the reward grows.
    pub tempering: Tempering,
    /// The rate of that; what fits the number of steps if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// How particles are resampled.
    pub resampling: Resampling,
    /// As in the authors' code, leaves guidance and potentials where they were when particles are
    /// resampled, so that they belong to others.
    pub compat_guidance_order: bool,
}

impl Default for Das {
    fn default() -> Self {
        Self {
            particles: 4,
            alpha: None,
            ess_threshold: 0.5,
            tempering: Tempering::default(),
            gamma: None,
            resampling: Resampling::default(),
            compat_guidance_order: false,
        }
    }
}

impl Das {
    /// Checks every number.
    ///
    /// # Errors
    ///
    /// Fails for no particle, an alpha or a gamma that is not above 0, and a threshold that is no
    /// share.
    pub fn check(&self) -> Result<(), SettingError> {
        let Self { particles, ess_threshold, gamma, .. } = *self;
        let alpha = self.alpha();
        SettingError::unless(particles > 0, "particles", particles, "at least 1")?;
        let is_positive = |number: f64| number > 0.0 && number.is_finite();
        SettingError::unless(is_positive(alpha), "alpha", alpha, "a number above 0")?;
        let is_share = (0.0..=1.0).contains(&ess_threshold);
        SettingError::unless(is_share, "ess_threshold", ess_threshold, "a share from 0 to 1")?;
        let gamma = gamma.unwrap_or(1.0);
        SettingError::unless(is_positive(gamma), "gamma", gamma, "a number above 0")
    }

    fn alpha(&self) -> f64 {
        self.alpha.unwrap_or(1.0)
    }

    /// Makes `picture`. Where the account allows no more, the particle with the largest weight
    /// takes the steps that are left by itself.
    pub fn run(&self, picture: &OnePicture) -> Found {
        let mut population = Population::start(self, picture);
        while population.trajectory.i < picture.steps() {
            let left = picture.steps() - 1 - population.trajectory.i;
            if !picture.account.allows(self.particles + left) {
                let best = population.trajectory.select(&[population.heaviest()]);
                let notes = population.notes(false);
                let latents = picture.finish(best).sample;
                return Found { latents, picture: None, score: None, notes };
            }
            population.step();
        }
        let judged = population.finish();
        let heaviest = population.heaviest();
        Found {
            latents: population.trajectory.select(&[heaviest]).sample,
            picture: Some(judged[heaviest].picture.clone()),
            score: judged[heaviest].score,
            notes: population.notes(true),
        }
    }
}

/// The particles of a picture between two steps.
struct Population<'a, 'b> {
    settings: &'a Das,
    picture: &'a OnePicture<'b>,
    gamma: f64,
    temperature: f64,
    /// A row for each particle.
    trajectory: Trajectory,
    /// Up to a constant.
    log_weights: Vec<f64>,
    /// The potentials that are in the weights.
    log_psi: Vec<f64>,
    /// What the last step's proposal takes from the weights.
    log_ratio: Vec<f64>,
    /// The effective number of particles at every step, before they were resampled.
    effective: Vec<f64>,
    temperatures: Vec<f64>,
    resampled_at: Vec<usize>,
}

impl<'a, 'b> Population<'a, 'b> {
    fn start(settings: &'a Das, picture: &'a OnePicture<'b>) -> Self {
        let particles = settings.particles;
        let gamma = settings.gamma.unwrap_or_else(|| settings.tempering.gamma(picture.steps()));
        Self {
            settings,
            picture,
            gamma,
            temperature: 0.0,
            trajectory: picture.sampler.start(picture.draws.start(0..particles)),
            log_weights: vec![0.0; particles],
            log_psi: vec![0.0; particles],
            log_ratio: vec![0.0; particles],
            effective: Vec::new(),
            temperatures: Vec::new(),
            resampled_at: Vec::new(),
        }
    }

    fn step(&mut self) {
        let (mut look, scores, mut gradient) = self.look();
        let next = self.weigh(&scores, look.i);
        let effective = effective(&self.log_weights);
        self.effective.push(effective);
        let particles = self.settings.particles;
        if effective < self.settings.ess_threshold * particles as f64 {
            let mut stream = self.picture.draws.stream(look.i, 0);
            let weights = normalised(&self.log_weights);
            let parents = self.settings.resampling.parents(&weights, &mut stream);
            look = look.select(&parents);
            if !self.settings.compat_guidance_order {
                gradient = select_rows(gradient, &parents);
                self.log_psi = parents.iter().map(|&parent| self.log_psi[parent]).collect();
            }
            self.log_weights = vec![0.0; particles];
            self.resampled_at.push(look.i);
        }
        let deviation = look.transition.deviation;
        let guidance = gradient.mul_scalar(next / self.settings.alpha());
        let shift = guidance.clone().mul_scalar(deviation * deviation);
        look.transition.mean = look.transition.mean + shift;
        let noise = look.transition.is_stochastic().then(|| {
            let noise = self.picture.draws.step(look.i, 0..particles);
            self.log_ratio = log_ratio(deviation, guidance, noise.clone());
            noise
        });
        if noise.is_none() {
            self.log_ratio = vec![0.0; particles];
        }
        self.trajectory = self.picture.sampler.step(&look, noise);
    }

    /// The evaluation of every particle, its score and the gradient of that.
    fn look(&self) -> (Look, Vec<f64>, Tensor<4>) {
        let (all, most) = (self.settings.particles, self.picture.batch.max(1));
        let (mut looks, mut scores, mut gradients) = (Vec::new(), Vec::new(), Vec::new());
        for first in (0..all).step_by(most) {
            let rows: Vec<usize> = (first..all.min(first + most)).collect();
            let conditioning = self.picture.conditioning.repeat(rows.len());
            let sampler = self.picture.sampler.with_conditioning(&conditioning);
            let graded = self.picture.graded(&sampler, &self.trajectory.select(&rows), |look| {
                self.picture.tracked_scores(look)
            });
            looks.push(graded.look);
            scores.extend(graded.values);
            gradients.push(graded.gradient);
        }
        (Look::join(&looks), filled(&scores), Tensor::cat(gradients, 0))
    }

    /// Brings the weights up to the scores at step `i`; the temperature of the guidance comes back.
    fn weigh(&mut self, scores: &[f64], i: usize) -> f64 {
        let Das { tempering, ess_threshold, particles, .. } = *self.settings;
        let alpha = self.settings.alpha();
        let before: Vec<f64> = (0..particles)
            .map(|k| self.log_weights[k] + self.log_ratio[k] - self.log_psi[k])
            .collect();
        let weights = |temperature: f64| -> Vec<f64> {
            let at = |k: usize| before[k] + temperature * scores[k] / alpha;
            (0..particles).map(at).collect()
        };
        let temperature = tempering.planned(i, self.gamma).unwrap_or_else(|| {
            let least = ess_threshold * particles as f64;
            tempering::adapt(self.temperature, least, |temperature| {
                effective(&weights(temperature))
            })
        });
        self.temperature = temperature;
        self.temperatures.push(temperature);
        self.log_weights = weights(temperature);
        self.log_psi = scores.iter().map(|score| temperature * score / alpha).collect();
        tempering.planned(i + 1, self.gamma).unwrap_or(temperature)
    }

    /// Weighs what came of the particles by its own scores, at the full temperature.
    fn finish(&mut self) -> Vec<Judged> {
        let (all, most) = (self.settings.particles, self.picture.batch.max(1));
        let mut judged = Vec::new();
        for first in (0..all).step_by(most) {
            let rows = first..all.min(first + most);
            judged.extend(self.picture.judge(self.trajectory.sample.clone().slice(rows), None));
        }
        let scores = filled(&judged.iter().map(|judged| judged.score).collect::<Vec<_>>());
        for (k, score) in scores.iter().enumerate() {
            let gain = score / self.settings.alpha() - self.log_psi[k];
            self.log_weights[k] += self.log_ratio[k] + gain;
        }
        let best = scores.iter().copied().reduce(f64::max);
        best.into_iter().for_each(|best| self.picture.account.best(best));
        judged
    }

    /// The particle with the largest weight; of equals the first.
    fn heaviest(&self) -> usize {
        let each = self.log_weights.iter().copied().enumerate();
        let heavier = |best: (usize, f64), other: (usize, f64)| {
            if other.1 > best.1 { other } else { best }
        };
        each.reduce(heavier).map_or(0, |(k, _)| k)
    }

    fn notes(&self, is_whole: bool) -> serde_json::Value {
        json!({
            "effective_particles": self.effective,
            "temperatures": self.temperatures,
            "resampled_at": self.resampled_at,
            "to_the_end": is_whole,
        })
    }
}

/// The log-density of what was drawn under the model over that under the guided proposal, for each
/// row: `-s^2 |G|^2 / 2 - s G.z`.
fn log_ratio(deviation: f64, guidance: Tensor<4>, noise: Tensor<4>) -> Vec<f64> {
    let guidance = widened(guidance).mul_scalar(deviation);
    let terms = guidance.clone().square().div_scalar(2.0) + guidance * widened(noise);
    let sums: Tensor<2> = terms.flatten::<2>(1, 3).sum_dim(1);
    sums.into_data().convert::<f64>().iter::<f64>().map(|sum| -sum).collect()
}

/// Scores that are no numbers count as the worst of the others.
fn filled(scores: &[Option<f64>]) -> Vec<f64> {
    let worst = scores.iter().flatten().copied().reduce(f64::min).unwrap_or(0.0);
    scores.iter().map(|score| score.unwrap_or(worst)).collect()
}

/// Weights that add up to 1.
fn normalised(log_weights: &[f64]) -> Vec<f64> {
    let most = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = log_weights.iter().map(|weight| (weight - most).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// The effective number of particles, `1 / sum w^2`.
fn effective(log_weights: &[f64]) -> f64 {
    1.0 / normalised(log_weights).iter().map(|weight| weight * weight).sum::<f64>()
}

#[cfg(test)]
mod tests;
