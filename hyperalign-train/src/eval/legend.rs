//! What the numbers of a table are, in words.

use super::{RESAMPLES, RewardSummary, Role, Summary, table::spoken};

impl Summary {
    /// A line for each thing that a reader has to know.
    pub(super) fn legend(&self) -> String {
        let Self { base, sampling, rows, seeds, diversity_space, .. } = self;
        let mut lines = vec![format!(
            "{} pictures a method: {rows} rows ({}) with {seeds} each; {base}, {} steps{}, \
             guidance {}.",
            rows * seeds,
            self.prompts_in_words(),
            sampling.steps,
            sampling.solver.solver.map(|solver| format!(" of {solver}")).unwrap_or_default(),
            sampling.guidance_scale,
        )];
        lines.extend(self.rewards.iter().map(|reward| self.reward_in_words(reward)));
        lines.extend(self.skipped.iter().map(|(column, count)| {
            let column = spoken(column);
            format!("{column}: over the other rows; {count} of {rows} come without rules.")
        }));
        if self.methods.iter().any(|(_, method)| method.diversity.is_some()) {
            lines.push(format!(
                "diversity: mean distance (1 - cosine, in {diversity_space}) of pictures of one \
                 prompt, over the prompts that have two."
            ));
        }
        if self.methods.iter().any(|(_, method)| method.variation.is_some()) {
            lines.push(
                "var: relative standard deviation of the emitted weights, over prompts at one \
                 step and over the steps of a picture; near 0, S, P and I are one static LoRA."
                    .to_owned(),
            );
        }
        if self.searches() {
            lines.push(
                "evaluations, gradients, scorings: of the denoiser, through it, and by the reward \
                 that is sought, for one picture; a guided evaluation counts once."
                    .to_owned(),
            );
        }
        lines.push(format!(
            "s/image: seconds to encode the prompt, sample and decode, median over batches of at \
             most {}.",
            sampling.batch
        ));
        if !self.differences.is_empty() {
            lines.push(match self.prompts {
                0 | 1 => "Differences are paired (same prompt, same noise). Intervals come from \
                     drawing prompts anew, and of one prompt there are none."
                    .to_owned(),
                _ => format!(
                    "Differences are paired (same prompts, same noise); intervals from \
                     {RESAMPLES} draws of the prompts. No difference shown is no proof of \
                     equality."
                ),
            });
        }
        lines.join("\n") + "\n"
    }

    /// How many prompts differ, by task where a task has fewer than its rows let one think.
    fn prompts_in_words(&self) -> String {
        let all = match self.prompts {
            1 => "1 prompt".to_owned(),
            many => format!("{many} different prompts"),
        };
        if self.prompts == self.rows || self.prompts_per_task.is_empty() {
            return all;
        }
        let of = self.prompts_per_task.iter().map(|(task, n)| format!("{n} of {}", task.tag()));
        format!("{all}: {}", of.collect::<Vec<_>>().join(", "))
    }

    /// Who made the numbers of a column, of which version, and what that means for them.
    fn reward_in_words(&self, reward: &RewardSummary) -> String {
        let RewardSummary { column, name, version, role } = reward;
        let version = short_version(version);
        if column == "gold" {
            return format!(
                "gold and its tasks (version {version}): share of pictures that are right."
            );
        }
        let column = spoken(column);
        let who = if column == name { String::new() } else { format!("{name}, ") };
        let what = match role {
            Role::TrainedAgainst => {
                "; the reward that was trained against: its rise is no proof of better pictures"
            }
            Role::HeldOut => "; a reward that nothing was trained against",
            Role::Other => "",
        };
        format!("{column}: {who}version {version}{what}.")
    }
}

/// A version with the first digits of each SHA-256 in it instead of all.
pub fn short_version(version: &str) -> String {
    let is_hash = |word: &str| word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let short = |word| if is_hash(word) { &word[..12] } else { word };
    let end = |word: &str| word.trim_end_matches([',', ';']).len();
    let words = version.split(' ').map(|word| {
        let (word, mark) = word.split_at(end(word));
        format!("{}{mark}", short(word))
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_hashes_are_shortened() {
        let hash = "0123456789abcdef".repeat(4);
        let mix =
            format!("hps_v2.1 v2.1 ViT-H/14, antialiased tensors 012345678; r {hash}; s {hash}");
        assert_eq!(
            short_version(&mix),
            "hps_v2.1 v2.1 ViT-H/14, antialiased tensors 012345678; r 0123456789ab; s 0123456789ab"
        );
    }
}
