//! Modules that are several layers of ours: queries, keys and values as one matrix.
//!
//! The update of such a module has one factor next to the input for all of them. Taken apart, each
//! layer has its rows of the other factor. Where three LoRAs were put side by side to make one, as
//! sd-scripts does it, the other factor is block-diagonal, and each layer gets its own rank back.

use std::ops::Range;

use super::{
    file::{Factor, Update},
    names::Slice,
};

/// The update of each of the `slices` of a module with `update`. Layers that a block-diagonal
/// update does nothing to are left out.
pub(super) fn split(update: &Update, slices: &[Slice]) -> Vec<(usize, Update)> {
    let parts: Vec<Factor> =
        slices.iter().map(|slice| update.up.rows(slice.rows.clone())).collect();
    let blocks = if slices.len() > 1 { blocks(&parts, update.rank()) } else { None };
    let whole = || vec![Some(0..update.rank()); slices.len()];
    let ranks = blocks.unwrap_or_else(whole);
    let parts = slices.iter().zip(parts).zip(ranks);
    let parts = parts.filter_map(|((slice, up), block)| {
        let block = block?;
        let up = if slice.swapped { up.swapped() } else { up };
        let alpha = match block.len() == update.rank() {
            true => update.alpha,
            false => update.alpha * block.len() as f64 / update.rank() as f64,
        };
        let part = Update { down: update.down.rows(block.clone()), up: up.columns(block), alpha };
        Some((slice.layer, part))
    });
    parts.collect()
}

/// For each of `parts`, the columns that it alone has values in; none for one that is zero. `None`
/// unless these lie side by side and are all `rank` columns.
fn blocks(parts: &[Factor], rank: usize) -> Option<Vec<Option<Range<usize>>>> {
    let mut next = 0;
    let blocks = parts.iter().map(|part| {
        let is_used = |column: &usize| {
            part.values.iter().skip(*column).step_by(part.columns).any(|value| *value != 0.0)
        };
        let used: Vec<usize> = (0..rank).filter(is_used).collect();
        let (Some(first), Some(last)) = (used.first(), used.last()) else { return Some(None) };
        let block = *first..*last + 1;
        let follows = block.start == next;
        next = block.end;
        follows.then_some(Some(block))
    });
    let blocks: Vec<Option<Range<usize>>> = blocks.collect::<Option<_>>()?;
    (next == rank).then_some(blocks)
}

/// The update of a module whose `slices` have these updates, or none: the inverse of [`split`].
///
/// Layers with one and the same factor next to their input share it. Others are put side by side,
/// which adds their ranks up; where their scales differ, the difference goes into the values.
///
/// # Panics
///
/// Panics if no slice has an update.
pub(super) fn join(slices: &[Slice], updates: &[Option<&Update>]) -> Update {
    let present: Vec<&Update> = updates.iter().flatten().copied().collect();
    let first = *present.first().expect("a module with an update");
    let unswap = |slice: &Slice, update: &Update| match slice.swapped {
        true => update.up.clone().swapped(),
        false => update.up.clone(),
    };
    let shared = present.len() == slices.len()
        && present.iter().all(|update| update.down == first.down && update.alpha == first.alpha);
    if shared {
        let ups = slices.iter().zip(&present).map(|(slice, update)| unswap(slice, update));
        let values: Vec<f32> = ups.flat_map(|up| up.values).collect();
        let rows = values.len() / first.rank();
        let up = Factor { rows, values, ..first.up };
        return Update { down: first.down.clone(), up, alpha: first.alpha };
    }
    let rank: usize = present.iter().map(|update| update.rank()).sum();
    let rows = slices.last().map_or(0, |slice| slice.rows.end);
    let mut values = vec![0.0; rows * rank];
    let mut column = 0;
    for (slice, update) in slices.iter().zip(updates) {
        let Some(update) = update else { continue };
        let ratio = update.scale() / first.scale();
        let part = unswap(slice, update);
        for (row, part) in slice.rows.clone().zip(part.values.chunks_exact(part.columns)) {
            for (offset, value) in part.iter().enumerate() {
                let value = if ratio == 1.0 { *value } else { (f64::from(*value) * ratio) as f32 };
                values[row * rank + column + offset] = value;
            }
        }
        column += update.rank();
    }
    let down = Factor {
        rows: rank,
        values: present.iter().flat_map(|update| update.down.values.clone()).collect(),
        ..first.down
    };
    let alpha = match present.iter().all(|update| update.scale() == first.scale()) {
        true => present.iter().map(|update| update.alpha).sum(),
        false => first.scale() * rank as f64,
    };
    Update { down, up: Factor { rows, columns: rank, values, float: first.up.float }, alpha }
}
