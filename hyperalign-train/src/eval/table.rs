//! Summaries for people, as plain text or Markdown.

use std::collections::{BTreeMap, BTreeSet};

use hyperalign_rewards::geneval::Task;

use super::{Comparisons, Interval, PictureCost, Role, Scorer, Summary};

/// A column in words.
pub(super) fn spoken(column: &str) -> &str {
    if column == Scorer::HELD_OUT { "held-out" } else { column }
}

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Columns lined up with spaces.
    Plain,
    /// A table of Markdown.
    Markdown,
}

/// Rows of cells under a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Names of the columns.
    pub header: Vec<String>,
    /// The cells, as many in each row as there are columns.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// The table as text, a line a row. The first column is flush left, the others right.
    pub fn write(&self, format: Format) -> String {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let width = |column: usize| {
            lines().map(|row| row[column].chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let pad = |row: &Vec<String>| -> Vec<String> {
            let cells = row.iter().zip(&widths).enumerate();
            cells
                .map(|(column, (cell, width))| match column {
                    0 => format!("{cell:<width$}"),
                    _ => format!("{cell:>width$}"),
                })
                .collect()
        };
        let mut text = String::new();
        for (k, row) in lines().enumerate() {
            match format {
                Format::Plain => text += pad(row).join("  ").trim_end(),
                Format::Markdown => text += &format!("| {} |", pad(row).join(" | ")),
            }
            text.push('\n');
            if k == 0 && format == Format::Markdown {
                let rule = |(column, width): (usize, &usize)| match column {
                    0 => format!("|{}", "-".repeat(width + 2)),
                    _ => format!("|{}:", "-".repeat(width + 1)),
                };
                text += &widths.iter().enumerate().map(rule).collect::<String>();
                text += "|\n";
            }
        }
        text
    }
}

impl Summary {
    /// What was measured of each method, a row each.
    pub fn methods_table(&self) -> Table {
        let columns: BTreeSet<&String> =
            self.methods.iter().flat_map(|(_, method)| method.scores.keys()).collect();
        let gold = self.methods.iter().any(|(_, method)| method.gold.is_some());
        let diversity = self.methods.iter().any(|(_, method)| method.diversity.is_some());
        let varies = self.methods.iter().any(|(_, method)| method.variation.is_some());

        let mut header = vec!["method".to_owned()];
        if gold {
            header.push("gold".to_owned());
            header.extend(Task::ALL.map(|task| task.tag().to_owned()));
        }
        header.extend(columns.iter().map(|column| self.heading(column)));
        let named = [(diversity, "diversity"), (varies, "var/prompts"), (varies, "var/steps")];
        header.extend(named.iter().filter(|(there, _)| *there).map(|(_, name)| (*name).to_owned()));
        // Ways that only sample differ in time alone.
        let searches = self.searches();
        if searches {
            header.extend(["evaluations", "gradients", "scorings"].map(str::to_owned));
        }
        header.push("s/image".to_owned());

        let rows = self.methods.iter().map(|(name, method)| {
            let mut row = vec![name.clone()];
            if gold {
                let of = |value: Option<f64>| cell(value, 3);
                row.push(of(method.gold.as_ref().map(|gold| gold.mean)));
                row.extend(Task::ALL.map(|task| {
                    of(method.gold.as_ref().and_then(|gold| gold.per_task.get(&task).copied()))
                }));
            }
            row.extend(columns.iter().map(|column| cell(method.scores.get(*column).copied(), 3)));
            if diversity {
                row.push(cell(method.diversity, 3));
            }
            if varies {
                row.push(cell(method.variation.and_then(|variation| variation.over_prompts), 2));
                row.push(cell(method.variation.map(|variation| variation.over_steps), 2));
            }
            if searches {
                let of = |of: fn(PictureCost) -> f64| cell(method.cost.map(of), 0);
                row.push(of(|cost| cost.denoiser_evaluations));
                row.push(of(|cost| cost.gradient_passes));
                row.push(of(|cost| cost.reward_calls));
            }
            row.push(cell(Some(method.seconds_per_image), 3));
            row
        });
        Table { rows: rows.collect(), header }
    }

    /// Whether a method scores pictures while it makes them.
    pub(super) fn searches(&self) -> bool {
        let mut costs = self.methods.iter().filter_map(|(_, method)| method.cost);
        costs.any(|cost| cost.reward_calls > 0.0)
    }

    /// The means of the prompts' groups, a row for each group and method; none where there is only
    /// one group, or where the groups are the tasks that [`methods_table`](Self::methods_table) has.
    pub fn groups_table(&self) -> Option<Table> {
        let groups: BTreeSet<&String> =
            self.methods.iter().flat_map(|(_, method)| method.groups.keys()).collect();
        if groups.len() < 2 || self.methods.iter().any(|(_, method)| method.gold.is_some()) {
            return None;
        }
        let columns: BTreeSet<&String> =
            self.methods.iter().flat_map(|(_, method)| method.scores.keys()).collect();
        let names = ["group", "method"].map(str::to_owned).into_iter();
        let header = names.chain(columns.iter().map(|column| self.heading(column))).collect();
        let rows = groups.iter().flat_map(|&group| {
            let columns = &columns;
            self.methods.iter().map(move |(name, method)| {
                let means = method.groups.get(group);
                let mean = |column: &&String| cell(means.and_then(|m| m.get(*column).copied()), 3);
                let names = [group.clone(), name.clone()].into_iter();
                names.chain(columns.iter().map(mean)).collect()
            })
        });
        Some(Table { header, rows: rows.collect() })
    }

    /// The differences to the base with their intervals and what they show; a row for each
    /// method and column.
    pub fn differences_table(&self) -> Table {
        self.intervals_table("method", "difference to base", &self.differences)
    }

    /// The first method's differences to the other ones, as
    /// [`differences_table`](Self::differences_table) has them to the base.
    pub fn comparisons_table(&self) -> Option<Table> {
        let Comparisons { method, against } = self.comparisons.as_ref()?;
        Some(self.intervals_table(&format!("{method} against"), "difference", against))
    }

    /// Of a single prompt there is no interval, whatever drawing it again and again says.
    fn intervals_table(
        &self,
        first: &str,
        difference: &str,
        intervals: &[(String, BTreeMap<String, Interval>)],
    ) -> Table {
        let rows = intervals.iter().flat_map(|(name, columns)| {
            columns.iter().map(move |(column, interval)| {
                let Interval { mean, low, high } = interval;
                let (range, shows) = match self.prompts {
                    0 | 1 => ("-".to_owned(), "nothing: one prompt"),
                    _ => (format!("[{low:+.3}, {high:+.3}]"), interval.verdict().words()),
                };
                let mean = format!("{mean:+.3}");
                vec![name.clone(), self.heading(column), mean, range, shows.to_owned()]
            })
        });
        let header = [first, "measure", difference, "95 % interval", "shows"];
        Table { header: header.map(str::to_owned).into(), rows: rows.collect() }
    }

    /// How a column is called in tables.
    pub(super) fn heading(&self, column: &str) -> String {
        let name = spoken(column);
        match self.rewards.iter().find(|reward| reward.column == column) {
            Some(reward) if reward.role == Role::TrainedAgainst => {
                format!("{name} (trained against)")
            }
            _ => name.to_owned(),
        }
    }

    /// The tables, and in words what their numbers are.
    pub fn report(&self, format: Format) -> String {
        let mut text = self.methods_table().write(format);
        if let Some(groups) = self.groups_table() {
            text += &format!("\n{}", groups.write(format));
        }
        if !self.differences.is_empty() {
            text += &format!("\n{}", self.differences_table().write(format));
        }
        if let Some(comparisons) = self.comparisons_table() {
            text += &format!("\n{}", comparisons.write(format));
        }
        text + "\n" + &self.legend()
    }
}

fn cell(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        Table {
            header: row(["method", "gold"]),
            rows: vec![row(["base", "0.354"]), row(["hyperalign-s", "-"])],
        }
    }

    #[test]
    fn columns_line_up() {
        assert_eq!(
            table().write(Format::Plain),
            "method         gold\nbase          0.354\nhyperalign-s      -\n"
        );
        assert_eq!(
            table().write(Format::Markdown),
            "| method       |  gold |\n|--------------|------:|\n\
             | base         | 0.354 |\n| hyperalign-s |     - |\n"
        );
    }
}
