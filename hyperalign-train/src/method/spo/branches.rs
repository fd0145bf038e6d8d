//! Trajectories that branch in every step.

use burn::tensor::Tensor;
use hyperalign_core::{contract::Conditioning, noise::Purpose, rows::select_rows};
use hyperalign_models::hypernet::Adapter;
use hyperalign_rewards::Prompt;

use super::{Method as _, Spo, SpoSettings};
use crate::{learner::Shard, method::policy::Policy};

/// The trajectories of a shard, off the tape.
pub(super) struct Branches {
    pub(super) conditioning: Conditioning,
    /// The samples that entered the steps, `[trajectories, channels, height, width]` each.
    pub(super) samples: Vec<Tensor<4>>,
    /// The scores of all candidates.
    pub(super) scores: Vec<f64>,
    /// Steps of trajectories that had candidates.
    pub(super) steps: usize,
    /// Those that gave a pair, by step.
    pub(super) decided: Vec<Decided>,
}

/// The pairs of one step.
pub(super) struct Decided {
    pub(super) i: usize,
    /// The trajectories that have one.
    pub(super) rows: Vec<usize>,
    /// The better of the samples that step `i` led to, `[rows, channels, height, width]`.
    pub(super) better: Tensor<4>,
    /// The worse, as `better`.
    pub(super) worse: Tensor<4>,
}

impl Branches {
    pub(super) fn pairs(&self) -> usize {
        self.decided.iter().map(|step| step.rows.len()).sum()
    }
}

impl Decided {
    /// The rows of `sample` that have a pair.
    pub(super) fn select(&self, sample: &Tensor<4>) -> Tensor<4> {
        select_rows(sample.clone(), &self.rows)
    }
}

impl Spo {
    pub(super) fn policy(&self, conditioning: Conditioning) -> Policy<'_> {
        let plan = self.setup.plan(self.settings.solver(self.setup.base().process()));
        Policy::new(&self.setup, plan.into(), conditioning)
    }

    /// Samples the trajectories of a shard with the model as it is.
    pub(super) fn branches(&self, adapter: &Adapter, update: u64, shard: Shard) -> Branches {
        let SpoSettings { trajectories, candidates, .. } = self.settings;
        let setup = &self.setup;
        let rows = shard.samples(trajectories);
        let prompts = setup.prompts(update, rows.clone());
        let conditioning = setup.encode(&Prompt::texts(&prompts));
        let policy = self.policy(conditioning.clone());
        let steps = policy.scheduler().steps();
        let first = self.settings.first_step(steps);
        // Every trajectory `candidates` times, the whole batch after itself.
        let every: Vec<usize> = (0..candidates).flat_map(|_| 0..rows.len()).collect();
        let (asked, of_all) = (vec![prompts; candidates].concat(), policy.select(&every));
        let noise = |i: usize, candidate: usize| {
            setup.noise(rows.clone().map(|k| {
                setup.stream(Purpose::Sampler, update, (k * steps + i) * candidates + candidate)
            }))
        };
        let start = setup.start(update, rows.clone());
        let mut samples = policy.rollout(adapter, start, first, Some(&|i| noise(i, 0)));
        let (mut scores, mut decided) = (Vec::new(), Vec::new());
        for i in first..steps {
            let lora = policy.lora(adapter, &samples, i);
            let transition = policy.transition(Some(&lora), samples[i].clone(), i);
            if !transition.is_stochastic() {
                samples.push(transition.mean);
                continue;
            }
            let drawn = (0..candidates).map(|candidate| transition.draw(Some(noise(i, candidate))));
            let drawn = Tensor::cat(drawn.collect(), 0);
            let estimate = match i + 1 == steps {
                true => drawn.clone(),
                false => {
                    let before =
                        samples.iter().map(|sample| sample.clone().repeat_dim(0, candidates));
                    let seen: Vec<Tensor<4>> = before.chain([drawn.clone()]).collect();
                    let lora = of_all.lora(adapter, &seen, i + 1);
                    of_all.transition(Some(&lora), drawn.clone(), i + 1).pred_original
                }
            };
            let picture = setup.picture(estimate);
            let found = match i + 1 == steps {
                true => setup.reward().measure(&picture, &asked),
                false => {
                    let timestep = policy.scheduler().training_timestep(i + 1);
                    let timesteps = Tensor::full([asked.len()], timestep, &picture.device());
                    setup.reward().measure_at(&picture, &asked, timesteps)
                }
            };
            let found: Vec<f64> = found.into_iter().map(f64::from).collect();
            decided.extend(self.decide(i, &drawn, &found, rows.len()));
            scores.extend(found);
            let next = |(row, k): (usize, usize)| {
                // No candidate's noise has this number, whose purpose is another.
                let mut stream = setup.stream(Purpose::Search, update, k * steps + i);
                stream.below(candidates) * rows.len() + row
            };
            samples
                .push(select_rows(drawn, &rows.clone().enumerate().map(next).collect::<Vec<_>>()));
        }
        let steps = scores.len() / candidates;
        Branches { conditioning, samples, scores, steps, decided }
    }

    /// The pairs of a step; `scores` are those of `drawn`, candidate by candidate.
    fn decide(
        &self,
        i: usize,
        drawn: &Tensor<4>,
        scores: &[f64],
        trajectories: usize,
    ) -> Option<Decided> {
        let SpoSettings { candidates, score_scale, least_preference, .. } = self.settings;
        let (mut rows, mut better, mut worse) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..trajectories {
            let places = (0..candidates).map(|candidate| candidate * trajectories + row);
            let order = |a: &usize, b: &usize| scores[*a].total_cmp(&scores[*b]);
            let (best, worst) = (places.clone().max_by(order)?, places.min_by(order)?);
            let odds = score_scale * (scores[best] - scores[worst]);
            // p - (1 - p) of a logistic p.
            if (odds / 2.0).tanh() > least_preference {
                rows.push(row);
                better.push(best);
                worse.push(worst);
            }
        }
        let some = !rows.is_empty();
        some.then(|| Decided {
            i,
            rows,
            better: select_rows(drawn.clone(), &better),
            worse: select_rows(drawn.clone(), &worse),
        })
    }
}
