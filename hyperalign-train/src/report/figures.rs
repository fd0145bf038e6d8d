//! The figures of a report.

use std::collections::BTreeMap;

use hyperalign_rewards::geneval::Task;

use super::{
    BaseNumbers, Figure,
    plot::{Axis, Bars, Line, Point, bars, lines, scatter},
    tables::heading,
};
use crate::{
    compare::{BaseResults, Comparison, CurvePoint, EntryResults, Probes, Results},
    eval::Method,
};

/// Prompts whose weights the plane shows.
const PATHS: usize = 8;

/// The figures of one base; those for which nothing was measured are left out.
pub(super) fn of_base(results: &Results, base: &BaseResults, numbers: &BaseNumbers) -> Vec<Figure> {
    let comparison = &results.comparison;
    let figures = [
        over_optimisation(base, numbers),
        gain_by_states(base, numbers),
        quality_by_time(numbers),
        by_task(comparison, numbers),
        movement(base),
        weights_along_steps(base),
        weights_in_the_plane(comparison, base),
    ];
    figures.into_iter().flatten().collect()
}

fn named(base: &str, name: &str) -> String {
    format!("{base}-{name}")
}

/// The curve of an entry, the mean over training seeds, beginning with the base; points that not all
/// seeds have are left out.
fn curve(base: &BaseResults, entry: &EntryResults) -> Vec<CurvePoint> {
    let mut by_updates: BTreeMap<u64, Vec<&CurvePoint>> = BTreeMap::new();
    for point in entry.runs.iter().flat_map(|run| &run.record.curve) {
        by_updates.entry(point.updates).or_default().push(point);
    }
    let seeds = entry.runs.len();
    let own = base.base.runs.iter().flat_map(|run| run.record.curve.first()).cloned();
    let start = own.map(|point| CurvePoint { states: Some(0.0), ..point });
    let means = by_updates.into_values().filter(|points| points.len() == seeds).map(|points| {
        let mean = |of: &dyn Fn(&CurvePoint) -> Option<f64>| {
            let values: Option<Vec<f64>> = points.iter().map(|point| of(point)).collect();
            values.map(|values| values.iter().sum::<f64>() / seeds as f64)
        };
        let names = points[0].values.keys();
        let values = names.filter_map(|name| {
            Some((name.clone(), mean(&|point| point.values.get(name).copied())?))
        });
        CurvePoint {
            updates: points[0].updates,
            states: mean(&|point| point.states),
            values: values.collect(),
        }
    });
    start.into_iter().chain(means).collect()
}

/// The curves of all entries that have one.
fn curves(base: &BaseResults) -> Vec<(String, Vec<CurvePoint>)> {
    let has = |entry: &&EntryResults| entry.runs.iter().any(|run| !run.record.curve.is_empty());
    let of = |entry: &EntryResults| (entry.entry.label().to_owned(), curve(base, entry));
    base.entries.iter().filter(has).map(of).collect()
}

fn over_optimisation(base: &BaseResults, numbers: &BaseNumbers) -> Option<Figure> {
    let primary = numbers.columns.first()?;
    let place =
        |point: &CurvePoint| Some((*point.values.get("proxy")?, *point.values.get(primary)?));
    let of = curves(base)
        .into_iter()
        .map(|(name, points)| Line { name, points: points.iter().filter_map(place).collect() });
    let of: Vec<Line> = of.filter(|line| line.points.len() > 1).collect();
    (!of.is_empty()).then(|| Figure {
        name: named(&base.name, "over-optimisation"),
        title: format!("{} against proxy along training, {}", heading(primary), base.name),
        svg: lines(&Axis::new("mean score of the proxy"), &Axis::new(heading(primary)), &of, &[]),
        reading: format!(
            "From the ring (the base) onwards, measured on tuning prompts. To the right the reward \
             that is trained against grows; where a line falls on its way there, {} is lost for it.",
            heading(primary)
        ),
    })
}

fn gain_by_states(base: &BaseResults, numbers: &BaseNumbers) -> Option<Figure> {
    let primary = numbers.columns.first()?;
    let all = curves(base);
    // Methods without samples of the model have updates alone.
    let has_states = all.iter().flat_map(|(_, points)| points).all(|point| point.states.is_some());
    let of = all.into_iter().map(|(name, points)| {
        let start = points.first().and_then(|point| point.values.get(primary).copied());
        let place = |point: &CurvePoint| {
            let way = match point.states {
                Some(states) if has_states => states / 1e3,
                _ => point.updates as f64,
            };
            Some((way, point.values.get(primary)? - start?))
        };
        Line { name, points: points.iter().filter_map(place).collect() }
    });
    let of: Vec<Line> = of.filter(|line| line.points.len() > 1).collect();
    let way = if has_states { "samples of the model, thousands" } else { "updates" };
    (!of.is_empty()).then(|| Figure {
        name: named(&base.name, "gain-by-states"),
        title: format!("Gain in {} along training, {}", heading(primary), base.name),
        svg: lines(
            &Axis::new(way),
            &Axis::new(format!("{} over the base", heading(primary))),
            &of,
            &[],
        ),
        reading:
            "What more training brings, measured on tuning prompts. A line that still rises at \
                  its end would have gained from more."
                .to_owned(),
    })
}

fn quality_by_time(numbers: &BaseNumbers) -> Option<Figure> {
    let primary = numbers.columns.first()?;
    let mut groups: Vec<&str> = Vec::new();
    let own = numbers.entry(Method::BASE)?.means.get(primary).copied();
    let points = numbers.entries.iter().filter_map(|entry| {
        let at = groups.iter().position(|group| *group == entry.group).unwrap_or_else(|| {
            groups.push(&entry.group);
            groups.len() - 1
        });
        let gain = entry.to_base.get(primary);
        Some(Point {
            name: entry.label.clone(),
            group: at,
            x: *entry.means.get("seconds")?,
            y: *entry.means.get(primary)?,
            interval: gain.zip(own).map(|(gain, own)| [own + gain.low, own + gain.high]),
        })
    });
    let points: Vec<Point> = points.collect();
    (!points.is_empty()).then(|| Figure {
        name: named(&numbers.name, "quality-by-time"),
        title: format!("{} against the time of a picture, {}", heading(primary), numbers.name),
        svg: scatter(
            &Axis::logarithmic("seconds for a picture (logarithmic)"),
            &Axis::new(heading(primary)),
            &points,
        ),
        reading:
            "Left is cheaper, up is better; the dashed line joins what nothing beats in both. \
                  Upright lines are intervals of 95 % of the gain over the base. Times are of the \
                  machine that measured, and training is not in them."
                .to_owned(),
    })
}

/// The entries that bars and grids show: the base and the reference among them in any case.
pub(super) fn shown(comparison: &Comparison) -> Vec<&str> {
    let protocol = &comparison.protocol;
    let mut shown: Vec<&str> = Vec::new();
    let own = std::iter::once(Method::BASE).chain(protocol.reference.as_deref());
    for name in own.chain(protocol.shown.iter().map(String::as_str)) {
        if !shown.contains(&name) {
            shown.push(name);
        }
    }
    shown
}

fn by_task(comparison: &Comparison, numbers: &BaseNumbers) -> Option<Figure> {
    let entries = shown(comparison).into_iter().filter_map(|name| numbers.entry(name));
    let of: Vec<Bars> = entries
        .filter(|entry| !entry.tasks.is_empty())
        .map(|entry| Bars {
            name: entry.label.clone(),
            heights: Task::ALL.map(|task| entry.tasks.get(&task).copied()).to_vec(),
        })
        .collect();
    let tasks = Task::ALL.map(|task| task.tag().replace('_', " "));
    (!of.is_empty()).then(|| Figure {
        name: named(&numbers.name, "tasks"),
        title: format!("Right pictures by task, {}", numbers.name),
        svg: bars(&Axis::new("share of right pictures"), &tasks, &of),
        reading: "The table by task as bars, for a few entries: where a gain comes from."
            .to_owned(),
    })
}

fn steps(values: &[f64]) -> Vec<(f64, f64)> {
    values.iter().enumerate().map(|(i, value)| (i as f64, *value)).collect()
}

fn movement(base: &BaseResults) -> Option<Figure> {
    let Probes { movement, curvature, key_steps, .. } = &base.base.runs.first()?.record.probes;
    if movement.len() < 2 {
        return None;
    }
    let highest = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let factor = highest(movement) / highest(curvature).max(f64::MIN_POSITIVE);
    let scaled: Vec<f64> = curvature.iter().map(|value| value * factor).collect();
    let of = [
        Line { name: "relative movement".to_owned(), points: steps(movement) },
        Line { name: "curvature (scaled)".to_owned(), points: steps(&scaled) },
    ];
    let keys: Vec<f64> = key_steps.iter().map(|&step| step as f64).collect();
    let drawn =
        lines(&Axis::whole("sampling step"), &Axis::new("relative L1 distance"), &of, &keys);
    Some(Figure {
        name: named(&base.name, "movement"),
        title: format!("How far one-step predictions move, {}", base.name),
        svg: drawn,
        reading: "The relative distance of the base's prediction of the final latents to that of \
                  the step before, and the curvature of that curve, scaled to the same height \
                  (figure 4 of the paper). Dashed: key steps that share the movement equally."
            .to_owned(),
    })
}

fn weights_along_steps(base: &BaseResults) -> Option<Figure> {
    let mut of = Vec::new();
    for entry in &base.entries {
        let Some(path) = entry.runs.first().and_then(|run| run.record.probes.weights.as_ref())
        else {
            continue;
        };
        let label = entry.entry.label();
        of.push(Line { name: format!("{label}: cosine"), points: steps(&path.cosine) });
        of.push(Line { name: format!("{label}: change"), points: steps(&path.change) });
    }
    (!of.is_empty()).then(|| Figure {
        name: named(&base.name, "weights-along-steps"),
        title: format!("How the emitted weights change along the steps, {}", base.name),
        svg: lines(&Axis::whole("sampling step"), &Axis::new("cosine, relative change"), &of, &[]),
        reading:
            "The cosine of the emitted weights to those of the first step, and their relative \
                  change since the step before (figure 8 of the paper), the mean over prompts, the \
                  first training seed. A cosine of 1 all along is a static LoRA."
                .to_owned(),
    })
}

fn weights_in_the_plane(comparison: &Comparison, base: &BaseResults) -> Option<Figure> {
    let has = |entry: &EntryResults| {
        let run = entry.runs.first()?;
        Some((entry.entry.label().to_owned(), run.record.probes.weights.clone()?))
    };
    let reference = comparison.protocol.reference.as_deref().and_then(|name| base.entry(name));
    let (label, path) = reference.and_then(has).or_else(|| base.entries.iter().find_map(has))?;
    let of: Vec<Line> = path
        .plane
        .iter()
        .take(PATHS)
        .enumerate()
        .map(|(k, points)| Line {
            name: format!("prompt {}", k + 1),
            points: points.iter().map(|&[x, y]| (x, y)).collect(),
        })
        .collect();
    let axis = |k: usize| {
        Axis::new(format!("component {} ({:.0} % of variance)", k + 1, 100.0 * path.explained[k]))
    };
    (!of.is_empty()).then(|| Figure {
        name: named(&base.name, "weights-in-the-plane"),
        title: format!("Emitted weights of several prompts, {label}, {}", base.name),
        svg: lines(&axis(0), &axis(1), &of, &[]),
        reading:
            "The emitted weights in the plane of their first two principal components over all \
                  prompts and steps (figure 9 of the paper). A line is one prompt from its first \
                  step (the ring) to its last: lines that lie apart are weights that depend on the \
                  prompt, long ones weights that depend on the step."
                .to_owned(),
    })
}
