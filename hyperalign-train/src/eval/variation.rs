//! Whether a trained hypernetwork emits different updates for different inputs, or has become a
//! static LoRA with extra steps.

use std::cell::RefCell;

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{AdapterSource, Conditioning, Fresh, Held},
    sampler::unobserved,
};
use hyperalign_models::{
    base::Base,
    generate::{Adapted, Generation, Sampling},
    hypernet::{Emission, relative_deviation},
};
use serde::{Deserialize, Serialize};

use super::EvalError;
use crate::learner::Stop;

/// Relative standard deviations of the emitted factors
/// ([`relative_deviation`]). While they are under .1 or so, a comparison of S, P and I means
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Variation {
    /// Over prompts at one step, from the same starting noise; the mean over steps. None for
    /// fewer than two prompts.
    pub over_prompts: Option<f64>,
    /// Over the updates of one trajectory; the mean over prompts. 0 for I, which has one.
    pub over_steps: f64,
}

/// Measures the factors that `adapted` emits along its own trajectories. `None` if `stop` was
/// requested before the end.
///
/// # Errors
///
/// Fails if the base refuses a prompt or the number of steps.
pub fn variation(
    base: &dyn Base,
    adapted: &Adapted,
    sampling: &Sampling,
    prompts: &[String],
    seed: u64,
    stop: &Stop,
) -> Result<Option<Variation>, EvalError> {
    let several = prompts.len() > 1;
    if adapted.adapter.hypernet().is_none() {
        let over_prompts = several.then_some(0.0);
        return Ok(Some(Variation { over_prompts, over_steps: 0.0 }));
    }
    let updates = emitted(base, adapted, sampling, prompts, seed, stop)?;
    let Some(updates) = updates else { return Ok(None) };
    let over_prompts = updates.iter().map(|rows| relative_deviation(rows));
    let over_steps = (0..prompts.len()).map(|prompt| {
        let trajectory: Vec<Vec<f32>> = updates.iter().map(|rows| rows[prompt].clone()).collect();
        relative_deviation(&trajectory)
    });
    Ok(Some(Variation {
        over_prompts: several.then(|| mean(over_prompts)),
        over_steps: mean(over_steps),
    }))
}

/// The factors that `adapted` emits along its own trajectories, flat: by update of a trajectory, then
/// by prompt. `None` if `stop` was requested before the end.
///
/// # Errors
///
/// Fails if the base refuses a prompt or the number of steps.
pub fn emitted(
    base: &dyn Base,
    adapted: &Adapted,
    sampling: &Sampling,
    prompts: &[String],
    seed: u64,
    stop: &Stop,
) -> Result<Option<Vec<Vec<Vec<f32>>>>, EvalError> {
    let mut updates: Vec<Vec<Vec<f32>>> = Vec::new();
    for prompts in prompts.chunks(sampling.batch.max(1)) {
        if stop.is_requested() {
            return Ok(None);
        }
        let recorder = Recorder { base, adapted, factors: RefCell::default() };
        let seeds = vec![seed; prompts.len()];
        Generation::new(base, sampling, prompts)?.run(&recorder, &seeds, &mut unobserved);
        for (update, rows) in recorder.factors.into_inner().into_iter().enumerate() {
            match updates.get_mut(update) {
                Some(known) => known.extend(rows),
                None => updates.push(rows),
            }
        }
    }
    Ok(Some(updates))
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

/// The adapter as the sampler reads it, keeping the factors that it emits.
struct Recorder<'a> {
    base: &'a dyn Base,
    adapted: &'a Adapted<'a>,
    /// By update, then by row of the batch.
    factors: RefCell<Vec<Vec<Vec<f32>>>>,
}

impl AdapterSource for Recorder<'_> {
    fn refresh(
        &self,
        i: usize,
        held: Option<&Held>,
        sample: &Tensor<4>,
        timestep: f64,
        conditioning: &Conditioning,
    ) -> Option<Fresh> {
        let Adapted { adapter, variant, key_steps, .. } = self.adapted;
        variant.is_due(i, key_steps, held).then(|| {
            let timesteps = Tensor::full([sample.dims()[0]], timestep, &sample.device());
            let Emission { lora, factors, start } =
                adapter.emit(self.base, sample.clone(), timesteps, conditioning);
            if let Some(factors) = factors {
                let [_, targets, outputs] = factors.dims();
                let data = factors.detach().into_data().convert::<f32>();
                let values: Vec<f32> = data.iter::<f32>().collect();
                let rows = values.chunks(targets * outputs).map(<[f32]>::to_vec).collect();
                self.factors.borrow_mut().push(rows);
            }
            Fresh { lora, start }
        })
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_models::{generate::Dose, hypernet::Variant};

    use super::*;
    use crate::eval::toy::{self, adapter, static_lora};

    const SAMPLING: Sampling = Sampling::new(4, 2.0);

    fn measure(adapted: &Adapted, sampling: &Sampling, prompts: &[&str]) -> Variation {
        let prompts: Vec<String> = prompts.iter().map(|prompt| (*prompt).to_owned()).collect();
        variation(&toy::base(), adapted, sampling, &prompts, 3, &Stop::default()).unwrap().unwrap()
    }

    #[test]
    fn a_hypernetwork_varies_and_a_static_lora_does_not() {
        let prompts = ["a dog", "a car", "a red heart", "a tree"];
        let hyper = adapter(5, 0.5);
        let run = |variant| Adapted {
            adapter: &hyper,
            variant,
            key_steps: vec![0, 2],
            dose: Dose::default(),
        };
        let s = measure(&run(Variant::S), &SAMPLING, &prompts);
        assert!(s.over_prompts.unwrap() > 1e-3 && s.over_steps > 1e-3, "{s:?}");
        let p = measure(&run(Variant::P), &SAMPLING, &prompts);
        assert!(p.over_steps > 1e-3, "{p:?}");
        let i = measure(&run(Variant::I), &SAMPLING, &prompts);
        assert!(i.over_prompts.unwrap() > 1e-3 && i.over_steps == 0.0, "{i:?}");
        // The batch is no part of what is measured.
        let alone = measure(&run(Variant::S), &Sampling { batch: 1, ..SAMPLING }, &prompts);
        assert!((alone.over_prompts.unwrap() - s.over_prompts.unwrap()).abs() < 1e-5);
        assert!((alone.over_steps - s.over_steps).abs() < 1e-5);

        let lora = static_lora();
        let lora = Adapted {
            adapter: &lora,
            variant: Variant::S,
            key_steps: Vec::new(),
            dose: Dose::default(),
        };
        let still = Variation { over_prompts: Some(0.0), over_steps: 0.0 };
        assert_eq!(measure(&lora, &SAMPLING, &prompts), still);
    }

    #[test]
    fn the_same_prompt_again_is_no_variation() {
        let hyper = adapter(5, 0.5);
        let s = Adapted {
            adapter: &hyper,
            variant: Variant::S,
            key_steps: Vec::new(),
            dose: Dose::default(),
        };
        let twice = measure(&s, &SAMPLING, &["a dog", "a dog"]);
        assert!(twice.over_prompts.unwrap() < 1e-3, "{twice:?}");
        assert_eq!(measure(&s, &SAMPLING, &["a dog"]).over_prompts, None);
    }
}
