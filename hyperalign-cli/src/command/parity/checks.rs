//! Comparing what we compute with what a reference file says.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
};

use burn::tensor::{Device, Tensor};
use miette::{IntoDiagnostic, miette};

use super::golden::{Golden, Values};

/// Tolerances relative to the largest absolute value of the reference, for f32.
pub(super) const FORWARD: f64 = 1e-4;
pub(super) const GRADIENT: f64 = 1e-3;
pub(super) const SCHEDULE: f64 = 1e-5;

/// One tensor of a reference file, or an error that concerns the whole file.
#[derive(Debug, serde::Serialize)]
pub(super) struct Row {
    /// The name of the file.
    file: String,
    /// The name of the tensor; `*` for the whole file.
    name: String,
    max_abs_error: Option<f64>,
    /// Relative to the largest absolute value of the reference.
    max_rel_error: Option<f64>,
    tolerance: Option<f64>,
    pub(super) ok: bool,
    /// Whether there is code of ours to compare with.
    pub(super) supported: bool,
    /// What there is to say beside the numbers.
    note: Option<String>,
}

/// The comparisons of one file.
pub(super) struct Checks {
    file: String,
    /// What the file says, and what has not been compared yet.
    expected: BTreeMap<String, Values>,
    rows: Vec<Row>,
    /// Where to compute.
    pub(super) device: Device,
    /// Where the vocabularies of the tokenizers are, if the user said so.
    pub(super) tokenizers: Option<PathBuf>,
    path: PathBuf,
}

impl Checks {
    pub(super) fn new(path: &Path, device: &Device, tokenizers: Option<&Path>) -> Self {
        Self {
            file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            expected: BTreeMap::new(),
            rows: Vec::new(),
            device: device.clone(),
            tokenizers: tokenizers.map(Path::to_owned),
            path: path.to_owned(),
        }
    }

    /// The folder `assets/NAME` beside the folder of the folder of the reference file: published
    /// files that references were made with.
    pub(super) fn asset(&self, name: &str) -> miette::Result<PathBuf> {
        let path = self.path.canonicalize().into_diagnostic()?;
        let folder = path.ancestors().nth(3).map(|root| root.join("assets").join(name));
        folder.filter(|folder| folder.is_dir()).ok_or_else(|| {
            miette!(
                "the published files are not at hand: no folder `assets/{name}` beside `{}`",
                path.ancestors().nth(2).unwrap_or(&path).display()
            )
        })
    }

    /// Demands that every result in `golden` is compared, or declared as not supported.
    pub(super) fn expect(&mut self, golden: &Golden) {
        for name in golden.names() {
            if ["out.", "tap.", "grad."].iter().any(|begin| name.starts_with(begin))
                && let Ok(values) = golden.values(name)
            {
                self.expected.insert(name.to_owned(), values.clone());
            }
        }
    }

    /// Names of the results that nothing has been said about yet.
    pub(super) fn left(&self) -> Vec<String> {
        self.expected.keys().cloned().collect()
    }

    /// Compares a tensor, by the tolerance of its kind: that of gradients where the name begins
    /// with `grad.`, else that of outputs. A result that the file does not have is not a row.
    pub(super) fn tensor<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) {
        let tolerance = if name.starts_with("grad.") { GRADIENT } else { FORWARD };
        self.tensor_within(name, tensor, tolerance);
    }

    /// Compares a tensor by a given tolerance.
    pub(super) fn tensor_within<const D: usize>(
        &mut self,
        name: &str,
        tensor: Tensor<D>,
        tolerance: f64,
    ) {
        let shape = tensor.dims().to_vec();
        let values = tensor.into_data().iter::<f64>().collect();
        self.values(name, &Values { shape, values }, tolerance);
    }

    /// Compares numbers by a given tolerance. A scalar of the file compares with one number.
    pub(super) fn values(&mut self, name: &str, given: &Values, tolerance: f64) {
        let Some(expected) = self.expected.remove(name) else { return };
        let scalar = expected.shape.is_empty() && given.values.len() == 1;
        if given.shape != expected.shape && !scalar {
            let note = format!("the shape is {:?}, not {:?}", given.shape, expected.shape);
            self.push(Row { tolerance: Some(tolerance), note: Some(note), ..self.row(name) });
            return;
        }
        // `f64::max` would drop a NaN, and a NaN must not pass.
        let largest = |values: &mut dyn Iterator<Item = f64>| {
            values.fold(0.0, |a: f64, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) })
        };
        let pairs = given.values.iter().zip(&expected.values);
        let max_abs = largest(&mut pairs.map(|(a, b)| (a - b).abs()));
        let scale = largest(&mut expected.values.iter().map(|value| value.abs()));
        let max_rel = if scale == 0.0 { max_abs } else { max_abs / scale };
        self.push(Row {
            max_abs_error: Some(max_abs),
            max_rel_error: Some(max_rel),
            tolerance: Some(tolerance),
            ok: max_rel <= tolerance,
            ..self.row(name)
        });
    }

    /// Compares one of several tensors with one result of the file, as [`tensor`](Self::tensor)
    /// does; the row says which. The result stays to be compared until it is [done](Self::done).
    pub(super) fn again<const D: usize>(&mut self, name: &str, which: &str, tensor: Tensor<D>) {
        let Some(expected) = self.expected.get(name).cloned() else { return };
        let row = format!("{name} ({which})");
        self.expected.insert(row.clone(), expected);
        self.tensor(&row, tensor);
    }

    /// Says that a result was compared with all that is to be.
    pub(super) fn done(&mut self, name: &str) {
        if self.rows.iter().any(|row| row.name.starts_with(&format!("{name} ("))) {
            self.expected.remove(name);
        }
    }

    /// Records a comparison that is not one of numbers.
    pub(super) fn verdict(&mut self, name: &str, ok: bool, note: String) {
        self.push(Row { ok, note: Some(note), ..self.row(name) });
    }

    /// Records that the file could not be run.
    pub(super) fn error(&mut self, message: &str) {
        self.expected.clear();
        self.push(Row { note: Some(format!("error: {message}")), ..self.row("*") });
    }

    /// Records that there is nothing of ours to compare `name` with.
    pub(super) fn not_supported(&mut self, name: &str, why: &str) {
        self.expected.remove(name);
        let note = Some(format!("not supported: {why}"));
        self.push(Row { supported: false, note, ..self.row(name) });
    }

    /// Records a result that cannot be computed by anyone from what is published. It is not held
    /// against us.
    pub(super) fn left_out(&mut self, name: &str, why: &str) {
        self.expected.remove(name);
        let note = Some(format!("left out: {why}"));
        self.push(Row { ok: true, supported: false, note, ..self.row(name) });
    }

    /// All rows, with one for each result that was left out.
    pub(super) fn into_rows(mut self) -> Vec<Row> {
        for name in self.left() {
            self.push(Row { note: Some("error: not computed".to_owned()), ..self.row(&name) });
        }
        if self.rows.is_empty() {
            self.error("the file holds no results");
        }
        self.rows
    }

    fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// A row that failed, to be filled in.
    fn row(&self, name: &str) -> Row {
        Row {
            file: self.file.clone(),
            name: name.to_owned(),
            max_abs_error: None,
            max_rel_error: None,
            tolerance: None,
            ok: false,
            supported: true,
            note: None,
        }
    }
}

/// The rows as text, file by file.
pub(super) fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max(4);
    let mut text = String::new();
    let mut file = "";
    for row in rows {
        if row.file != file {
            file = &row.file;
            let _ = writeln!(
                text,
                "{file}\n  {:width$}  {:>9}  {:>9}  {:>9}  ok",
                "name", "max abs", "max rel", "tolerance"
            );
        }
        let number = |value: Option<f64>| match value {
            Some(value) => format!("{value:.2e}"),
            None => "-".to_owned(),
        };
        let verdict = match (row.ok, row.supported) {
            (true, true) => "yes",
            (false, true) => "NO",
            (_, false) => "-",
        };
        let note = row.note.as_ref().map(|note| format!("  {note}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "  {:width$}  {:>9}  {:>9}  {:>9}  {verdict}{note}",
            row.name,
            number(row.max_abs_error),
            number(row.max_rel_error),
            number(row.tolerance)
        );
    }
    let count = |of: fn(&&Row) -> bool| rows.iter().filter(of).count();
    let _ = writeln!(
        text,
        "{} rows: {} ok, {} failed, {} not supported",
        rows.len(),
        count(|row| row.ok && row.supported),
        count(|row| !row.ok && row.supported),
        count(|row| !row.supported)
    );
    text
}
