//! What is said about scores: means with intervals, by group; pictures one by one.

use std::collections::BTreeMap;

use hyperalign_core::memory;
use hyperalign_rewards::Role;
use hyperalign_train::eval::{Format, Table, short_version};
use serde::Serialize;

use super::{
    geneval::TaskScores,
    journal::Line,
    pass::Failed,
    spread::{Over, Spread, Units, legend},
};
use crate::rewards::{Judges, NotOpened};

/// A reward, as every table names it.
#[derive(Debug, Clone, Serialize)]
pub struct Who {
    /// Its name.
    pub name: String,
    /// What tells it from another of that name.
    pub version: String,
    /// What it has had to do with the pictures.
    pub role: Role,
}

impl Who {
    /// Those who score.
    pub fn all(judges: &Judges) -> Vec<Self> {
        let who = |judge: &crate::rewards::Judge| Self {
            name: judge.reward.name().to_owned(),
            version: judge.reward.version(),
            role: judge.role,
        };
        judges.iter().map(who).collect()
    }

    pub(super) fn title(&self) -> String {
        match self.role {
            Role::TrainedAgainst => format!("{} (trained against)", self.name),
            Role::HeldOut | Role::Other => self.name.clone(),
        }
    }
}

/// What a run left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Left<'a> {
    /// Pictures.
    pub failed: &'a [Failed],
    /// Rewards.
    pub not_opened: &'a [NotOpened],
}

/// The mean of a reward over pictures, with its interval of 95 %.
#[derive(Debug, Clone, Serialize)]
struct Mean {
    #[serde(flatten)]
    spread: Spread,
    drawn_over: Option<Over>,
    count: usize,
}

/// Means by reward.
type Means = BTreeMap<String, Mean>;

/// Everything about a run, in the shape of its JSON.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    rewards: &'a [Who],
    all: Means,
    groups: BTreeMap<&'a str, Means>,
    scores: Vec<Picture<'a>>,
    /// By each reward that judges by rules, how many pictures it passed over because their prompts
    /// carry none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    skipped: BTreeMap<&'a str, usize>,
    /// GenEval's own summary.
    #[serde(skip_serializing_if = "Option::is_none")]
    geneval: Option<TaskScores>,
    failed: &'a [Failed],
    not_opened: &'a [NotOpened],
    /// The most memory that the run held, where the system tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_memory_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Picture<'a> {
    image: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    prompt: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    scores: BTreeMap<&'a str, Option<f32>>,
}

impl<'a> Report<'a> {
    /// About these pictures.
    pub fn new(rewards: &'a [Who], lines: &'a [Line], left: Left<'a>) -> Self {
        let mut groups: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
        for line in lines {
            if let Some(group) = &line.group {
                groups.entry(group).or_default().push(line);
            }
        }
        let picture = |line: &'a Line| Picture {
            image: line.image.display().to_string(),
            prompt: &line.prompt,
            group: line.group.as_deref(),
            scores: rewards.iter().map(|who| who.name.as_str()).zip(line.scores.clone()).collect(),
        };
        Self {
            rewards,
            all: means(rewards, &lines.iter().collect::<Vec<_>>()),
            groups: groups.into_iter().map(|(name, of)| (name, means(rewards, &of))).collect(),
            scores: lines.iter().map(picture).collect(),
            skipped: skipped(rewards, lines),
            geneval: TaskScores::of(rewards, lines),
            failed: left.failed,
            not_opened: left.not_opened,
            peak_memory_bytes: memory::peak(),
        }
    }

    /// A row for each group and reward.
    pub fn table(&self) -> String {
        let mut rows = Vec::new();
        let groups = self.groups.iter().map(|(name, means)| (*name, means));
        for (name, means) in groups.chain([("all", &self.all)]) {
            for who in self.rewards {
                let Some(mean) = means.get(&who.name) else { continue };
                rows.push(vec![
                    name.to_owned(),
                    who.title(),
                    mean.count.to_string(),
                    format!("{:.4}", mean.spread.mean),
                    mean.spread.ends(|end| format!("{end:.4}")),
                ]);
            }
        }
        let header = ["group", "reward", "pictures", "mean", "95 %"];
        let means = self.groups.values().chain([&self.all]).flat_map(Means::values);
        let legend = legend(means.map(|mean| mean.drawn_over));
        let geneval = self.geneval.as_ref().map(ToString::to_string).unwrap_or_default();
        aligned(header, rows) + legend + &geneval + &versions(self.rewards)
    }

    /// A line for each picture, with a column for each reward, then the version and the role of
    /// each: numbers are passed on without their table.
    pub fn csv(&self) -> String {
        let mut head = ["image", "prompt", "group"].map(str::to_owned).to_vec();
        head.extend(self.rewards.iter().map(|who| field(&who.name)));
        let mut tail = Vec::new();
        for who in self.rewards {
            head.extend(["version", "role"].map(|what| field(&format!("{} {what}", who.name))));
            tail.extend([field(&who.version), role(who.role).to_owned()]);
        }
        let mut text = head.join(",") + "\n";
        for picture in &self.scores {
            let mut fields = vec![
                field(&picture.image),
                field(picture.prompt),
                field(picture.group.unwrap_or_default()),
            ];
            let score = |who: &Who| {
                picture.scores[who.name.as_str()].map(|score| score.to_string()).unwrap_or_default()
            };
            fields.extend(self.rewards.iter().map(score));
            fields.extend_from_slice(&tail);
            text += &(fields.join(",") + "\n");
        }
        text
    }
}

fn means(rewards: &[Who], lines: &[&Line]) -> Means {
    let mean = |(k, who): (usize, &Who)| {
        let scored: Vec<&Line> =
            lines.iter().copied().filter(|line| line.scores[k].is_some()).collect();
        let scores: Vec<f64> = scored.iter().filter_map(|line| value(line, k)).collect();
        if scores.is_empty() {
            return None;
        }
        let units = Units::new(scored.into_iter());
        let (spread, count) = (units.spread(&scores), scores.len());
        Some((who.name.clone(), Mean { spread, drawn_over: units.over, count }))
    };
    rewards.iter().enumerate().filter_map(mean).collect()
}

/// The score of the `k`-th reward.
pub(super) fn value(line: &Line, k: usize) -> Option<f64> {
    line.scores[k].map(f64::from)
}

/// How many pictures each reward has passed over.
pub fn skipped<'a>(rewards: &'a [Who], lines: &[Line]) -> BTreeMap<&'a str, usize> {
    let count = |(k, who): (usize, &'a Who)| {
        (who.name.as_str(), lines.iter().filter(|line| line.scores[k].is_none()).count())
    };
    rewards.iter().enumerate().map(count).filter(|(_, count)| *count > 0).collect()
}

/// A role, as JSON writes it.
fn role(role: Role) -> &'static str {
    match role {
        Role::TrainedAgainst => "trained-against",
        Role::HeldOut => "held-out",
        Role::Other => "other",
    }
}

pub(super) fn versions(rewards: &[Who]) -> String {
    let version = |who: &Who| format!("{} {}", who.name, short_version(&who.version));
    let versions: Vec<_> = rewards.iter().map(version).collect();
    format!("\nversions: {}\n", versions.join("; "))
}

pub(super) fn aligned<const N: usize>(header: [&str; N], rows: Vec<Vec<String>>) -> String {
    Table { header: header.map(str::to_owned).into(), rows }.write(Format::Plain)
}

/// A field of a table with commas (RFC 4180).
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::comparison::Comparison;
    use super::*;

    fn who() -> Vec<Who> {
        let version = "0123456789abcdef".repeat(4);
        vec![Who { name: "r".to_owned(), version, role: Role::TrainedAgainst }]
    }

    fn line(image: &str, group: &str, score: f32) -> Line {
        Line {
            image: image.into(),
            sha256: String::new(),
            prompt: format!("a \"{image}\""),
            group: Some(group.to_owned()),
            rules: None,
            scores: vec![Some(score)],
        }
    }

    #[test]
    fn means_by_group() {
        let lines = [line("1", "x", 1.0), line("2", "x", 3.0), line("3", "y", 5.0)];
        let rewards = who();
        let report = Report::new(&rewards, &lines, Left::default());
        assert_eq!(report.groups["x"]["r"].spread.mean, 2.0);
        assert_eq!((report.all["r"].spread.mean, report.all["r"].count), (3.0, 3));
        let table = report.table();
        assert!(table.contains("r (trained against)") && table.contains("r 0123456789ab\n"));
        let csv = report.csv();
        assert_eq!(csv.lines().next(), Some("image,prompt,group,r,r version,r role"));
        let expected = format!("1,\"a \"\"1\"\"\",x,1,{},trained-against", rewards[0].version);
        assert_eq!(csv.lines().nth(1), Some(expected.as_str()));
        assert!(Report::new(&rewards, &[], Left::default()).table().starts_with("group"));
    }

    #[test]
    fn intervals_are_drawn_over_what_there_are_several_of() {
        let rewards = who();
        let of = |prompts: &[&str]| {
            let each = prompts.iter().enumerate();
            let lines: Vec<Line> = each
                .map(|(k, prompt)| Line {
                    prompt: (*prompt).to_owned(),
                    group: None,
                    ..line("", "", k as f32)
                })
                .collect();
            let pairs: Vec<_> = lines.iter().map(|l| (l.clone(), line("", "", 0.5))).collect();
            let names = ["one".to_owned(), "two".to_owned()];
            let versus = Comparison::new(names, &rewards, &pairs, Left::default()).table();
            (Report::new(&rewards, &lines, Left::default()).table(), versus)
        };
        for (prompts, words) in [
            (&["a dog"; 5][..], "over pictures, for they share one prompt"),
            (&[""; 5], "over pictures, for they share one prompt"),
            (&["a dog", "a cat", "a cow", "a cat", "a cat"], "over prompts\n"),
        ] {
            for table in <[String; 2]>::from(of(prompts)) {
                assert!(table.contains(words), "{table}");
                assert!(!table.contains("2.0000 .. 2.0000"), "{table}");
            }
        }
        for table in <[String; 2]>::from(of(&["a dog"])) {
            assert!(!table.contains(" .. ") && !table.contains("drawn over"), "{table}");
        }
    }
}
