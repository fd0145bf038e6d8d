//! Classifier-free guidance.

use burn::tensor::Tensor;

use crate::{
    contract::{Answer, Conditioning, Correction, Denoiser, PassStart, Prediction, TextWatch},
    lora::LoraSet,
};

/// Extrapolates from the unconditional to the conditional prediction,
/// `unconditional + guidance_scale (conditional - unconditional)` (Ho & Salimans 2022,
/// arXiv:2207.12598, eq. 6, with `guidance_scale = 1 + w`).
///
/// One call of the network with the unconditional rows first, then the conditional ones. Both
/// use the low-rank update of the conditional row. At a scale of 1 the unconditional half would
/// cancel and is not computed.
pub struct ClassifierFreeGuidance<'a, T: ?Sized> {
    denoiser: &'a T,
    unconditional: Conditioning,
    guidance_scale: f64,
}

impl<'a, T: Denoiser + ?Sized> ClassifierFreeGuidance<'a, T> {
    /// Guides `denoiser` away from `unconditional`: the encoded empty or negative prompts, of one
    /// row for the whole batch or a row for each sample.
    pub fn new(denoiser: &'a T, unconditional: Conditioning, guidance_scale: f64) -> Self {
        Self { denoiser, unconditional, guidance_scale }
    }
}

impl<T: Denoiser + ?Sized> Denoiser for ClassifierFreeGuidance<'_, T> {
    /// The conditional rows are the last ones: a start of theirs is one of the batch's.
    fn answer_from(
        &self,
        start: Option<&PassStart>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
        watch: Option<TextWatch>,
    ) -> Answer {
        if self.guidance_scale == 1.0 {
            return self.denoiser.answer_from(start, sample, timesteps, conditioning, lora, watch);
        }
        let batch = conditioning.batch();
        let unconditional = match self.unconditional.batch() {
            1 => self.unconditional.repeat(batch),
            rows => {
                assert_eq!(rows, batch, "one unconditional row, or one for each sample");
                self.unconditional.clone()
            }
        };
        let rows = unconditional.concat(conditioning.clone());
        let lora = lora.map(|lora| lora.repeat(2));
        // What looks at the prompt are the conditional rows.
        let conditional_rows =
            watch.map(|watch| move |maps: Tensor<4>| watch(maps.slice(batch..2 * batch)));
        let watch = conditional_rows.as_ref().map(|watch| watch as TextWatch);
        let sample = sample.repeat_dim(0, 2);
        let timesteps = timesteps.repeat_dim(0, 2);
        let lora = lora.as_ref();
        let answer = self.denoiser.answer_from(start, sample, timesteps, &rows, lora, watch);
        let output = answer.output;
        let unconditional = output.clone().slice(0..batch);
        let conditional = output.slice(batch..2 * batch);
        let (difference, scale) = (conditional - unconditional.clone(), self.guidance_scale);
        let output = unconditional + difference.clone().mul_scalar(scale);
        Answer { output, correction: Some(Correction { difference, scale }) }
    }

    fn shows_text(&self) -> bool {
        self.denoiser.shows_text()
    }

    fn prediction(&self) -> Prediction {
        self.denoiser.prediction()
    }
}

#[cfg(test)]
mod tests {
    use crate::testing;
    use std::cell::RefCell;

    use burn::tensor::TensorData;

    use super::*;
    use crate::lora::LoraDelta;

    /// Answers each row's prompt, plus its update where it has one, and keeps what it was asked.
    #[derive(Default)]
    struct Echo {
        rows: RefCell<Vec<usize>>,
    }

    impl Denoiser for Echo {
        fn answer_from(
            &self,
            _: Option<&PassStart>,
            sample: Tensor<4>,
            timesteps: Tensor<1>,
            conditioning: &Conditioning,
            lora: Option<&LoraSet>,
            _: Option<TextWatch>,
        ) -> Answer {
            let [batch, ..] = sample.dims();
            assert_eq!(timesteps.dims(), [batch]);
            assert_eq!(conditioning.batch(), batch);
            self.rows.borrow_mut().push(batch);
            let update = match lora {
                Some(lora) => lora.at("layer")[0].forward(conditioning.context.clone()),
                None => conditioning.context.zeros_like(),
            };
            Answer::from(
                (conditioning.context.clone() + update).unsqueeze_dim(3) + sample.zeros_like(),
            )
        }

        fn prediction(&self) -> Prediction {
            Prediction::Epsilon
        }
    }

    fn conditioning(values: &[f32]) -> Conditioning {
        let data = TensorData::new(values.to_vec(), [values.len(), 1, 1]);
        Conditioning { context: Tensor::from_data(data, &testing::device()), pooled: None }
    }

    fn guided(echo: &Echo, unconditional: &[f32], scale: f64, lora: Option<&LoraSet>) -> Vec<f32> {
        let guidance = ClassifierFreeGuidance::new(echo, conditioning(unconditional), scale);
        let sample = Tensor::zeros([2, 1, 1, 1], &testing::device());
        let timesteps = Tensor::zeros([2], &testing::device());
        let output = guidance.predict(sample, timesteps, &conditioning(&[1.0, 2.0]), lora);
        output.try_into_vec_as().unwrap()
    }

    #[test]
    fn extrapolates_row_by_row() {
        let echo = Echo::default();
        assert_eq!(guided(&echo, &[0.5], 3.0, None), [2.0, 5.0]);
        assert_eq!(guided(&echo, &[0.5, 1.5], 3.0, None), [2.0, 3.0]);
        assert_eq!(guided(&echo, &[0.5], 0.0, None), [0.5, 0.5]);
        assert_eq!(*echo.rows.borrow(), [4, 4, 4]);
    }

    /// What it says that it added is what it added.
    #[test]
    fn the_correction_is_told() {
        let echo = Echo::default();
        let answer = |scale| {
            let guidance = ClassifierFreeGuidance::new(&echo, conditioning(&[0.5]), scale);
            let sample = Tensor::zeros([2, 1, 1, 1], &testing::device());
            let timesteps = Tensor::zeros([2], &testing::device());
            guidance.answer(sample, timesteps, &conditioning(&[1.0, 2.0]), None, None)
        };
        let correction = answer(3.0).correction.unwrap();
        assert_eq!(correction.scale, 3.0);
        assert_eq!(correction.difference.try_into_vec_as::<f32>().unwrap(), [0.5, 1.5]);
        assert!(answer(1.0).correction.is_none());
    }

    #[test]
    fn scale_one_asks_for_the_conditional_rows_only() {
        let echo = Echo::default();
        assert_eq!(guided(&echo, &[0.5], 1.0, None), [1.0, 2.0]);
        assert_eq!(*echo.rows.borrow(), [2]);
    }

    #[test]
    fn both_halves_use_the_update_of_the_conditional_row() {
        let factor = |values: &[f32]| {
            Tensor::<3>::from_data(
                TensorData::new(values.to_vec(), [values.len(), 1, 1]),
                &testing::device(),
            )
        };
        let delta = |down: &[f32]| LoraDelta {
            down_aux: None,
            down: factor(down),
            up: Some(factor(&[1.0])),
            up_aux: None,
            scale: 1.0,
        };
        let set = |down: &[f32]| LoraSet::new([("layer".to_owned(), delta(down))]);
        let echo = Echo::default();
        // Rows answer prompt * (1 + factor): (1, 2) conditional, .5 unconditional.
        assert_eq!(guided(&echo, &[0.5], 2.0, Some(&set(&[1.0, 3.0]))), [3.0, 14.0]);
        assert_eq!(guided(&echo, &[0.5], 2.0, Some(&set(&[1.0]))), [3.0, 7.0]);
    }
}
