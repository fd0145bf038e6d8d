//! What burn-train's metrics and renderers show of a run.

use std::collections::HashMap;
use std::sync::Arc;

use burn::tensor::TensorReadError;
use burn::train::logger::{EvaluationProgressLogger, MetricLogger, TrainingProgressLogger};
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{
    Adaptor, Metric, MetricDefinition, MetricId, MetricMetadata, MetricName, Numeric,
    NumericAttributes, NumericEntry, SerializedEntry,
};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};

use super::journal::{PartRow, Row};
use super::objective::Names;
use super::run::LineWriter;
use super::update::agreement;

/// The values of a row that are shown, by name. A part of the loss may have the name of a metric,
/// as the reward has: its loss says that it is one.
pub(crate) fn shown(row: &Row) -> Vec<(String, f64)> {
    let mut values = Vec::new();
    for part in &row.parts {
        values.push((format!("{} loss", part.name), part.loss));
        values.push((format!("{} gradient", part.name), part.gradient_norm));
    }
    values.extend(row.metrics.iter().map(|(name, value)| (name.replace('_', " "), *value)));
    values.push(("weight norm".to_owned(), row.weight_norm));
    values.push(("lr".to_owned(), row.lr));
    values.push(("seconds".to_owned(), row.seconds));
    values
}

/// The names of what [`shown`] gives for a row with these parts and metrics.
///
/// With the agreement of halves for each part, where it `agrees` is logged.
pub(crate) fn shown_names(names: &Names, agrees: bool) -> Vec<String> {
    let part = |name: &&str| PartRow {
        name: (*name).to_owned(),
        loss: 0.0,
        weight: 0.0,
        gradient_norm: 0.0,
    };
    let row = Row {
        parts: names.parts.iter().map(part).collect(),
        metrics: names
            .metrics
            .iter()
            .map(|name| (*name).to_owned())
            .chain(names.parts.iter().filter(|_| agrees).map(|part| agreement(part)))
            .map(|name| (name, 0.0))
            .collect(),
        ..Row::default()
    };
    shown(&row).into_iter().map(|(name, _)| name).collect()
}

/// The values of one update, as burn's metrics take them.
pub(crate) struct Values(Vec<(String, f64)>);

impl Adaptor<Values> for Row {
    fn adapt(&self) -> Values {
        Values(shown(self))
    }
}

/// One of the [`shown`] values as a metric of burn's.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    name: MetricName,
    /// Whether the last update had a value.
    fresh: bool,
    last: f64,
    sum: f64,
    count: usize,
}

impl Value {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: Arc::new(name.to_owned()), fresh: false, last: f64::NAN, sum: 0.0, count: 0 }
    }

    fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    fn entry(&self) -> SerializedEntry {
        let formatted = format!("mean {:.4} - last {:.4}", self.mean(), self.last);
        SerializedEntry::new(formatted, self.last.to_string())
    }
}

impl Metric for Value {
    type Input = Values;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> burn::train::metric::MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: false }.into()
    }

    fn update(
        &mut self,
        values: &Values,
        _: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        let value = values.0.iter().find(|(name, _)| *name == *self.name);
        self.fresh = value.is_some();
        if let Some((_, value)) = value {
            self.last = *value;
            self.sum += value;
            self.count += 1;
        }
        Ok(self.entry())
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.entry())
    }

    fn clear(&mut self) {
        *self = Self::new(&self.name);
    }
}

impl Numeric for Value {
    fn value(&self) -> Option<NumericEntry> {
        self.fresh.then_some(NumericEntry::Value(self.last))
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(NumericEntry::Value(self.mean()))
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Final(self.mean())
    }
}

/// A renderer that hands lines to a function: the library does not print.
pub(crate) struct LineRenderer {
    /// `None` renders nothing.
    pub(crate) write: Option<LineWriter>,
    /// Updates between lines.
    pub(crate) every: u64,
    pub(crate) updates: u64,
    /// Names in the order of registration, with sum and number of values since the last line.
    values: Vec<(MetricName, f64, u64)>,
    index: HashMap<MetricId, usize>,
}

impl LineRenderer {
    pub(crate) fn new(write: Option<LineWriter>, every: u64, updates: u64) -> Self {
        Self { write, every, updates, values: Vec::new(), index: HashMap::new() }
    }
}

impl MetricsRendererTraining for LineRenderer {
    fn update_train(&mut self, state: MetricState) {
        // The last entry repeats the mean over the whole sitting; it is none of an update.
        let MetricState::Numeric(entry, Some(NumericEntry::Value(value))) = state else { return };
        if let Some(&index) = self.index.get(&entry.metric_id) {
            let (_, sum, count) = &mut self.values[index];
            *sum += value;
            *count += 1;
        }
    }

    fn update_valid(&mut self, _: MetricState) {}
}

impl TrainingProgressLogger for LineRenderer {
    fn start(&mut self, _: usize, _: usize, _: Option<usize>, _: Option<&str>) {}

    fn update_epoch(&mut self, _: usize) {}

    fn start_split(&mut self, _: &str, _: usize) {}

    fn update_split(&mut self, done: usize) {
        let done = done as u64;
        let Some(write) = &self.write else { return };
        // The first update is shown at once: it says whether the run is what was meant.
        if done != 1 && done != self.updates && !done.is_multiple_of(self.every) {
            return;
        }
        // A run that only its time limits has no last update to name.
        let mut line = match self.updates {
            u64::MAX => format!("update {done}"),
            updates => format!("update {done}/{updates}"),
        };
        for (name, sum, count) in self.values.iter_mut().filter(|(.., count)| *count > 0) {
            let mean = *sum / *count as f64;
            let small = mean != 0.0 && mean.abs() < 1e-3;
            let value = if small { format!("{mean:.2e}") } else { format!("{mean:.4}") };
            line += &format!("  {name} {value}");
            (*sum, *count) = (0.0, 0);
        }
        write(&line);
    }

    fn end_split(&mut self) {}

    fn end(&mut self) {}

    fn log_event_training(&mut self, _: String) {}
}

impl MetricsRendererEvaluation for LineRenderer {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
}

impl EvaluationProgressLogger for LineRenderer {
    fn start_global_progress(&mut self, _: usize) {}

    fn start_test(&mut self, _: &str, _: usize) {}

    fn update_test_progress(&mut self, _: usize) {}

    fn end_test(&mut self) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _: String) {}
}

impl MetricsRenderer for LineRenderer {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        self.index.insert(definition.metric_id, self.values.len());
        self.values.push((definition.name, 0.0, 0));
    }
}

/// A metric logger that keeps nothing.
///
/// burn's own writes a file for each metric from another thread, with no regard to checkpoints: a
/// resumed run would write its rows a second time. `metrics.jsonl` is ours.
pub(crate) struct NoFiles;

impl MetricLogger for NoFiles {
    fn log(&mut self, _: MetricsUpdate, _: usize, _: &Split) {}

    fn read_numeric(&mut self, _: &str, _: usize, _: &Split) -> Result<Vec<NumericEntry>, String> {
        Ok(Vec::new())
    }

    fn log_metric_definition(&mut self, _: MetricDefinition) {}

    fn log_epoch_summary(&mut self, _: EpochSummary) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever looks for a reward in the progress finds the reward, and not minus it.
    #[test]
    fn a_part_and_a_metric_of_one_name_are_told_apart() {
        let row = Row {
            parts: vec![PartRow {
                name: "reward".to_owned(),
                loss: -3.0,
                weight: 1.0,
                gradient_norm: 0.5,
            }],
            metrics: vec![("reward".to_owned(), 3.0)],
            ..Row::default()
        };
        let values = shown(&row);
        let of = |name: &str| {
            let found: Vec<f64> =
                values.iter().filter(|(shown, _)| shown == name).map(|(_, value)| *value).collect();
            assert_eq!(found.len(), 1, "{name}: {values:?}");
            found[0]
        };
        assert_eq!((of("reward loss"), of("reward"), of("reward gradient")), (-3.0, 3.0, 0.5));
        let names = Names { parts: vec!["reward"], metrics: vec!["reward"] };
        let names = shown_names(&names, false);
        assert_eq!(names, values.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
    }
}
