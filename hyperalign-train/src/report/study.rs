//! The report of a blind study.

use super::{Block, Cells, Document, Section, Table, TableRow};
use crate::eval::Verdict;
use crate::study::{MethodSummary, Over, PairSummary, QuestionSummary, Rate, Summary};

/// The report of what the votes of a study come to.
pub fn of_study(summary: &Summary) -> Document {
    let shares = shares(summary);
    let mut lead = vec![Block::Text(in_short(summary))];
    lead.extend(excluded(summary).map(Block::Text));
    lead.push(Block::Table(shares));
    let sections = summary.questions.iter().map(of_question).collect();
    Document { title: summary.title.clone(), lead, sections }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn in_short(summary: &Summary) -> String {
    let Summary { items, prompts, checks, voters, complete, .. } = summary;
    format!(
        "{} of {}, {}; {}, {complete} to the end. Study {}.",
        counted(*items, "pair of pictures", "pairs of pictures"),
        counted(*prompts, "prompt", "prompts"),
        counted(*checks, "attention check", "attention checks"),
        counted(*voters, "voter", "voters"),
        summary.study,
    )
}

fn excluded(summary: &Summary) -> Option<String> {
    if summary.voters == 0 {
        return None;
    }
    if summary.checks == 0 {
        return Some("The study has no attention checks; every vote counts.".to_owned());
    }
    let needed = format!("{:.0} %", 100.0 * summary.passed);
    if summary.excluded.is_empty() {
        return Some(format!(
            "No voter passed less than {needed} of the checks; every vote counts."
        ));
    }
    let named: Vec<String> = summary
        .excluded
        .iter()
        .map(|(voter, checked)| {
            format!("{voter} ({} of {})", checked.passed, checked.passed + checked.failed)
        })
        .collect();
    Some(format!(
        "{} passed less than {needed} of the checks and left out: {}.",
        counted(named.len(), "voter", "voters"),
        named.join(", ")
    ))
}

/// A row for each method, a column for each question.
fn shares(summary: &Summary) -> Table {
    let method = |k: usize| {
        let of = |question: &QuestionSummary| percent(question.methods[k].share);
        let cells = summary.questions.iter().map(of);
        TableRow::Cells(std::iter::once(summary.methods[k].clone()).chain(cells).collect())
    };
    let names = summary.questions.iter().map(|question| question.name.clone());
    Table {
        caption: "Shares of the votes".to_owned(),
        cells: Cells::Numbers,
        header: std::iter::once("method".to_owned()).chain(names).collect(),
        rows: (0..summary.methods.len()).map(method).collect(),
        reading:
            "Percent of all votes on a question; \"no difference\" counts half to each of the two \
                  methods. A column adds up to 100."
                .to_owned(),
    }
}

fn of_question(question: &QuestionSummary) -> Section {
    let mut blocks = vec![Block::Text(told(question))];
    if question.votes > 0 {
        blocks.push(Block::Table(methods(question)));
        blocks.push(Block::Table(pairs(question)));
    }
    Section { title: format!("{}: {}", question.name, question.text), blocks }
}

fn told(question: &QuestionSummary) -> String {
    if question.votes == 0 {
        return "There are no votes on this question.".to_owned();
    }
    let agreement = match question.alpha {
        Some(alpha) => format!(
            "Voters agree with Krippendorff's alpha of {alpha:.2} (1: always, 0: as by chance)."
        ),
        None => {
            "How far voters agree is not known: no two have answered the same, or all have always \
                 given one answer."
                .to_owned()
        }
    };
    format!(
        "{}, {} % without a difference; the left picture was chosen in {} % of the others. {agreement}",
        counted(question.votes, "vote", "votes"),
        percent(question.neither),
        percent(question.left),
    )
}

fn methods(question: &QuestionSummary) -> Table {
    let row = |method: &MethodSummary| {
        let strength = method.strength.map_or_else(none, |strength| format!("{strength:.2}"));
        let (won, over) = rate(method.won);
        TableRow::Cells(vec![
            method.name.clone(),
            method.votes.to_string(),
            percent(method.share),
            won,
            over,
            strength,
        ])
    };
    let mut reading = "Won: how often it was preferred where it was shown, with an interval of 95 % from \
                       drawing anew the prompts or the voters, whichever is wider. Strength: of Bradley \
                       and Terry; a method of strength 2 wins against one of 1 two times of three."
        .to_owned();
    if let Some(why) = &question.no_strengths {
        reading += &format!(" There are none: {why}.");
    }
    Table {
        caption: "Methods".to_owned(),
        cells: Cells::Numbers,
        header: header(&["method", "votes", "share", "won", "over", "strength"]),
        rows: question.methods.iter().map(row).collect(),
        reading,
    }
}

fn pairs(question: &QuestionSummary) -> Table {
    let row = |pair: &PairSummary| {
        let (won, over) = rate(pair.rate);
        let name = format!("{} against {}", pair.first, pair.second);
        TableRow::Cells(vec![
            name,
            pair.votes.to_string(),
            pair.neither.to_string(),
            won,
            over,
            shown(pair),
        ])
    };
    Table {
        caption: "Pairs of methods".to_owned(),
        cells: Cells::Numbers,
        header: header(&["pair", "votes", "no difference", "first won", "over", "preferred"]),
        rows: question.pairs.iter().map(row).collect(),
        reading: "How often the first one was preferred, no difference counted half. One of them is named \
                  as preferred where the interval leaves out 50 % and is over six prompts or voters at \
                  least: fewer may be of one mind by chance."
            .to_owned(),
    }
}

/// Which of two is preferred, if the interval says so.
fn shown(pair: &PairSummary) -> String {
    match pair.rate.map(|rate| rate.verdict()) {
        Some(Verdict::Higher) => pair.first.clone(),
        Some(Verdict::Lower) => pair.second.clone(),
        Some(Verdict::NoDifferenceShown) => "not shown".to_owned(),
        None => none(),
    }
}

fn header(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn none() -> String {
    "\u{2013}".to_owned()
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(none, |share| format!("{:.1}", 100.0 * share))
}

fn rate(rate: Option<Rate>) -> (String, String) {
    let Some(Rate { interval, over, of }) = rate else { return (none(), none()) };
    let [mean, low, high] = [interval.mean, interval.low, interval.high].map(|share| 100.0 * share);
    let over = match over {
        Over::Prompts => counted(of, "prompt", "prompts"),
        Over::Voters => counted(of, "voter", "voters"),
    };
    (format!("{mean:.1} [{low:.1}, {high:.1}]"), over)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::markdown,
        study::{
            Answer, Ballots,
            testing::{toy, vote},
        },
    };

    #[test]
    fn a_report_is_made_of_any_number_of_votes() {
        let study = toy();
        let mut ballots = Ballots::default();
        let page = |ballots: &Ballots| markdown(&of_study(&Summary::new(&study, ballots, 0.75)));
        let empty = page(&ballots);
        assert!(empty.contains("0 voters") && empty.contains("There are no votes"), "{empty}");
        for voter in 1..=3 {
            // The third one prefers noise.
            let check = if voter == 3 { Answer::Right } else { Answer::Left };
            for (item, answer) in
                [(0, Answer::Right), (1, Answer::Left), (2, Answer::Neither), (3, check)]
            {
                ballots.add(&vote(&study, voter, item, "overall", answer), &study).unwrap();
            }
        }
        let page = page(&ballots);
        for words in [
            "4 pairs of pictures of 4 prompts, 1 attention check; 3 voters, 0 to the end.",
            "1 voter passed less than 75 % of the checks and left out: 00000000 (0 of 1).",
            "| ours | 83.3 | \u{2013} |",
            "6 votes, 33.3 % without a difference; the left picture was chosen in 50.0 % of the others.",
            "| base against ours | 4 | 0 | 0.0 \\[0.0, 0.0\\] | 2 prompts | not shown |",
            "There are none: the methods fall into groups",
        ] {
            assert!(page.contains(words), "{words} is not in\n{page}");
        }
    }
}
