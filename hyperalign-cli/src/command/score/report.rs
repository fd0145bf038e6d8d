//! What is said about scores: means with intervals, by group; pictures one by one; pairs.

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

    fn title(&self) -> String {
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
fn value(line: &Line, k: usize) -> Option<f64> {
    line.scores[k].map(f64::from)
}

/// How many pictures each reward has passed over.
pub fn skipped<'a>(rewards: &'a [Who], lines: &[Line]) -> BTreeMap<&'a str, usize> {
    let count = |(k, who): (usize, &'a Who)| {
        (who.name.as_str(), lines.iter().filter(|line| line.scores[k].is_none()).count())
    };
    rewards.iter().enumerate().map(count).filter(|(_, count)| *count > 0).collect()
}

/// How the pictures of one folder stand against those of another.
#[derive(Debug, Serialize)]
pub struct Comparison<'a> {
    a: String,
    b: String,
    rewards: &'a [Who],
    pairs: usize,
    drawn_over: Option<Over>,
    results: BTreeMap<&'a str, Versus>,
    failed: &'a [Failed],
    not_opened: &'a [NotOpened],
}

/// A against B by one reward.
#[derive(Debug, Serialize)]
struct Versus {
    /// Share of pairs in which A scores higher, equal scores counted half.
    win_rate: Spread,
    /// Mean of A's score less B's.
    difference: Spread,
    wins: usize,
    ties: usize,
    losses: usize,
}

impl<'a> Comparison<'a> {
    /// Of these pairs, A's picture first.
    pub fn new(
        [a, b]: [String; 2],
        rewards: &'a [Who],
        pairs: &[(Line, Line)],
        left: Left<'a>,
    ) -> Self {
        let units = Units::new(pairs.iter().map(|(line, _)| line));
        let versus = |(k, who): (usize, &'a Who)| {
            let scored = || {
                let both = |(a, b): &&(Line, Line)| a.scores[k].is_some() && b.scores[k].is_some();
                pairs.iter().filter(both)
            };
            let differences: Vec<f64> =
                scored().filter_map(|(a, b)| Some(value(a, k)? - value(b, k)?)).collect();
            if differences.is_empty() {
                return None;
            }
            let units = Units::new(scored().map(|(line, _)| line));
            let won = |d: &f64| if *d == 0.0 { 0.5 } else { f64::from(u8::from(*d > 0.0)) };
            let wins: Vec<f64> = differences.iter().map(won).collect();
            let count = |share| wins.iter().filter(|win| **win == share).count();
            let versus = Versus {
                win_rate: units.spread(&wins),
                difference: units.spread(&differences),
                wins: count(1.0),
                ties: count(0.5),
                losses: count(0.0),
            };
            Some((who.name.as_str(), versus))
        };
        let results = rewards.iter().enumerate().filter_map(versus).collect();
        let Left { failed, not_opened } = left;
        let (pairs, drawn_over) = (pairs.len(), units.over);
        Self { a, b, rewards, pairs, drawn_over, results, failed, not_opened }
    }

    /// A row for each reward.
    pub fn table(&self) -> String {
        let mut rows = Vec::new();
        for who in self.rewards {
            let Some(versus) = self.results.get(who.name.as_str()) else { continue };
            let percent = |share: f64| format!("{:.1} %", 100.0 * share);
            let Versus { win_rate, difference, wins, ties, losses } = versus;
            rows.push(vec![
                who.title(),
                percent(win_rate.mean),
                win_rate.ends(percent),
                format!("{wins}/{ties}/{losses}"),
                format!("{:+.4}", difference.mean),
                difference.ends(|end| format!("{end:+.4}")),
            ]);
        }
        let head = format!("A {}\nB {}\n{} pairs\n\n", self.a, self.b, self.pairs);
        let header = ["reward", "A wins", "95 %", "won/tied/lost", "A - B", "95 %"];
        head + &aligned(header, rows) + legend([self.drawn_over]) + &versions(self.rewards)
    }
}

/// A role, as JSON writes it.
fn role(role: Role) -> &'static str {
    match role {
        Role::TrainedAgainst => "trained-against",
        Role::HeldOut => "held-out",
        Role::Other => "other",
    }
}

fn versions(rewards: &[Who]) -> String {
    let version = |who: &Who| format!("{} {}", who.name, short_version(&who.version));
    let versions: Vec<_> = rewards.iter().map(version).collect();
    format!("\nversions: {}\n", versions.join("; "))
}

fn aligned<const N: usize>(header: [&str; N], rows: Vec<Vec<String>>) -> String {
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
    use super::*;

    fn who() -> Vec<Who> {
        let version = "0123456789abcdef".repeat(4);
        vec![Who { name: "r".to_owned(), version, role: Role::TrainedAgainst }]
    }

    fn line(image: &str, group: &str, score: f32) -> Line {
        Line {
            image: image.into(),
            stamp: (0, 0),
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

    #[test]
    fn pairs_are_won_tied_and_lost() {
        let pairs = [(1.0, 0.0), (2.0, 2.0), (0.0, 4.0), (3.0, 1.0)];
        let pairs: Vec<_> = (0..4)
            .zip(pairs)
            .map(|(k, (a, b))| (line(&format!("{k}"), "", a), line(&format!("{k}"), "", b)))
            .collect();
        let rewards = who();
        let names = || ["one".to_owned(), "two".to_owned()];
        let comparison = Comparison::new(names(), &rewards, &pairs, Left::default());
        let versus = &comparison.results["r"];
        assert_eq!((versus.wins, versus.ties, versus.losses), (2, 1, 1));
        assert_eq!((versus.win_rate.mean, versus.difference.mean), (0.625, -0.25));
        let [low, high] = [versus.win_rate.low, versus.win_rate.high].map(Option::unwrap);
        assert!(low < 0.625 && high > 0.625);
        let table = comparison.table();
        assert!(table.contains("62.5 %") && table.contains("2/1/1"), "{table}");
        assert!(Comparison::new(names(), &rewards, &[], Left::default()).results.is_empty());
    }
}
