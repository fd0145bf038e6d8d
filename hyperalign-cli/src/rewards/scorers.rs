//! Who scores the pictures of an evaluation.

use std::sync::Arc;

use burn::tensor::Device;
use clap::ArgGroup;
use hyperalign_models::base::Base;
use hyperalign_rewards::{
    ClipReward, Reward,
    emoji::{self, SIZE},
    geneval::Row,
    prompts::Prompt,
};
use hyperalign_train::eval::{
    ClipSpace, EmojiGold, Evaluation, ImageSpace, Judge, Measures, Pixels, Role, Scorer, Summary,
};
use indicatif::ProgressBar;
use miette::IntoDiagnostic;

use super::{HELD_OUT, PROXY, files, kinds, open, open::has_embedded, reward, share_a_network};

/// Flags that name rewards.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("rewards").multiple(true).args(["reward", "proxy", "heldout"]))]
pub struct ScorerArgs {
    #[arg(long, value_name = "REWARD", help = format!("Reward: {}", kinds()))]
    pub reward: Vec<String>,

    /// Reward that the adapter was trained against, any that `--reward` takes. Default: the
    /// embedded world's own, for its pictures.
    #[arg(long, value_name = "REWARD")]
    pub proxy: Option<String>,

    /// Reward that nothing was trained against, any that `--reward` takes. Default: the embedded
    /// world's own, for its pictures.
    #[arg(long, value_name = "REWARD")]
    pub heldout: Option<String>,

    /// Files of a reward: its folder, or a file in it. With several rewards, one for each.
    #[arg(long, value_name = "[NAME=]PATH", requires = "rewards")]
    pub reward_weights: Vec<String>,
}

/// A reward in a column.
struct Column {
    name: String,
    reward: Arc<dyn Reward>,
    role: Role,
}

/// The scorers that are at hand for a base and its prompts.
pub struct Scorers {
    gold: Option<EmojiGold>,
    columns: Vec<Column>,
    sought: Option<Arc<dyn Reward>>,
    space: Option<Arc<ClipReward>>,
}

impl Scorers {
    /// Opens what there is. The exact scorer and the embedded preference models judge the
    /// embedded world's pictures, and nothing else; flags name other rewards. Prompts of the
    /// embedded world that come without rules get those that their words mean.
    ///
    /// `trained` is the reward that the adapter says it was trained against. It decides what is
    /// called so; where it is none, the column `proxy` is. Where methods `seek` a reward while
    /// pictures are sampled, that is trained against too: the proxy, or else the first `--reward`.
    ///
    /// # Errors
    ///
    /// Fails if a reward that was named is not there, and if one cannot be read.
    pub fn open(
        base: &dyn Base,
        prompts: &mut [Prompt],
        args: &ScorerArgs,
        trained: Option<&str>,
        seek: bool,
        device: &Device,
    ) -> miette::Result<Self> {
        let is_world = is_emoji_world(base, prompts);
        let own = |name: &'static str| Some(name).filter(|_| is_world && has_embedded(name));
        let proxy = args.proxy.as_deref().or(own(PROXY));
        let heldout = args.heldout.as_deref().or(own(HELD_OUT));
        let named: Vec<&str> =
            args.reward.iter().map(String::as_str).chain(proxy).chain(heldout).collect();
        let files = files(&named, &args.reward_weights)?;
        let sought = proxy.or(args.reward.first().map(String::as_str)).filter(|_| seek);
        let is_trained_against = |given: &str| {
            trained.into_iter().chain(sought).any(|name| share_a_network(name, given))
        };
        // Diversity needs a space of pictures, which a mix, or a head on another network, has not.
        let space = heldout.filter(|name| !hyperalign_rewards::is_known(name)).or(own(HELD_OUT));
        let space = space.map(|name| reward(name, device).map(Arc::new)).transpose()?;

        let mut columns: Vec<Column> = Vec::new();
        if let Some(given) = proxy {
            let is_trained = trained.is_none() || is_trained_against(given);
            columns.push(Column {
                name: Scorer::PROXY.to_owned(),
                reward: open(given, &files, device)?,
                role: if is_trained { Role::TrainedAgainst } else { Role::Other },
            });
        }
        if let Some(given) = heldout {
            let is_trained = is_trained_against(given);
            let reward: Arc<dyn Reward> = match &space {
                Some(space) if space.name() == given => space.clone(),
                _ => open(given, &files, device)?,
            };
            let (name, role) = match is_trained {
                true => (reward.name(), Role::TrainedAgainst),
                false => (Scorer::HELD_OUT, Role::HeldOut),
            };
            columns.push(Column { name: name.to_owned(), role, reward });
        }
        for given in &args.reward {
            let reward = open(given, &files, device)?;
            if columns.iter().any(|column| column.name == reward.name()) {
                continue;
            }
            let is_trained = is_trained_against(given);
            let role = if is_trained { Role::TrainedAgainst } else { Role::Other };
            columns.push(Column { name: reward.name().to_owned(), role, reward });
        }
        let sought = sought.map(|given| open(given, &files, device)).transpose()?;
        Ok(Self { gold: is_world.then_some(EmojiGold), columns, sought, space })
    }

    /// What methods seek while pictures are sampled, where they do.
    pub fn sought(&self) -> Option<Arc<dyn Reward>> {
        self.sought.clone()
    }

    /// Where diversity is measured: the space of the held-out model, in which a trained method
    /// has had no reason to move; pixels where there is none.
    pub fn space(&self) -> Box<dyn ImageSpace + '_> {
        match &self.space {
            Some(space) => Box::new(ClipSpace(space)),
            None => Box::new(Pixels),
        }
    }

    /// What they measure, with diversity in `space`.
    pub fn measures<'a>(&'a self, space: &'a dyn ImageSpace) -> Measures<'a> {
        let scorer = |column: &'a Column| Scorer {
            column: column.name.clone(),
            reward: column.reward.as_ref(),
            role: column.role,
        };
        Measures {
            gold: self.gold.as_ref().map(|gold| gold as &dyn Judge),
            scorers: self.columns.iter().map(scorer).collect(),
            space,
        }
    }
}

/// Whether the base draws pictures of the embedded world's size and every prompt is one that its
/// scorer understands. If so, every prompt has rules afterwards.
fn is_emoji_world(base: &dyn Base, prompts: &mut [Prompt]) -> bool {
    let meant: Result<Vec<Row>, _> =
        prompts.iter().map(|prompt| emoji::parse(&prompt.text)).collect();
    let Ok(meant) = meant else { return false };
    if base.picture_size() != [SIZE; 2] {
        return false;
    }
    for (prompt, row) in prompts.iter_mut().zip(meant) {
        prompt.row.get_or_insert(row);
    }
    true
}

/// Runs an evaluation under a bar. `None` if it was interrupted.
///
/// # Errors
///
/// Fails as the evaluation does.
pub fn measure(evaluation: &Evaluation) -> miette::Result<Option<Summary>> {
    let pictures = evaluation.prompts.len() * evaluation.seeds;
    let bar = ProgressBar::new((pictures * evaluation.methods.len()) as u64);
    let names: Vec<&String> = evaluation.methods.iter().map(|method| &method.name).collect();
    let measured = evaluation.run(&mut |done| {
        let before = names.iter().position(|name| *name == done.method).unwrap_or(0) * done.of;
        bar.set_position((before + done.pictures) as u64);
    });
    bar.finish_and_clear();
    Ok(measured.into_diagnostic()?.map(|measured| Summary::new(evaluation, &measured)))
}
