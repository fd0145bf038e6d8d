//! The way of making pictures by a method that works at sampling time.

use std::{fmt, sync::Arc};

use hyperalign_core::{
    contract::{AdapterSource, Decoder, NoAdapter, Prediction, Reward},
    one_picture::{Draws, Noun, OnePicture},
    schedule::SolverChoice,
    stop::Stop,
};
use serde_json::{Value, json};

use super::{super::*, Budget, Knowledge, TestTime, TestTimeError, budget::Ledger, words};
use crate::base::Base;

/// Pictures by a method, towards a reward: of the base as it is, or of what an adapter makes of it.
#[derive(Clone)]
pub struct Sought<'a> {
    /// The method.
    pub method: TestTime,
    /// What is sought.
    pub reward: Arc<dyn Reward>,
    /// The adapter under which it is sought, if there is one.
    pub adapted: Option<Adapted<'a>>,
    /// What each picture may cost.
    pub budget: Budget,
    /// What prompts say of which things, where it was written down.
    pub knowledge: Knowledge,
}

impl fmt::Debug for Sought<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sought").field("method", &self.method).finish_non_exhaustive()
    }
}

impl Sought<'_> {
    /// The sampling that its pictures are made by: `sampling`, with the solver that the method is
    /// published with where none was chosen and the base's own draws no noise.
    pub fn sampling(&self, base: &dyn Base, sampling: &Sampling) -> Sampling {
        let is_flow = base.prediction() == Prediction::Velocity;
        let is_chosen = sampling.solver != SolverChoice::default();
        // What cannot be planned is an error in its own time.
        let draws_noise = || base.scheduler(sampling.steps).is_ok_and(|plan| plan.is_stochastic());
        match self.method.solver(is_flow) {
            Some(solver) if !is_chosen && !draws_noise() => Sampling { solver, ..sampling.clone() },
            _ => sampling.clone(),
        }
    }

    /// Checks that pictures can be made of `base` so.
    ///
    /// # Errors
    ///
    /// Fails where [`TestTime::check`] does, for a budget that is too small for one picture, and
    /// for a sampling that the base refuses.
    pub fn check(&self, base: &dyn Base, sampling: &Sampling) -> Result<(), GenerateError> {
        let sampling = self.sampling(base, sampling);
        let latents =
            sampling.size.map_or(Ok(base.latent_shape()), |size| base.latents_of(size))?;
        let plan = base.plan(sampling.steps, sampling.solver, latents)?;
        let method = self.method.fitted(self.reward.as_ref())?;
        method.check(plan.as_ref(), self.reward.as_ref())?;
        match self.budget.evaluations {
            Some(evaluations) if evaluations < plan.steps() as u64 => {
                let steps = plan.steps();
                Err(TestTimeError::Budget { evaluations, steps }.into())
            }
            _ => Ok(()),
        }
    }

    /// The things that a prompt names: as they were written down, or as its words let one guess.
    fn nouns(&self, base: &dyn Base, prompt: &str) -> Result<Vec<Noun>, TestTimeError> {
        if !self.method.reads_nouns() {
            return Ok(Vec::new());
        }
        let named = self.knowledge.of(prompt)?.unwrap_or_else(|| words::parse(prompt));
        Ok(words::places(base, prompt, &named))
    }

    fn make_one(&self, job: &Job, shot: &Shot, stop: &Stop) -> Result<Option<Made>, GenerateError> {
        let size = job.sampling.size.unwrap_or(job.base.picture_size());
        let prompt = std::slice::from_ref(&shot.prompt);
        self.reward.check(size, prompt).map_err(TestTimeError::from)?;
        let generation = job.generation()?;
        let planned = self.adapted.as_ref().map(|adapted| adapted.planned(job.base, job.sampling));
        let planned = planned.transpose()?;
        let source: Box<dyn AdapterSource + '_> = match &planned {
            Some(adapted) => adapted.source(job.base),
            None => Box::new(NoAdapter),
        };
        let decoder = job.decoder.unwrap_or(job.base as &dyn Decoder);
        let decoder = Metered::new(decoder, job.meter);
        let reward = Metered::new(self.reward.as_ref(), job.meter);
        let account = Ledger::open(self.budget, job.meter, stop);
        let nouns = self.nouns(job.base, &shot.prompt.text)?;
        let conditioning = generation.conditioning();
        let device = conditioning.context.device();
        let found = self.method.fitted(self.reward.as_ref())?.run(&OnePicture {
            sampler: generation.sampler().with_adapter(source.as_ref()),
            conditioning,
            decoder: &decoder,
            reward: &reward,
            prompt: &shot.prompt,
            nouns: &nouns,
            draws: Draws::new(shot.seed, generation.latent_shape(), &device),
            batch: job.sampling.batch,
            account: &account,
        });
        let Some(found) = found else { return Ok(None) };
        let picture = found.picture.unwrap_or_else(|| job.decode(found.latents));
        let mut note = found.notes;
        note["score"] = json!(found.score);
        note["skipped"] = json!(account.skipped_so_far());
        Ok(Some(Made { images: picture, notes: vec![note] }))
    }
}

impl Way for Sought<'_> {
    fn name(&self) -> String {
        match &self.adapted {
            Some(adapted) => format!("{} of {}", self.method.name(), adapted.name()),
            None => self.method.name().to_owned(),
        }
    }

    fn identity(&self) -> Value {
        json!({
            "method": self.method.fitted(self.reward.as_ref()).as_ref().unwrap_or(&self.method),
            "reward": [self.reward.name(), &self.reward.version()],
            "adapter": self.adapted.as_ref().map(Way::identity),
            "budget": self.budget,
            "knowledge": self.method.reads_nouns().then_some(&self.knowledge),
        })
    }

    /// A search over what an adapter makes is no measurement of the adapter.
    fn adapted(&self) -> Option<&Adapted<'_>> {
        None
    }

    /// One picture at a time: what is made at once are its candidates.
    fn shots_at_once(&self, _: &Sampling) -> usize {
        1
    }

    fn settles_for_less(&self) -> bool {
        true
    }

    fn make(&self, job: &Job, stop: &Stop) -> Result<Option<Made>, GenerateError> {
        let sampling = self.sampling(job.base, job.sampling);
        self.check(job.base, &sampling)?;
        let mut made: Option<Made> = None;
        for shot in job.shots {
            let shots = std::slice::from_ref(shot);
            let job = Job { sampling: &sampling, shots, ..*job };
            match self.make_one(&job, shot, stop)? {
                Some(one) => made = Some(made.map_or_else(|| one.clone(), |all| all.and(&one))),
                None => return Ok(None),
            }
        }
        Ok(made)
    }
}
