//! The table and the pictures at the end of a run.

use std::path::Path;

use hyperalign_core::{
    atomic,
    image::{Metadata, write_png},
};
use hyperalign_models::hypernet::Variant;
use hyperalign_rewards::emoji::{self, Split};
use hyperalign_train::{
    align::{AlignSettings, Aligned, Materials},
    eval::{
        Adapted, ClipSpace, EmojiGold, Evaluation, Format, Measures, Method, Role, Scorer, Shot,
        side_by_side,
    },
    learner::Stop,
};
use miette::IntoDiagnostic;

use super::sampling;
use crate::{outcome::Outcome, output, prompts, scorers};

/// Pictures of one batch.
const BATCH: usize = 32;
/// Prompts of the side-by-side grid.
const GRID_PROMPTS: usize = 8;

/// Measures every trained adapter beside the base on the held-out prompts; writes
/// `summary.json`, `table.md` and `side-by-side.png`, and prints the table.
pub(super) fn run(
    world: &Materials,
    settings: &AlignSettings,
    trained: &[(String, Aligned)],
    out: &Path,
    stop: &Stop,
    json: bool,
) -> miette::Result<Outcome> {
    let heldout = scorers::reward(scorers::HELD_OUT, &world.device)?;
    let methods = methods(trained, settings.method.steps);
    let sampling = sampling(settings, BATCH);
    let grid_shots: Vec<Shot> = emoji::prompts(Split::Test, GRID_PROMPTS, 1)
        .into_iter()
        .zip(0..)
        .map(|(row, seed)| Shot { prompt: row.prompt, seed })
        .collect();
    let base = world.base.as_ref();
    let grid = side_by_side(base, &methods, &sampling, &grid_shots, stop).into_diagnostic()?;
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

    let AlignSettings { evaluation: of, .. } = settings;
    // A run of the regulariser alone is trained against no reward.
    let role = match trained.iter().any(|(_, aligned)| aligned.meta.reward.is_some()) {
        true => Role::TrainedAgainst,
        false => Role::Other,
    };
    let prompts = prompts::of_the_world(Split::Test, of.prompts, of.seed);
    let evaluation = Evaluation {
        base,
        methods,
        prompts: &prompts,
        seeds: settings.evaluation.seeds,
        first_seed: settings.evaluation.seed.wrapping_add(1_000_000),
        sampling,
        measures: Measures {
            gold: Some(&EmojiGold),
            scorers: vec![
                Scorer { column: Scorer::PROXY.to_owned(), reward: world.reward.as_ref(), role },
                Scorer {
                    column: Scorer::HELD_OUT.to_owned(),
                    reward: &heldout,
                    role: Role::HeldOut,
                },
            ],
            space: &ClipSpace(&heldout),
        },
        cache: Some(out.join("evaluation")),
        stop: stop.clone(),
    };
    let Some(summary) = scorers::measure(&evaluation)? else { return Ok(Outcome::Interrupted) };
    let text = serde_json::to_string_pretty(&summary).into_diagnostic()? + "\n";
    atomic::write(&out.join("summary.json"), text.as_bytes()).into_diagnostic()?;
    let markdown = summary.report(Format::Markdown);
    atomic::write(&out.join("table.md"), markdown.as_bytes()).into_diagnostic()?;
    if json {
        output::print_json(&summary)?;
    } else {
        output::print(&summary.report(Format::Plain))?;
        eprintln!("pictures: {}", grid_path.display());
    }
    Ok(Outcome::Done)
}

/// The base, the hypernetwork run as S, P and I, and the controls as what they were trained as.
fn methods(trained: &[(String, Aligned)], steps: usize) -> Vec<Method<'_>> {
    let mut methods = vec![Method::base()];
    for (name, aligned) in trained {
        let adapted = |variant: Variant| Adapted {
            adapter: &aligned.adapter,
            variant,
            key_steps: aligned.meta.key_steps_for(steps),
        };
        if name == "hyperalign" {
            methods.extend([Variant::S, Variant::P, Variant::I].map(|variant| Method {
                name: variant.label().to_owned(),
                adapted: Some(adapted(variant)),
            }));
        } else {
            let adapted = Some(adapted(aligned.meta.variant));
            methods.push(Method { name: name.clone(), adapted });
        }
    }
    methods
}
