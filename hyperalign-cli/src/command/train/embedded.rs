//! What an embedded base has of its own: prompts, rewards and data.

use std::sync::Arc;

use burn::tensor::Device;
use hyperalign_models::base::Base;
use hyperalign_rewards::{
    Prompt, Reward,
    emoji::{self, Split, World},
    geneval::Row,
};
use hyperalign_train::{
    align::AlignSettings,
    data::{
        EmojiPreferred, TrainingData,
        drawn::{DrawError, DrawnSet, JudgedPairs},
        world_of,
    },
    eval::EmojiGold,
    method::Materials,
    watch::HeldOut,
};
use miette::IntoDiagnostic;

use super::materials::TRAINING_PROMPTS;
use crate::{
    args::OwnData,
    base::{self, BaseOptions},
    prompts::of_the_world,
    rewards,
};

/// Prompts that key steps are chosen over, as many as `hyperalign key-steps` takes; sample grids show
/// the first of them.
const SAMPLE_PROMPTS: usize = 96;

/// Base, proxy reward, prompts and preferred pictures of the emoji world.
pub(super) fn emoji(
    (given, options): (&str, &BaseOptions),
    set: Option<OwnData>,
    reward: Option<Arc<dyn Reward>>,
    settings: &AlignSettings,
    device: &Device,
) -> miette::Result<Materials> {
    let (base, _) = base::open(given, options, device)?;
    let seed = settings.training.seed;
    let sample_prompts = SAMPLE_PROMPTS.max(settings.samples.prompts);
    let reward = match reward {
        Some(reward) => reward,
        None => Arc::new(rewards::reward(rewards::PROXY, device)?),
    };
    let text = |rows: Vec<Row>| rows.into_iter().map(|row| row.prompt).collect::<Vec<_>>();
    let world = world_of(base.as_ref());
    let data = own_data(base.as_ref(), world, set, seed, reward.as_ref(), device)?;
    let held_out = Arc::new(rewards::reward(rewards::HELD_OUT, device)?);
    let watched = world.prompts(Split::Tuning, settings.watch.prompts, 0);
    let held_out = HeldOut {
        prompts: watched.into_iter().map(Prompt::from).collect(),
        rewards: vec![held_out.clone()],
        gold: Some(Arc::new(EmojiGold)),
        space: Some(held_out),
    };
    Ok(Materials {
        base,
        reward: Some(reward),
        reward_decoder: None,
        held_out: Some(held_out),
        prompts: of_the_world(world, Split::Train, TRAINING_PROMPTS, seed),
        data,
        sample_prompts: text(world.prompts(Split::Tuning, sample_prompts, 0)),
        attribution: Some(emoji::ATTRIBUTION),
        device: device.clone(),
    })
}

/// The set that is learned from: the one that is named, or the world's default.
fn own_data(
    base: &dyn Base,
    world: World,
    set: Option<OwnData>,
    seed: u64,
    reward: &dyn Reward,
    device: &Device,
) -> miette::Result<TrainingData> {
    let winners = OwnData::Drawn(DrawnSet::Winners);
    let default = if world == World::SMALL { OwnData::Curated } else { winners };
    let OwnData::Drawn(set) = set.unwrap_or(default) else {
        return Ok(TrainingData::Pictures(Arc::new(EmojiPreferred { world, seed })));
    };
    let file = set.file(base, world, DrawnSet::PROMPTS).into_diagnostic()?;
    let Some(drawn) = file.read().into_diagnostic()? else {
        let (base, data) = (base.name().to_owned(), set.name().to_owned());
        return Err(DrawError::Missing { base, data }).into_diagnostic();
    };
    let rows = file.rows();
    let pairs = match set.annotator() {
        Some(annotator) => JudgedPairs::winners(&drawn, &rows, annotator),
        None => JudgedPairs::ranked(&drawn, &rows, reward, device),
    };
    Ok(TrainingData::Pairs(Arc::new(pairs)))
}
