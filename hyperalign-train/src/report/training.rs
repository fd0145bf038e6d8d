//! The report of one training run, finished or not: what its log says, as curves.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Block, Document, Figure, Pictures, Section,
    plot::{Axis, Line, lines},
};

/// Points of a curve at the most; more updates are averaged in groups.
const POINTS: usize = 240;

/// The report of a run called `title`, from the rows of its `metrics.jsonl` and its sample grids, each
/// with the update that it was made after.
pub fn of_training(title: &str, rows: &[Value], grids: Vec<(u64, Vec<u8>)>) -> Document {
    let last = rows.last();
    let updates = last.and_then(|row| row["update"].as_u64()).unwrap_or(0);
    let seconds: f64 = rows.iter().filter_map(|row| row["seconds"].as_f64()).sum();
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
    let own = ["lr", "weight_norm", "seconds"].into_iter().filter_map(|name| {
        let points = rows.iter().filter_map(|row| point(row, &row[name])).collect();
        let reading = match name {
            "lr" => "The learning rate.",
            "seconds" => "Wall time of an update.",
            _ => "The norm of the trained weights.",
        };
        figure(name, name, reading, BTreeMap::from([(name, points)]))
    });
    let curves = of_groups.chain(of_metrics).chain(own).map(Block::Figure).collect();
    let mut sections = vec![Section { title: "Curves".to_owned(), blocks: curves }];
    if !grids.is_empty() {
        let blocks = grids.into_iter().map(|(update, png)| {
            Block::Pictures(Pictures {
                name: format!("grid-{update}"),
                title: format!("After {update} updates"),
                png,
                reading: "The same prompts and noise in every grid.".to_owned(),
            })
        });
        sections.push(Section { title: "Pictures".to_owned(), blocks: blocks.collect() });
    }
    Document { title: title.to_owned(), lead: vec![Block::Text(told)], sections }
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
        let document = of_training("runs/x", &rows, vec![(100, vec![1])]);
        assert_eq!(
            document.lead,
            [Block::Text("500 updates in 250 s, at most 5 MB of memory.".to_owned())]
        );
        let names: Vec<&str> = document.figures().map(|figure| figure.name.as_str()).collect();
        assert_eq!(
            names,
            ["loss", "gradient-norm", "weight", "limited-share", "lr", "weight-norm", "seconds"]
        );
        assert_eq!(document.pictures().count(), 1);
        let points: Vec<(f64, f64)> = (0..500).map(|k| (f64::from(k), 1.0)).collect();
        let thin = thinned(&points);
        assert!(thin.len() <= POINTS && thin[0] == (1.0, 1.0), "{thin:?}");
        // A run that has only begun has a page, too.
        assert_eq!(of_training("runs/x", &[], Vec::new()).figures().count(), 0);
    }
}
