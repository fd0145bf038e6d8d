//! GenEval's own summary of a run: what its tables print.

use std::{collections::BTreeMap, fmt};

use hyperalign_rewards::geneval::Task;
use serde::Serialize;

use super::{journal::Line, report::Who};

/// The reward that this is about.
const NAME: &str = "geneval";

/// What GenEval prints of a set of pictures (`evaluation/summary_scores.py` of djghosh13/geneval).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskScores {
    /// The mean of the tasks' shares, each of the same weight: the number that papers state.
    overall: f64,
    /// The share of right pictures of each task.
    tasks: BTreeMap<Task, f64>,
    /// The share of right pictures.
    pictures: f64,
    /// The share of prompts that have a right picture.
    prompts: f64,
}

impl TaskScores {
    /// The summary of these pictures. None without GenEval's scorer, or without a picture that it
    /// has scored.
    pub fn of(rewards: &[Who], lines: &[Line]) -> Option<Self> {
        let k = rewards.iter().position(|who| who.name == NAME)?;
        let mut tasks: BTreeMap<Task, Vec<f64>> = BTreeMap::new();
        let mut prompts: BTreeMap<&str, f64> = BTreeMap::new();
        let mut all = Vec::new();
        for line in lines {
            let Some(score) = line.scores[k].map(f64::from) else { continue };
            all.push(score);
            let any = prompts.entry(&line.prompt).or_insert(0.0);
            *any = any.max(score);
            let of_line = |task: &Task| line.group.as_deref() == Some(task.tag());
            if let Some(task) = Task::ALL.into_iter().find(of_line) {
                tasks.entry(task).or_default().push(score);
            }
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let tasks: BTreeMap<Task, f64> =
            tasks.into_iter().map(|(task, scores)| (task, mean(&scores))).collect();
        if tasks.is_empty() {
            return None;
        }
        Some(Self {
            overall: mean(&tasks.values().copied().collect::<Vec<_>>()),
            tasks,
            pictures: mean(&all),
            prompts: mean(&prompts.into_values().collect::<Vec<_>>()),
        })
    }
}

impl fmt::Display for TaskScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { overall, tasks, pictures, prompts } = self;
        let percent = |share: &f64| 100.0 * share;
        writeln!(f, "\nGenEval: {overall:.4}, the mean of {} tasks", tasks.len())?;
        for (task, share) in tasks {
            writeln!(f, "  {:<13}  {:6.2} %", task.tag(), percent(share))?;
        }
        writeln!(f, "right pictures: {:.2} %", percent(pictures))?;
        writeln!(f, "prompts with a right picture: {:.2} %", percent(prompts))
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_rewards::Role;

    use super::*;

    fn line(prompt: &str, task: &str, score: Option<f32>) -> Line {
        Line {
            image: "a".into(),
            sha256: String::new(),
            prompt: prompt.to_owned(),
            group: Some(task.to_owned()),
            rules: None,
            scores: vec![score],
        }
    }

    /// One task has more pictures than the other, and one prompt is never right.
    #[test]
    fn tasks_count_alike() {
        let rewards = [Who { name: NAME.to_owned(), version: "1".to_owned(), role: Role::Other }];
        let lines = [
            line("a dog", "single_object", Some(1.0)),
            line("a dog", "single_object", Some(1.0)),
            line("a dog", "single_object", Some(0.0)),
            line("a dog", "single_object", Some(1.0)),
            line("two dogs", "counting", Some(0.0)),
            line("a cat", "counting", None),
        ];
        let scores = TaskScores::of(&rewards, &lines).unwrap();
        assert_eq!((scores.overall, scores.pictures, scores.prompts), (0.375, 0.6, 0.5));
        assert_eq!(scores.tasks[&Task::SingleObject], 0.75);
        assert_eq!(scores.tasks.len(), 2);
        let text = scores.to_string();
        assert!(text.contains("0.3750, the mean of 2 tasks"), "{text}");
        assert_eq!(TaskScores::of(&rewards, &lines[5..]), None);
    }
}
