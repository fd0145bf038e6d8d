//! `hyperalign train`: aligns a base, and measures what came of it.

mod controls;
mod dry_run;
mod embedded;
mod follow;
mod materials;
mod report;
mod settings;

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hyperalign_core::contract::Decoder;
use hyperalign_core::{
    atomic,
    movement::{key_steps_by_share, key_steps_spread},
};
use hyperalign_models::weights;
use hyperalign_rewards::MixTerm;
use hyperalign_train::{
    align::{AlignSettings, Aligned, align, check},
    eval::{Sampling, Shot, movement},
    learner::{End, FolderLock, Progress, Resume, Run, Stop},
    method::{KeyStepChoice, Materials, MethodSettings, RewardNeed, TrajectorySettings},
};
use miette::{Diagnostic, IntoDiagnostic};

use self::follow::Follower;
use self::settings::{in_its_line, pointed_at, settings};
use crate::{
    args::{finite, seed, updates},
    base::BaseOptions,
    codec,
    context::Context,
    hub::{self, Asked, Downloads},
    interrupt,
    outcome::Outcome,
    output, rewards,
};

/// Pictures of one batch where key steps are chosen.
const KEY_STEP_BATCH: usize = 12;

/// The resolved settings of a run, beside its results.
const CONFIG: &str = "config.toml";

/// Flags of `hyperalign train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Base model: the name of an embedded one (emoji-sd, emoji-flux), a folder in diffusers' layout,
    /// a single .safetensors file of Stable Diffusion 1.x or FLUX.1, or `hf:OWNER/NAME[@REVISION]`.
    #[arg(long, value_name = "NAME_OR_DIR", default_value = "emoji-sd")]
    base: String,

    #[command(flatten)]
    base_options: BaseOptions,

    #[command(flatten)]
    data: materials::DataArgs,

    /// Settings of the run. What it leaves out has its default.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,

    /// Updates, instead of the settings'.
    #[arg(long, value_name = "N", value_parser = updates)]
    steps: Option<u64>,

    /// Seed of the run, instead of the settings'.
    #[arg(long, value_name = "N", value_parser = seed)]
    seed: Option<u64>,

    /// Learning rate, instead of the settings'. A run that is resumed goes on with it from its last
    /// checkpoint.
    #[arg(long, value_name = "X", value_parser = finite)]
    learning_rate: Option<f64>,

    /// Folder of the run.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    #[arg(long, value_name = "REWARD", help = format!(
        "Reward to train against, instead of the settings' or the embedded world's own: {}",
        rewards::kinds()
    ))]
    reward: Option<String>,

    /// Files of a published reward: its folder, or a file in it. With several in a mix, one for
    /// each. A run that is resumed needs them again.
    #[arg(long, value_name = "[NAME=]PATH")]
    reward_weights: Vec<String>,

    /// Reward that is only looked at while the run goes on, any that `--reward` takes: where it falls
    /// while the reward that is trained against rises, there is a warning. Several may be given.
    /// Default: the embedded world's own, for its bases. A run that is resumed needs it again.
    #[arg(long, value_name = "REWARD")]
    held_out: Vec<String>,

    /// End the run at the first sign that its reward is cheated, and keep the adapter that was best
    /// by the held-out rewards.
    #[arg(long)]
    stop_on_hacking: bool,

    /// Folder of a small codec (VAEpreview.safetensors) that makes the pictures which the reward is
    /// shown, instead of the base's autoencoder: cheaper, and less sharp. For bases with the latents
    /// of Stable Diffusion 1.x. A run that is resumed needs it again.
    #[arg(long, value_name = "DIR")]
    reward_codec: Option<PathBuf>,

    /// Go on with the run in `--out`, from its last checkpoint, with its own settings. What names
    /// its parts (`--base`, `--dtype`, `--lora`, `--data`, `--preferences`, `--columns`, `--prompts`,
    /// `--reward-weights`, `--held-out`, `--reward-codec`) is given again.
    #[arg(long, conflicts_with = "config")]
    resume: bool,

    /// Train HyperAlign's controls too (reward only, regulariser only, a static LoRA), each for its
    /// wall time, and measure all of them together, on 1,020 pictures or more.
    #[arg(long)]
    controls: bool,

    /// Make the first updates, keep nothing, and tell what the whole run takes: time, memory, disk, and
    /// what of the hub would be downloaded. Nothing is: where the run needs files that are not in the
    /// cache, they are listed, and no update is made.
    #[arg(long, conflicts_with_all = ["resume", "controls"])]
    dry_run: bool,

    #[command(flatten)]
    follow: follow::FollowArgs,

    /// Only train: no table at the end.
    #[arg(long)]
    no_eval: bool,

    /// Lines instead of the dashboard, on a terminal too.
    #[arg(long)]
    plain: bool,

    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

/// A request that cannot be met.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum TrainError {
    #[error("`{}` holds no run to resume: there is no {CONFIG} in it", dir.display())]
    #[diagnostic(help("leave `--resume` out to start a new run there"))]
    NothingToResume { dir: PathBuf },
    #[error("`{}` already holds a run", dir.display())]
    #[diagnostic(help("pass `--resume` to go on with it, or another `--out`"))]
    Occupied { dir: PathBuf },
    #[error("the run in `{}` has the seed {stored}, and `--seed {given}` was given", dir.display())]
    #[diagnostic(help(
        "leave `--seed` out to go on with it, or start a new run in another `--out`"
    ))]
    OtherSeed { dir: PathBuf, stored: u64, given: u64 },
    #[error("`--controls` are those of `hyperalign`, and the method is `{method}`")]
    #[diagnostic(help("leave `--controls` out, or choose `[method] name = \"hyperalign\"`"))]
    NoControls { method: &'static str },
}

/// Trains and measures.
///
/// # Errors
///
/// Fails for settings, a base or a folder that cannot be used, before anything is trained; then
/// as training and measuring do.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    let settings = settings(args, context)?;
    let downloads = if args.dry_run { downloads(args)? } else { None };
    if let Some(downloads) = downloads.as_ref().filter(|downloads| !downloads.are_begun()) {
        return dry_run::unmeasured(downloads, args.json);
    }
    let device = context.device()?;
    let _lock = (!args.dry_run).then(|| lock(args)).transpose()?;
    let of_settings = Some(&settings.rewards).filter(|terms| !terms.is_empty());
    let trained = of_settings.map(|terms| MixTerm::describe(terms));
    let named: Vec<&String> = trained.iter().chain(&args.held_out).collect();
    let files = rewards::files(&named, &args.reward_weights)?;
    let open = |reward: &String| rewards::open(reward, &files, &device);
    let reward = trained.as_ref().map(open).transpose();
    let reward = reward.map_err(|error| in_its_line(args, "rewards", error))?;
    let held_out = args.held_out.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    if args.controls && !matches!(settings.method, MethodSettings::Hyperalign(_)) {
        return Err(TrainError::NoControls { method: settings.method.name() }.into());
    }
    let mut base_options = args.base_options.clone();
    base_options.offline |= args.dry_run;
    let base = (args.base.as_str(), &base_options);
    let named = materials::Named { reward, held_out };
    let materials::Opened { materials: mut world, table, commit: data_commit } =
        args.data.open(base, named, &settings, &device)?;
    let folder = args.reward_codec.as_deref();
    let codec = codec::decoder("--reward-codec", folder, world.base.as_ref(), &device)?;
    let codec_hash = codec.as_ref().map(weights::hash);
    world.reward_decoder = codec.map(|codec| Arc::new(codec) as Arc<dyn Decoder + Send + Sync>);
    check(&world, &settings).map_err(|error| pointed_at(args, error))?;
    if args.controls {
        // Now, and not after the main run.
        for (_, control) in controls::all(&settings, Duration::ZERO).unwrap_or_default() {
            check(&world, &control).into_diagnostic()?;
        }
    }
    let stop = Stop::default();
    interrupt::request_on_ctrl_c(stop.clone())?;

    let follower = (!args.dry_run).then(|| Follower::begin(&args.follow, &args.out)).transpose()?;
    let config = (args.out.join(CONFIG), toml::to_string(&settings).into_diagnostic()?);
    // A run that goes on writes it once it is known that it can.
    if !args.resume && !args.dry_run {
        atomic::write(&config.0, config.1.as_bytes()).into_diagnostic()?;
    }
    let trainer = Trainer { world: &world, data_commit, codec_hash, stop: &stop, args, config };
    output::note(&format!(
        "base {} ({:.12}), device {}",
        world.base.name(),
        world.base.hash(),
        context.device_name()
    ));
    let Some(key_steps) = key_steps(&world, &settings, &stop)? else {
        return Ok(Outcome::Interrupted);
    };
    output::note(&format!("key steps of P: {key_steps:?} of {}", settings.trajectory.steps));
    if args.dry_run {
        let names = (args.base.as_str(), args.out.as_path(), context.device_name());
        return dry_run::run(&world, &settings, &key_steps, names, downloads, &stop, args.json);
    }

    let main = trainer.train(&settings, &key_steps, &args.out)?;
    drop(follower);
    let Some(main) = main else {
        return Ok(Outcome::Interrupted);
    };
    let mut trained = vec![(settings.method.name().to_owned(), main)];
    if args.controls {
        let seconds = Duration::from_secs_f64(trained[0].1.seconds);
        for (name, control) in controls::all(&settings, seconds).unwrap_or_default() {
            let dir = args.out.join("controls").join(name);
            let Some(aligned) = trainer.train(&control, &key_steps, &dir)? else {
                return Ok(Outcome::Interrupted);
            };
            trained.push((name.to_owned(), aligned));
        }
    }
    if args.no_eval {
        return Ok(Outcome::Done);
    }
    let settings = if args.controls { controls::measured(&settings) } else { settings };
    let (world, settings, trained) = (&world, &settings, &trained);
    let report = report::Report { world, settings, trained, held_out: table };
    report.run(&args.out, &stop, args.json)
}

/// Key steps of P: those of the settings, or as the settings choose them.
fn key_steps(
    world: &Materials,
    settings: &AlignSettings,
    stop: &Stop,
) -> miette::Result<Option<Vec<usize>>> {
    let TrajectorySettings { steps, key_steps, key_step_choice, .. } = &settings.trajectory;
    if !key_steps.is_empty() {
        return Ok(Some(key_steps.clone()));
    }
    let count = settings.evaluation.key_steps;
    if *key_step_choice == KeyStepChoice::Spread {
        return key_steps_spread(*steps, count.min(*steps)).map(Some).into_diagnostic();
    }
    let shots: Vec<Shot> = (0..)
        .zip(&world.sample_prompts)
        .map(|(seed, prompt)| Shot::new(prompt.as_str(), seed))
        .collect();
    let sampling = sampling(settings, KEY_STEP_BATCH);
    let movement = movement(world.base.as_ref(), &sampling, &shots, stop).into_diagnostic()?;
    match movement {
        Some(movement) => {
            let count = count.min(movement.len());
            Ok(Some(key_steps_by_share(&movement, count).into_diagnostic()?))
        }
        None => Ok(None),
    }
}

fn sampling(settings: &AlignSettings, batch: usize) -> Sampling {
    let TrajectorySettings { steps, guidance_scale, .. } = settings.trajectory;
    Sampling { batch, ..Sampling::new(steps, guidance_scale) }
}

/// What the run would download, where a flag names something of the hub.
fn downloads(args: &Args) -> miette::Result<Option<Downloads>> {
    let base = hub::name(Path::new(&args.base)).map(|name| ("--base", Asked::Model(name)));
    let asked: Vec<_> = base.into_iter().chain(args.data.asked()).collect();
    let of = || Downloads::of(&asked, args.base_options.offline);
    (!asked.is_empty()).then(of).transpose()
}

/// Takes the folder of the run, which has not become another's meanwhile.
fn lock(args: &Args) -> miette::Result<FolderLock> {
    let lock = FolderLock::take(&args.out).into_diagnostic()?;
    match !args.resume && args.out.join(CONFIG).exists() {
        true => Err(TrainError::Occupied { dir: args.out.clone() }.into()),
        false => Ok(lock),
    }
}

struct Trainer<'a> {
    world: &'a Materials,
    /// Of the data set that is learned from.
    data_commit: Option<String>,
    /// Of the small codec that the reward sees through.
    codec_hash: Option<String>,
    stop: &'a Stop,
    args: &'a Args,
    /// Where the settings of the run are kept, and what they are.
    config: (PathBuf, String),
}

impl Trainer<'_> {
    /// Trains one adapter in `dir`; `None` if it was interrupted (and saved).
    fn train(
        &self,
        settings: &AlignSettings,
        key_steps: &[usize],
        dir: &Path,
    ) -> miette::Result<Option<Aligned>> {
        let needs_reward = settings.method.needs().reward != RewardNeed::None;
        let reward = self.world.reward.as_ref().filter(|_| needs_reward);
        let mut identity = serde_json::json!({
            "base": self.world.base.hash(),
            "reward": reward.map(|reward| reward.version()),
            "method": settings.method,
            "trajectory": settings.trajectory,
            "network": settings.network,
            "key_steps": key_steps,
        });
        if let Some(data) = self.args.data.identity() {
            identity["data"] = data;
        }
        if let Some(commit) = &self.data_commit {
            identity["data_commit"] = commit.as_str().into();
        }
        // Weights that are rounded otherwise make other pictures.
        if let Some(dtype) = self.args.base_options.dtype() {
            identity["dtype"] = dtype.into();
        }
        if let Some(hash) = &self.codec_hash {
            identity["reward_codec"] = hash.as_str().into();
        }
        output::note(&format!("training in {}", dir.display()));
        let say = Arc::new(|line: &str| output::note(line));
        let dashboard = std::io::stdout().is_terminal() && !self.args.plain && !self.args.json;
        let (path, config) = &self.config;
        let is_main = path.parent() == Some(dir);
        let files = is_main.then(|| (path.clone(), config.clone().into_bytes()));
        let run = Run {
            files: files.into_iter().collect(),
            new_learning_rate: self.args.learning_rate.is_some(),
            resume: if self.args.resume { Resume::Continue } else { Resume::Fresh },
            stop: self.stop.clone(),
            progress: if dashboard { Progress::Dashboard(say) } else { Progress::Lines(say) },
            ..Run::new(dir, identity.to_string())
        };
        let aligned = align(self.world, settings, key_steps, &run).into_diagnostic()?;
        output::note(&format!("{} updates in {:.0} s", aligned.updates, aligned.seconds));
        if let Some(update) = aligned.watched.alarm {
            output::warn(&format!(
                "the reward is hacked from update {update} on: it rises while what is held out falls \
                 (watch.jsonl)"
            ));
        }
        if let Some((update, path)) = &aligned.watched.best {
            output::note(&format!("best by what is held out: update {update}, {}", path.display()));
        }
        match aligned.end {
            End::Interrupted => {
                let how = match self.args.config {
                    Some(_) => "with `--resume` instead of `--config`",
                    None => "with `--resume`",
                };
                output::note(&format!("interrupted and saved; the same command {how} goes on"));
                Ok(None)
            }
            End::Finished | End::TimeUp => Ok(Some(aligned)),
            End::ByObjective => {
                output::note("ended because the reward is hacked");
                Ok(Some(aligned))
            }
        }
    }
}
