//! Where the things of a picture lie, as something that a network learns to tell.

use burn::tensor::{Device, Tensor, TensorData};
use hyperalign_core::noise::{Purpose, Stream};
use hyperalign_rewards::{
    emoji::{Caption, Glyph, SIZE, Scene, Thing},
    geneval::Relation,
};

/// The places of things that are there once: the index of the glyph, and its centre in `[-1, 1]`.
pub type Places = Vec<(usize, [f32; 2])>;

/// Numbers that say where everything lies: `x` and `y` of every glyph.
pub(crate) fn places_outputs() -> usize {
    2 * Glyph::all().count()
}

/// The places of the glyphs that `scene` shows once.
pub(super) fn places(scene: &Scene) -> Places {
    let centre = |low: f32, extent: f32| (2.0 * low + extent) / SIZE as f32 - 1.0;
    Glyph::all()
        .enumerate()
        .filter_map(|(index, glyph)| {
            let mut found = scene.placements.iter().filter(|p| p.glyph == glyph);
            let (Some(place), None) = (found.next(), found.next()) else { return None };
            let bounds = place.bounds();
            let place = [centre(bounds.x, bounds.width), centre(bounds.y, bounds.height)];
            Some((index, place))
        })
        .collect()
}

/// The sides that a caption speaks of: the things that it relates, the one at -1 and the other at
/// 1 of the axis of the relation, and both at 0 of the other axis. Nothing for captions without a
/// relation.
pub(super) fn sides(caption: &Caption) -> Places {
    let Caption::Placed { subject, relation, target, .. } = *caption else { return Places::new() };
    let side = match relation {
        Relation::LeftOf => [-1.0, 0.0],
        Relation::RightOf => [1.0, 0.0],
        Relation::Above => [0.0, -1.0],
        Relation::Below => [0.0, 1.0],
    };
    let index = |thing: Thing| Glyph::all().position(|g| g.kind() == thing.kind);
    [(subject, side), (target, side.map(|x: f32| -x))]
        .into_iter()
        .filter_map(|(thing, side)| Some((index(thing)?, side)))
        .collect()
}

/// Mean squared error of the places of the things that are there, in units of half a picture.
///
/// # Shapes
///
/// - `told`: `[rows, places_outputs()]`
pub(super) fn places_loss<'a>(
    told: Tensor<2>,
    rows: impl IntoIterator<Item = &'a Places>,
) -> Tensor<1> {
    let [count, width] = told.dims();
    let mut target = vec![0.0_f32; count * width];
    let mut mask = target.clone();
    for (row, places) in rows.into_iter().enumerate() {
        for &(glyph, place) in places {
            for (axis, value) in place.into_iter().enumerate() {
                let at = row * width + 2 * glyph + axis;
                (target[at], mask[at]) = (value, 1.0);
            }
        }
    }
    let there: f32 = mask.iter().sum();
    let device = told.device();
    let tensor =
        |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [count, width]), &device);
    let error = (told - tensor(target)) * tensor(mask);
    error.square().sum() / f64::from(there.max(1.0))
}

/// A read-out of places that is drawn once and never learned, `[features, places_outputs()]`: the
/// network has to learn to write what it reads. It keeps the size of what goes in.
pub(super) fn fixed_readout(seed: u64, features: usize, device: &Device) -> Tensor<2> {
    let mut stream = Stream::new(seed, Purpose::Init, 0, features as u32);
    let scale = 1.0 / (features as f32).sqrt();
    let values: Vec<f32> =
        (0..features * places_outputs()).map(|_| stream.normal() as f32 * scale).collect();
    Tensor::from_data(TensorData::new(values, [features, places_outputs()]), device)
}

#[cfg(test)]
mod tests {
    use hyperalign_rewards::emoji::World;

    use super::*;
    use hyperalign_core::testing;

    #[test]
    fn only_what_is_there_counts() {
        let caption = Caption::parse("a dog to the left of a car").expect("words of the world");
        let scene = World::LARGE.scene(&caption, &mut Stream::new(1, Purpose::World, 0, 0));
        let places = places(&scene);
        assert_eq!(places.len(), 2);
        let device = testing::device();
        let mut told = vec![0.7_f32; 2 * places_outputs()];
        for &(glyph, [x, y]) in &places {
            (told[2 * glyph], told[2 * glyph + 1]) = (x, y + 0.5);
        }
        let told = TensorData::new(told, [2, places_outputs()]);
        // The second row shows nothing: its numbers do not matter.
        let rows = [places, Vec::new()];
        let loss = places_loss(Tensor::from_data(told, &device), &rows).into_scalar::<f32>();
        assert!((loss - 0.125).abs() < 1e-6, "{loss}");
    }
}
