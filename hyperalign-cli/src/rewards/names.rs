//! What the texts that name rewards have in common.

use hyperalign_rewards::{Files, Mix, MixTerm};

use super::RewardError;

/// Where the files of `rewards` are, as the flag `--reward-weights` says.
///
/// # Errors
///
/// Fails for files of a published reward that is none of `rewards`.
pub fn files<T: AsRef<str>>(rewards: &[T], weights: &[String]) -> Result<Files, RewardError> {
    for given in weights {
        let Some((name, _)) = given.split_once('=') else { continue };
        let is_used = |reward: &T| reward.as_ref() == name || is_mix_of(reward.as_ref(), name);
        if hyperalign_rewards::entry(name).is_some() && !rewards.iter().any(is_used) {
            let (given, name) = (given.clone(), name.to_owned());
            return Err(RewardError::NoSuchReward { given, name });
        }
    }
    Ok(Files::new(weights))
}

/// The terms of the reward that `text` describes: those of a mix, or one that is taken as it is.
///
/// # Errors
///
/// Fails for a mix that is not written as mixes are.
pub fn terms(text: &str) -> Result<Vec<MixTerm>, RewardError> {
    match text.strip_prefix("mix:") {
        Some(terms) => Ok(Mix::parse(terms)?),
        None => {
            let name = text.to_owned();
            Ok(vec![MixTerm { name, weight: 1.0, mean: 0.0, std: 1.0 }])
        }
    }
}

/// Whether `reward` is a mix with the published reward `name` among its parts.
pub fn is_mix_of(reward: &str, name: &str) -> bool {
    let is_published = hyperalign_rewards::entry(name).is_some();
    is_published && reward != name && parts(reward).iter().any(|part| part == name)
}

/// Whether two rewards, by what names them, are the same network or mixes with one in common: who
/// was trained against a mix was trained against its parts, and the other way round.
pub fn share_a_network(one: &str, other: &str) -> bool {
    let networks = |reward: &str| -> Vec<String> {
        let network = |part: &String| hyperalign_rewards::network_of(part).to_owned();
        parts(reward).iter().map(network).collect()
    };
    let others = networks(other);
    networks(one).iter().any(|network| others.contains(network))
}

/// The names of the rewards in a mix; of another reward its own.
fn parts(reward: &str) -> Vec<String> {
    let terms = reward.strip_prefix("mix:").and_then(|terms| Mix::parse(terms).ok());
    match terms {
        Some(terms) => terms.into_iter().map(|term| term.name).collect(),
        None => vec![reward.to_owned()],
    }
}
