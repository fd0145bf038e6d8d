//! What the votes of a study come to.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Answer, Answers, Ballots, Checked, Rate, Study, alpha, strengths, win_rate};

/// What the votes of a study come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The study's own number.
    pub study: String,
    /// Its title.
    pub title: String,
    /// The methods.
    pub methods: Vec<String>,
    /// Items that compare methods.
    pub items: usize,
    /// Prompts that they show.
    pub prompts: usize,
    /// Attention checks.
    pub checks: usize,
    /// The share of their checks that voters had to pass.
    pub passed: f64,
    /// Voters who have answered anything.
    pub voters: usize,
    /// Of these, who have answered everything.
    pub complete: usize,
    /// Voters who failed too many checks, by the first digits of their numbers: their votes count
    /// nowhere.
    pub excluded: BTreeMap<String, Checked>,
    /// Answers by question.
    pub questions: Vec<QuestionSummary>,
}

/// The answers to one question. Checks are no part of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuestionSummary {
    /// Its name.
    pub name: String,
    /// What was asked.
    pub text: String,
    /// Votes that count.
    pub votes: usize,
    /// The share of them that saw no difference.
    pub neither: Option<f64>,
    /// The share of the left picture among those that saw one: a half, unless voters lean to a side.
    pub left: Option<f64>,
    /// Krippendorff's alpha over items; none where no two voters answered the same.
    pub alpha: Option<f64>,
    /// By method, in the order of the study.
    pub methods: Vec<MethodSummary>,
    /// Why there are no strengths.
    pub no_strengths: Option<String>,
    /// By pair of methods that was shown.
    pub pairs: Vec<PairSummary>,
}

/// How a method did in a question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MethodSummary {
    /// Its name.
    pub name: String,
    /// Votes about its pictures.
    pub votes: usize,
    /// Its share of all votes, no preference counted half to each: shares add up to 1.
    pub share: Option<f64>,
    /// How often it was preferred where it was shown.
    pub won: Option<Rate>,
    /// Its strength of Bradley and Terry; their geometric mean is 1.
    pub strength: Option<f64>,
}

/// How two methods did against each other in a question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairSummary {
    /// One.
    pub first: String,
    /// The other.
    pub second: String,
    /// Votes about both.
    pub votes: usize,
    /// Of these, how many saw no difference.
    pub neither: usize,
    /// How often the first one was preferred.
    pub rate: Option<Rate>,
}

/// One vote that counts.
struct Outcome {
    item: usize,
    voter: usize,
    answer: Answer,
}

impl Summary {
    /// Counts the votes of `ballots`, without those of voters who passed less than the share `passed`
    /// of their attention checks.
    pub fn new(study: &Study, ballots: &Ballots, passed: f64) -> Self {
        let all = study.items.len() * study.questions.len();
        let (mut trusted, mut excluded): (Vec<&Answers>, _) = (Vec::new(), BTreeMap::new());
        for (voter, answers) in ballots.iter() {
            let checked = Checked::new(study, answers);
            match checked.is_enough(passed) {
                true => trusted.push(answers),
                false => {
                    excluded.insert(voter.short(), checked);
                }
            }
        }
        let items = || study.items.iter().filter(|item| item.compares());
        let prompts: BTreeSet<&str> = items().map(|item| item.subject.prompt.as_str()).collect();
        let prompts: Vec<&str> = prompts.into_iter().collect();
        let questions =
            (0..study.questions.len()).map(|q| of_question(study, &trusted, &prompts, q));
        Self {
            study: study.id(),
            title: study.title.clone(),
            methods: study.methods.clone(),
            items: items().count(),
            prompts: prompts.len(),
            checks: study.items.len() - items().count(),
            passed,
            voters: ballots.voters(),
            complete: ballots.iter().filter(|(_, answers)| answers.count() == all).count(),
            questions: questions.collect(),
            excluded,
        }
    }
}

fn of_question(
    study: &Study,
    trusted: &[&Answers],
    prompts: &[&str],
    question: usize,
) -> QuestionSummary {
    let compared = || study.items.iter().enumerate().filter(|(_, item)| item.compares());
    let mut outcomes = Vec::new();
    for (item, _) in compared() {
        for (voter, answers) in trusted.iter().enumerate() {
            outcomes.extend(answers.get(item, question).map(|answer| Outcome {
                item,
                voter,
                answer,
            }));
        }
    }
    let prompt = |outcome: &Outcome| {
        let prompt = study.items[outcome.item].subject.prompt.as_str();
        prompts.binary_search(&prompt).unwrap_or_default()
    };
    // What `method` won in the outcomes that it, and `other` if there is one, are part of.
    let rate = |method: usize, other: Option<usize>| {
        let (mut of_prompts, mut of_voters, mut points) = (Vec::new(), Vec::new(), Vec::new());
        for outcome in &outcomes {
            let Some((rival, won)) = result(study, outcome, method) else { continue };
            if other.is_none_or(|other| other == rival) {
                of_prompts.push(prompt(outcome));
                of_voters.push(outcome.voter);
                points.push(won);
            }
        }
        let halves = points.iter().filter(|won| **won == 0.5).count();
        (win_rate(&of_prompts, &of_voters, &points), points, halves)
    };
    let count = study.methods.len();
    let mut wins = vec![vec![0.0; count]; count];
    let mut pairs = Vec::new();
    let mut shown: BTreeSet<[usize; 2]> = BTreeSet::new();
    for (_, item) in compared() {
        let (left, right) = (item.left.method, item.right.method);
        shown.insert([left.min(right), left.max(right)]);
    }
    for [first, second] in shown {
        let (rate, points, neither) = rate(first, Some(second));
        let won: f64 = points.iter().sum();
        wins[first][second] = won;
        wins[second][first] = points.len() as f64 - won;
        let [first, second] = [first, second].map(|method| study.methods[method].clone());
        pairs.push(PairSummary { first, second, votes: points.len(), neither, rate });
    }
    let strengths = strengths(&wins);
    let all = outcomes.len();
    let methods = (0..count).map(|method| {
        let (won, points, _) = rate(method, None);
        MethodSummary {
            name: study.methods[method].clone(),
            votes: points.len(),
            share: (all > 0).then(|| points.iter().sum::<f64>() / all as f64),
            won,
            strength: strengths.as_ref().ok().map(|strengths| strengths[method]),
        }
    });
    let units: Vec<Vec<Answer>> = compared()
        .map(|(k, _)| trusted.iter().filter_map(|answers| answers.get(k, question)).collect())
        .collect();
    let said = |answer| outcomes.iter().filter(|outcome| outcome.answer == answer).count();
    let share = |part: usize, all: usize| (all > 0).then(|| part as f64 / all as f64);
    let [left, neither] = [Answer::Left, Answer::Neither].map(said);
    QuestionSummary {
        name: study.questions[question].name.clone(),
        text: study.questions[question].text.clone(),
        votes: all,
        neither: share(neither, all),
        left: share(left, all - neither),
        alpha: alpha(&units),
        methods: methods.collect(),
        no_strengths: strengths.as_ref().err().filter(|_| all > 0).map(ToString::to_string),
        pairs,
    }
}

/// Whom `method` was compared with in an outcome, and what it won; none if it was not shown.
fn result(study: &Study, outcome: &Outcome, method: usize) -> Option<(usize, f64)> {
    let item = &study.items[outcome.item];
    let (left, right) = (item.left.method, item.right.method);
    let (rival, side) = match () {
        () if left == method => (right, Answer::Left),
        () if right == method => (left, Answer::Right),
        () => return None,
    };
    let won = match outcome.answer {
        Answer::Neither => 0.5,
        answer if answer == side => 1.0,
        _ => 0.0,
    };
    Some((rival, won))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::testing::{toy, vote};

    /// Two who look, one who does not.
    fn ballots(study: &Study) -> Ballots {
        use Answer::{Left, Neither, Right};
        let mut ballots = Ballots::default();
        for (voter, answers) in [
            (1, [Right, Left, Left, Left, Right]),
            (2, [Right, Neither, Right, Left, Left]),
            (3, [Left, Right, Left, Right, Left]),
        ] {
            for (item, answer) in answers.into_iter().enumerate() {
                ballots.add(&vote(study, voter, item, "overall", answer), study).unwrap();
            }
        }
        ballots
    }

    /// By hand: `ours` won three of 4 with the base and drew one, and 1 of 2 with `theirs`; `theirs` won
    /// 1 of 2 with the base.
    #[test]
    fn votes_are_counted() {
        let study = toy();
        let summary = Summary::new(&study, &ballots(&study), 0.75);
        assert_eq!((summary.items, summary.prompts, summary.checks), (4, 4, 1));
        assert_eq!((summary.voters, summary.complete), (3, 0));
        let excluded: Vec<_> = summary.excluded.iter().collect();
        assert_eq!(excluded.len(), 1);
        assert_eq!(*excluded[0].1, Checked { passed: 0, failed: 1 });

        let overall = &summary.questions[0];
        assert_eq!(
            (overall.votes, overall.neither, overall.left),
            (8, Some(0.125), Some(3.0 / 7.0))
        );
        let shares: Vec<f64> = overall.methods.iter().map(|m| m.share.unwrap()).collect();
        assert_eq!(shares, [1.5 / 8.0, 4.5 / 8.0, 2.0 / 8.0]);
        let pair = &overall.pairs[0];
        assert_eq!((pair.first.as_str(), pair.second.as_str()), ("base", "ours"));
        assert_eq!((pair.votes, pair.neither), (4, 1));
        assert_eq!(pair.rate.unwrap().interval.mean, 0.125);
        assert_eq!(overall.methods[1].won.unwrap().interval.mean, 4.5 / 6.0);
        let strengths: Vec<f64> = overall.methods.iter().map(|m| m.strength.unwrap()).collect();
        assert!(strengths[1] > strengths[2] && strengths[2] > strengths[0], "{strengths:?}");
        assert!(overall.alpha.is_some_and(|alpha| alpha < 0.5));

        // Nobody was asked this.
        let visual = &summary.questions[1];
        assert_eq!((visual.votes, visual.alpha, visual.no_strengths.as_ref()), (0, None, None));
        assert!(visual.methods.iter().all(|method| method.share.is_none() && method.won.is_none()));
        let trusting = Summary::new(&study, &ballots(&study), 0.0);
        assert_eq!((trusting.excluded.len(), trusting.questions[0].votes), (0, 12));
    }

    #[test]
    fn who_always_wins_has_no_strength_and_why_is_told() {
        let study = toy();
        let mut ballots = Ballots::default();
        ballots.add(&vote(&study, 1, 0, "overall", Answer::Right), &study).unwrap();
        let overall = &Summary::new(&study, &ballots, 0.75).questions[0];
        assert!(overall.methods.iter().all(|method| method.strength.is_none()));
        assert!(overall.no_strengths.as_ref().unwrap().contains("never won"));
    }
}
