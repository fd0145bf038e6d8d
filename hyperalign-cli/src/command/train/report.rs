//! The table and the pictures at the end of a run.

use std::path::Path;

use hyperalign_core::{
    atomic,
    image::{Metadata, write_png},
};
use hyperalign_models::hypernet::{AdapterKind, Variant};
use hyperalign_rewards::{Prompt, emoji::Split};
use hyperalign_train::{
    align::{AlignSettings, Aligned},
    data::world_of,
    eval::{
        Adapted, ClipSpace, Dose, EmojiGold, Evaluation, Format, ImageSpace, Judge, Measures,
        Method, Pixels, Role, Scorer, Shot, side_by_side,
    },
    learner::Stop,
    method::Materials,
};
use miette::IntoDiagnostic;

use super::sampling;
use crate::{outcome::Outcome, output, prompts, rewards};

/// Pictures of one batch.
const BATCH: usize = 32;
/// Prompts of the side-by-side grid.
const GRID_PROMPTS: usize = 8;

/// What is measured.
pub(super) struct Report<'a> {
    pub world: &'a Materials,
    pub settings: &'a AlignSettings,
    /// The run's own adapter first, and those of its controls.
    pub trained: &'a [(String, Aligned)],
    /// Prompts of the table, where they are not the embedded world's.
    pub held_out: Option<Vec<Prompt>>,
}

impl Report<'_> {
    /// Measures every trained adapter beside the base on the held-out prompts; writes
    /// `summary.json`, `table.md` and `side-by-side.png`, and prints the table.
    pub(super) fn run(&self, out: &Path, stop: &Stop, json: bool) -> miette::Result<Outcome> {
        let Self { world, settings, trained, .. } = self;
        let of = &settings.evaluation;
        let prompts = match &self.held_out {
            Some(prompts) => prompts.clone(),
            None => {
                let drawn = world_of(world.base.as_ref());
                prompts::of_the_world(drawn, Split::Test, of.prompts, of.seed)
            }
        };
        let base = world.base.as_ref();
        let methods = methods(trained, settings.trajectory.steps);
        let sampling = sampling(settings, BATCH);
        let shots = self.grid_shots();
        let grid = side_by_side(base, &methods, &sampling, &shots, stop).into_diagnostic()?;
        let Some(grid) = grid else { return Ok(Outcome::Interrupted) };
        let grid_path = out.join("side-by-side.png");
        let about = serde_json::json!({
            "base": base.name(),
            "base_hash": base.hash(),
            "columns": methods.iter().map(|method| &method.name).collect::<Vec<_>>(),
            "attribution": world.attribution,
        });
        let metadata = Metadata { hyperalign: Some(about), ..Metadata::default() };
        write_png(&grid_path, &grid, &metadata).into_diagnostic()?;

        // The exact scorer and the held-out model judge the embedded world's pictures.
        let is_world = self.held_out.is_none();
        let heldout = is_world.then(|| rewards::reward(rewards::HELD_OUT, &world.device));
        let heldout = heldout.transpose()?;
        let clip = heldout.as_ref().map(ClipSpace);
        let space: &dyn ImageSpace = clip.as_ref().map_or(&Pixels, |clip| clip);
        // A method without a reward is trained against none.
        let role = match trained.iter().any(|(_, aligned)| aligned.meta.reward.is_some()) {
            true => Role::TrainedAgainst,
            false => Role::Other,
        };
        let mut scorers = Vec::new();
        if let Some(reward) = &world.reward {
            let column = Scorer::PROXY.to_owned();
            scorers.push(Scorer { column, reward: reward.as_ref(), role });
        }
        if let Some(reward) = &heldout {
            let column = Scorer::HELD_OUT.to_owned();
            scorers.push(Scorer { column, reward, role: Role::HeldOut });
        }
        let evaluation = Evaluation {
            base,
            methods,
            prompts: &prompts,
            seeds: of.seeds,
            first_seed: of.seed.wrapping_add(1_000_000),
            sampling,
            measures: Measures {
                gold: is_world.then_some(&EmojiGold as &dyn Judge),
                scorers,
                space,
            },
            cache: Some(out.join("evaluation")),
            stop: stop.clone(),
        };
        let measured = rewards::measure(&evaluation)?;
        let Some(summary) = measured else { return Ok(Outcome::Interrupted) };
        let text = serde_json::to_string_pretty(&summary).into_diagnostic()? + "\n";
        atomic::write(&out.join("summary.json"), text.as_bytes()).into_diagnostic()?;
        let markdown = summary.report(Format::Markdown);
        atomic::write(&out.join("table.md"), markdown.as_bytes()).into_diagnostic()?;
        if json {
            output::print_json(&summary)?;
        } else {
            output::print(&summary.report(Format::Plain))?;
            output::note(&format!("pictures: {}", grid_path.display()));
        }
        Ok(Outcome::Done)
    }

    /// The pictures of the side-by-side grid: of every task of the embedded world, or of the first
    /// prompts of the table.
    fn grid_shots(&self) -> Vec<Shot> {
        let Some(prompts) = &self.held_out else {
            let drawn = world_of(self.world.base.as_ref());
            let rows = drawn.prompts(Split::Test, GRID_PROMPTS, 1);
            return rows.into_iter().zip(0..).map(|(row, seed)| Shot::new(row, seed)).collect();
        };
        let prompts = prompts.iter().take(GRID_PROMPTS).cloned();
        prompts.zip(0..).map(|(prompt, seed)| Shot { prompt, seed }).collect()
    }
}

/// The base, the run's hypernetwork as S, P and I, and the others as what they were trained as.
fn methods(trained: &[(String, Aligned)], steps: usize) -> Vec<Method<'_>> {
    let mut methods = vec![Method::base()];
    for (k, (name, aligned)) in trained.iter().enumerate() {
        let adapted = |variant: Variant| Adapted {
            adapter: &aligned.adapter,
            variant,
            key_steps: aligned.meta.key_steps_for(steps),
            dose: Dose::default(),
        };
        let is_hypernet = matches!(aligned.meta.network, AdapterKind::Hypernet(_));
        if k == 0 && is_hypernet {
            let variants = [Variant::S, Variant::P, Variant::I];
            methods.extend(variants.map(|variant| Method::new(variant.label(), adapted(variant))));
        } else {
            methods.push(Method::new(name.clone(), adapted(aligned.meta.variant)));
        }
    }
    methods
}
