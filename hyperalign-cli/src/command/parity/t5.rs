//! Reference files of the T5 encoder.

use hyperalign_models::t5::{T5Config, T5EncoderModel};
use miette::IntoDiagnostic;

use super::{
    checks::{Checks, FORWARD},
    golden::{Golden, Values},
};

/// `t5_encoder_*`: the buckets of distances, and the states without a mask and with one.
pub(super) fn encoder(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let config: T5Config = golden.config()?;
    let model = T5EncoderModel::from_tensors(&config, golden.weights()?, &checks.device)
        .into_diagnostic()?;
    let ids = golden.ids::<2>("in.input_ids", &checks.device)?;
    let [_, tokens] = ids.dims();
    let buckets = config.positions().table(tokens);
    let values = buckets.into_iter().map(|bucket| bucket as f64).collect();
    let table = Values { shape: vec![tokens, tokens], values };
    checks.values("out.relative_position_bucket", &table, FORWARD);
    checks.tensor("out.last_hidden_state", model.forward(ids.clone(), None));
    if golden.has("in.attention_mask") {
        let mask = golden.tensor("in.attention_mask", &checks.device)?;
        checks.tensor("out.last_hidden_state_masked", model.forward(ids, Some(mask)));
    }
    Ok(())
}
