//! How much of an adapter is used, and for how many steps.

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{AdapterSource, Conditioning, Fresh, Held},
    lora::LoraSet,
};
use serde::Serialize;

/// How much of an adapter is used, and for how many steps; all of it by default.
///
/// The base takes the last steps alone where an adapter is used until one of them. MixGRPO draws its
/// pictures so, 30 steps of 50 with what was trained (Li et al. 2025, arXiv:2507.21802): what cheats a
/// reward tends to be added late.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Dose {
    /// What every update is multiplied by.
    pub scale: f64,
    /// The first sampling step that the base takes alone; none if it never does.
    pub until: Option<usize>,
}

impl Default for Dose {
    fn default() -> Self {
        Self { scale: 1.0, until: None }
    }
}

impl Dose {
    /// `scale` times an adapter in the first `share` of `steps` sampling steps.
    pub fn new(scale: f64, share: f64, steps: usize) -> Self {
        let until = (steps as f64 * share).round() as usize;
        Self { scale, until: (until < steps).then_some(until) }
    }

    /// Whether it is all of the adapter.
    pub fn is_whole(&self) -> bool {
        *self == Self::default()
    }

    /// What it adds to the name of what it is a dose of.
    pub fn label(&self) -> String {
        let scale = match self.scale {
            1.0 => String::new(),
            scale => format!(" x{scale}"),
        };
        match self.until {
            Some(until) => format!("{scale} until step {until}"),
            None => scale,
        }
    }

    /// The same in a plan that evaluates the network so many times a sampling step.
    pub(super) fn planned(self, evaluations: usize) -> Self {
        Self { until: self.until.map(|step| step * evaluations), ..self }
    }

    /// This much of `source`.
    pub(super) fn of<'a>(self, source: Box<dyn AdapterSource + 'a>) -> Box<dyn AdapterSource + 'a> {
        if self.is_whole() { source } else { Box::new(Dosed { dose: self, source }) }
    }
}

struct Dosed<'a> {
    dose: Dose,
    source: Box<dyn AdapterSource + 'a>,
}

impl AdapterSource for Dosed<'_> {
    fn refresh(
        &self,
        i: usize,
        held: Option<&Held>,
        sample: &Tensor<4>,
        timestep: f64,
        conditioning: &Conditioning,
    ) -> Option<Fresh> {
        if self.dose.until.is_some_and(|until| i >= until) {
            // From here on an empty update is held.
            return held.filter(|held| !held.lora.is_empty()).map(|_| LoraSet::default().into());
        }
        // A sample that went back to an earlier step needs a new one.
        let held = held.filter(|held| !held.lora.is_empty());
        let Fresh { lora, start } = self.source.refresh(i, held, sample, timestep, conditioning)?;
        Some(Fresh { lora: lora.scaled(self.dose.scale), start })
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::{
        contract::StaticAdapter,
        lora::{LoraDelta, LoraSet},
        testing,
    };

    use super::*;

    #[test]
    fn a_share_of_the_steps_is_rounded_and_all_of_them_are_no_limit() {
        assert!(Dose::new(1.0, 1.0, 10).is_whole());
        assert_eq!(Dose::new(1.0, 0.6, 50).until, Some(30));
        assert_eq!(Dose::new(1.0, 0.0, 8).until, Some(0));
        assert_eq!(Dose::new(0.5, 0.6, 10).label(), " x0.5 until step 6");
        assert_eq!(Dose::default().label(), "");
        assert_eq!(Dose::new(1.0, 0.5, 4).planned(2).until, Some(4));
    }

    #[test]
    fn updates_are_scaled_and_end() {
        let device = testing::device();
        let delta = LoraDelta::whole(Tensor::<2>::ones([2, 2], &device));
        let set = LoraSet::new([("layer".to_owned(), LoraDelta { scale: 3.0, ..delta })]);
        let dose = Dose { scale: 0.5, until: Some(2) };
        let source = dose.of(Box::new(StaticAdapter(set)));
        let sample = Tensor::<4>::zeros([1, 1, 1, 1], &device);
        let conditioning =
            Conditioning { context: Tensor::<3>::zeros([1, 1, 1], &device), pooled: None };
        let ask = |i, held: Option<&Held>| source.refresh(i, held, &sample, 0.0, &conditioning);

        let first = ask(0, None).expect("nothing is held").lora;
        assert_eq!(first.at("layer")[0].scale, 1.5);
        let held = Held { lora: first, since: 0 };
        assert!(ask(1, Some(&held)).is_none());
        let ended = ask(2, Some(&held)).expect("what was held ends").lora;
        assert!(ended.is_empty());
        let held = Held { lora: ended, since: 2 };
        assert!(ask(3, Some(&held)).is_none());
        // A run that begins late is the base's; one that goes back is not.
        assert!(ask(3, None).is_none());
        assert_eq!(ask(1, Some(&held)).expect("a new one").lora.at("layer")[0].scale, 1.5);
    }
}
