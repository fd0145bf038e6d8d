//! The report of one training run, finished or not: what its log says, as curves.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use super::{
    Block, Document, Figure, Pictures, Section, Series,
    plot::{Axis, Line, lines},
};

/// What a run has left so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunLog {
    /// The rows of its `metrics.jsonl`, one for each update.
    pub rows: Vec<Value>,
    /// Those of its `watch.jsonl`, one for each evaluation; that of the base is the first.
    pub watch: Vec<Value>,
    /// Its sample grids as PNG files, each with the update that it was made after.
    pub grids: Vec<(u64, Vec<u8>)>,
}

/// Points of a curve at the most; more updates are averaged in groups.
const POINTS: usize = 240;

impl RunLog {
    /// When the first update began, in seconds since 1970, had the last one ended just now.
    pub fn began(&self) -> f64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
        now - self.seconds()
    }

    /// Seconds that its updates have taken.
    fn seconds(&self) -> f64 {
        self.rows.iter().filter_map(|row| row["seconds"].as_f64()).sum()
    }
}

/// The report of the run called `title` that has left `log`.
pub fn of_training(title: &str, log: RunLog) -> Document {
    let seconds = log.seconds();
    let RunLog { rows, watch, grids } = log;
    let rows = rows.as_slice();
    let last = rows.last();
    let updates = last.and_then(|row| row["update"].as_u64()).unwrap_or(0);
    let memory = last.and_then(|row| row["peak_memory_bytes"].as_u64());
    let memory = memory.map(|bytes| format!(", at most {:.0} MB of memory", bytes as f64 / 1e6));
    let told = format!("{updates} updates in {seconds:.0} s{}.", memory.unwrap_or_default());
    let groups = [
        ("Loss", "loss", "Each part of the loss without its weight, and the weighted sum."),
        (
            "Gradient",
            "gradient_norm",
            "Norms before clipping, weighted; the total is that of the sum.",
        ),
        ("Weights of the parts", "weight", "How much each part of the loss counts."),
    ];
    let of_groups = groups.into_iter().filter_map(|(title, key, reading)| {
        let mut names: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
        for row in rows {
            for (name, value) in row[key].as_object().into_iter().flatten() {
                names.entry(name).or_default().extend(point(row, value));
            }
        }
        figure(title, key, reading, names)
    });
    let mut metrics: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for row in rows {
        for (name, value) in row["metrics"].as_object().into_iter().flatten() {
            metrics.entry(name).or_default().extend(point(row, value));
        }
    }
    let of_metrics = metrics.into_iter().filter_map(|(name, points)| {
        figure(name, name, "A value that the method logs.", BTreeMap::from([(name, points)]))
    });
    let own =
        ["lr", "weight_norm", "seconds", "peak_memory_bytes"].into_iter().filter_map(|name| {
            let points = rows.iter().filter_map(|row| point(row, &row[name])).collect();
            let reading = match name {
                "lr" => "The learning rate.",
                "seconds" => "Wall time of an update.",
                "peak_memory_bytes" => "The most memory held so far.",
                _ => "The norm of the trained weights.",
            };
            figure(name, name, reading, BTreeMap::from([(name, points)]))
        });
    let curves = of_groups.chain(of_metrics).chain(own).map(Block::Figure).collect();
    let mut sections = Vec::new();
    if !grids.is_empty() {
        let grids = grids.into_iter().map(|(update, png)| Pictures {
            name: format!("grid-{update}"),
            title: update.to_string(),
            png,
            ..Pictures::default()
        });
        let series = Series {
            title: "Pictures after so many updates".to_owned(),
            grids: grids.collect(),
            reading: "The same prompts and noise in every grid.".to_owned(),
        };
        let blocks = vec![Block::Series(series)];
        sections.push(Section { title: "Pictures".to_owned(), blocks });
    }
    let mut lead = vec![Block::Text(told)];
    if !watch.is_empty() {
        lead.extend(alarm(&watch).map(Block::Alarm));
        sections.push(Section { title: "Watch".to_owned(), blocks: of_watch(&watch) });
    }
    sections.push(Section { title: "Curves".to_owned(), blocks: curves });
    Document { title: title.to_owned(), lead, sections }
}

/// What is to be said of the first alarm, if there was one.
fn alarm(watch: &[Value]) -> Option<String> {
    let row = watch.iter().find(|row| row["alarm"].is_object())?;
    let number = |name: &str| row["alarm"][name].as_f64().unwrap_or(f64::NAN);
    Some(format!(
        "Reward hacking at update {}: beside update {}, the trained reward is {:.4} higher and what is held \
         out {:.2} deviations lower.",
        row["update"],
        row["alarm"]["since"],
        number("trained_rose_by"),
        number("held_out_score_fell_by"),
    ))
}

/// Curves of what the watch saw.
fn of_watch(watch: &[Value]) -> Vec<Block> {
    let curve = |key: &str, of: &dyn Fn(&Value) -> Value| -> (String, Vec<(f64, f64)>) {
        (key.to_owned(), watch.iter().filter_map(|row| point(row, &of(row))).collect())
    };
    let held_out = watch[0]["held_out"].as_object().into_iter().flatten();
    let held_out = held_out.map(|(name, _)| curve(name, &|row| row["held_out"][name].clone()));
    let of = |key: &'static str| curve(key, &move |row| row[key].clone());
    let figures = [
        (
            "Trained reward",
            "watch-trained",
            "The mean of what is trained against; 0 updates are the base.",
            vec![of("trained")],
        ),
        (
            "Held-out score",
            "watch-held-out-score",
            "What nothing is trained against, as one number: 0 is the base. It should not fall while the \
             trained reward rises.",
            vec![of("held_out_score")],
        ),
        (
            "Held-out rewards",
            "watch-held-out",
            "Their means, each in its own unit.",
            held_out.collect(),
        ),
        (
            "Diversity and distance to the base",
            "watch-diversity",
            "How different pictures of one prompt are, and how far they are from the base's.",
            vec![of("diversity"), of("distance_to_base")],
        ),
    ];
    let figures = figures.into_iter().filter_map(|(title, name, reading, of)| {
        let of: BTreeMap<&str, Vec<(f64, f64)>> =
            of.iter().map(|(name, points)| (name.as_str(), points.clone())).collect();
        figure(title, name, reading, of)
    });
    figures.map(Block::Figure).collect()
}

fn point(row: &Value, value: &Value) -> Option<(f64, f64)> {
    Some((row["update"].as_f64()?, value.as_f64()?))
}

fn figure(
    title: &str,
    name: &str,
    reading: &str,
    of: BTreeMap<&str, Vec<(f64, f64)>>,
) -> Option<Figure> {
    let of = of.into_iter().filter(|(_, points)| points.len() > 1);
    let of: Vec<Line> = of
        .map(|(name, points)| Line { name: name.replace('_', " "), points: thinned(&points) })
        .collect();
    let title = title.replace('_', " ");
    (!of.is_empty()).then(|| Figure {
        name: name.replace('_', "-"),
        svg: lines(&Axis::new("updates"), &Axis::new(title.clone()), &of, &[]),
        title,
        reading: reading.to_owned(),
    })
}

/// Means of as many neighbours as make at most [`POINTS`].
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let group = points.len().div_ceil(POINTS).max(1);
    let mean = |group: &[(f64, f64)], of: fn(&(f64, f64)) -> f64| {
        group.iter().map(of).sum::<f64>() / group.len() as f64
    };
    points.chunks(group).map(|group| (mean(group, |p| p.0), mean(group, |p| p.1))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_log_becomes_curves() {
        let rows: Vec<Value> = (1..=500)
            .map(|update| {
                json!({
                    "update": update, "seconds": 0.5, "lr": 0.1, "weight_norm": 2.0,
                    "loss": {"reward": -1.0, "total": 1.0 / update as f64},
                    "gradient_norm": {"total": 1.0}, "weight": {"reward": 3.0},
                    "metrics": {"limited_share": 0.25}, "peak_memory_bytes": 5_000_000,
                })
            })
            .collect();
        let log = RunLog { rows, grids: vec![(100, vec![1])], ..RunLog::default() };
        let document = of_training("runs/x", log);
        assert_eq!(
            document.lead,
            [Block::Text("500 updates in 250 s, at most 5 MB of memory.".to_owned())]
        );
        let names: Vec<&str> = document.figures().map(|figure| figure.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "loss",
                "gradient-norm",
                "weight",
                "limited-share",
                "lr",
                "weight-norm",
                "seconds",
                "peak-memory-bytes"
            ]
        );
        assert_eq!(document.pictures().count(), 1);
        let points: Vec<(f64, f64)> = (0..500).map(|k| (f64::from(k), 1.0)).collect();
        let thin = thinned(&points);
        assert!(thin.len() <= POINTS && thin[0] == (1.0, 1.0), "{thin:?}");
        // A run that has only begun has a page, too.
        assert_eq!(of_training("runs/x", RunLog::default()).figures().count(), 0);
    }

    #[test]
    fn what_the_watch_saw_is_drawn_and_an_alarm_stands_first() {
        let row = |update: u64, trained: f64| {
            json!({
                "update": update, "trained": trained, "held_out": {"gold": 0.5, "other": 1.0},
                "held_out_score": -trained, "diversity": 0.2, "distance_to_base": null,
            })
        };
        let mut watch = vec![row(0, 0.0), row(10, 1.0), row(20, 2.0)];
        watch[2]["alarm"] =
            json!({"since": 0, "trained_rose_by": 2.0, "held_out_score_fell_by": 0.5});
        let document = of_training("runs/x", RunLog { watch, ..RunLog::default() });
        let Block::Alarm(told) = &document.lead[1] else { panic!("{:?}", document.lead) };
        assert!(told.starts_with("Reward hacking at update 20: beside update 0,"), "{told}");
        let names: Vec<&str> = document.figures().map(|figure| figure.name.as_str()).collect();
        assert_eq!(
            names,
            ["watch-trained", "watch-held-out-score", "watch-held-out", "watch-diversity"]
        );
    }
}
