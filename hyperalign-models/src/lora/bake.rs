//! What a hypernetwork emits, as a plain LoRA.

use hyperalign_core::lora::{LoraDelta, LoraSet};

use super::{Float, Layers, LoraFile, Part, Update, file::Factor, truncated::best_of_rank};

/// A hypernetwork's updates as a LoRA file.
#[derive(Debug, Clone)]
pub struct Baked {
    /// The updates.
    pub file: LoraFile,
    /// How far they are from what was baked, relative to its size: 0 where nothing was left out,
    /// else the error of the best update of this rank (Eckart & Young 1936), over all layers.
    pub error: f64,
}

/// The update in row `row` of `set` as a plain LoRA called `name`. The outer factors are multiplied
/// into the inner ones, so the rank is that of the adapter.
///
/// # Panics
///
/// Panics for layers that the base does not have.
pub fn bake(name: &str, set: &LoraSet, row: usize, layers: &Layers) -> LoraFile {
    LoraFile::of_set(name, &of_row(set, row), layers, Part::Denoiser)
}

/// The mean of several updates, of the first row each, cut to `rank` in every layer.
///
/// # Panics
///
/// Panics if there are none, and for layers that the base does not have.
pub fn mean_of(name: &str, sets: &[LoraSet], rank: usize, layers: &Layers) -> Baked {
    let files: Vec<LoraFile> = sets.iter().map(|set| bake(name, set, 0, layers)).collect();
    let first = files.first().expect("the mean of at least one update");
    let share = 1.0 / files.len() as f64;
    let (mut lost, mut all) = (0.0, 0.0);
    let updates = first.updates.keys().map(|layer| {
        let of_layer: Vec<&Update> =
            files.iter().filter_map(|file| file.updates.get(layer)).collect();
        // Side by side, the factors of all are those of their sum.
        let (mut ups, mut downs) = (Vec::new(), Vec::new());
        for update in &of_layer {
            let scale = share * update.scale();
            let rows = update.down.values.chunks_exact(update.down.columns);
            for (k, row) in rows.enumerate() {
                downs.push(row.iter().map(|value| f64::from(*value)).collect::<Vec<f64>>());
                let column = update.up.values.iter().skip(k).step_by(update.up.columns);
                ups.push(column.map(|value| f64::from(*value) * scale).collect::<Vec<f64>>());
            }
        }
        let best = best_of_rank(&ups, &downs, rank);
        lost += best.lost;
        all += best.all;
        let kept = best.downs.len();
        let (d_input, d_output) = (of_layer[0].down.columns, of_layer[0].up.rows);
        let down = best.downs.iter().flatten().map(|value| *value as f32).collect();
        let up = (0..d_output).flat_map(|row| best.ups.iter().map(move |up| up[row] as f32));
        let update = Update {
            down: Factor { rows: kept, columns: d_input, values: down, float: Float::F32 },
            up: Factor { rows: d_output, columns: kept, values: up.collect(), float: Float::F32 },
            alpha: kept as f64,
        };
        (*layer, update)
    });
    let file = LoraFile { updates: updates.collect(), ..first.clone() };
    Baked { file, error: if all > 0.0 { (lost / all).sqrt() } else { 0.0 } }
}

/// The updates of one row.
fn of_row(set: &LoraSet, row: usize) -> LoraSet {
    let set = set.detach();
    LoraSet::new(set.iter().map(|(path, delta)| {
        let of = |factor: &burn::tensor::Tensor<3>| {
            factor.clone().narrow(0, row.min(factor.dims()[0] - 1), 1)
        };
        let delta =
            LoraDelta { down: of(&delta.down), up: delta.up.as_ref().map(of), ..delta.clone() };
        (path.to_owned(), delta)
    }))
}
