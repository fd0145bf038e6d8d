//! What a picture shows, and how many, as something that a network learns to tell.

use burn::tensor::{Tensor, TensorData, activation::log_softmax, s};
use hyperalign_rewards::emoji::{Caption, Glyph, Scene};

/// The glyphs of a picture, by their indices, and the number of things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Every glyph that is there, once, in rising order.
    glyphs: Vec<usize>,
    /// Things in all, repeated ones counted; one at least.
    things: usize,
}

/// Most things of a picture: of one kind, or two of different kinds.
const MOST_THINGS: usize = Caption::MOST;

/// Numbers that say what is there: one for every glyph, then one for every number of things.
pub(crate) fn contents_outputs() -> usize {
    Glyph::all().count() + MOST_THINGS
}

/// What `scene` shows.
pub(super) fn contents(scene: &Scene) -> Contents {
    let there = |glyph: &Glyph| scene.placements.iter().any(|place| place.glyph == *glyph);
    let glyphs = Glyph::all().enumerate().filter(|(_, glyph)| there(glyph));
    Contents { glyphs: glyphs.map(|(index, _)| index).collect(), things: scene.placements.len() }
}

/// Mean cross entropy of the glyphs that are there, each with an equal share, and of the number of
/// things, in nats. It is the logarithm of the number of different glyphs where all is told.
///
/// # Shapes
///
/// - `told`: `[rows, contents_outputs()]`, logits
pub(super) fn contents_loss<'a>(
    told: Tensor<2>,
    rows: impl IntoIterator<Item = &'a Contents>,
) -> Tensor<1> {
    let [count, width] = told.dims();
    let glyphs = width - MOST_THINGS;
    let mut target = vec![0.0_f32; count * width];
    for (row, contents) in rows.into_iter().enumerate() {
        let share = 1.0 / contents.glyphs.len() as f32;
        for &glyph in &contents.glyphs {
            target[row * width + glyph] = share;
        }
        target[row * width + glyphs + contents.things - 1] = 1.0;
    }
    let target = Tensor::<2>::from_data(TensorData::new(target, [count, width]), &told.device());
    let which = log_softmax(told.clone().slice(s![.., 0..glyphs]), 1);
    let how_many = log_softmax(told.slice(s![.., glyphs..]), 1);
    (Tensor::cat(vec![which, how_many], 1) * target).sum().neg() / count as f64
}

#[cfg(test)]
mod tests {
    use hyperalign_core::{
        noise::{Purpose, Stream},
        testing,
    };
    use hyperalign_rewards::emoji::World;

    use super::*;

    fn of(caption: &str) -> Contents {
        let caption = Caption::parse(caption).expect("words of the world");
        contents(&World::LARGE.scene(&caption, &mut Stream::new(1, Purpose::World, 0, 0)))
    }

    #[test]
    fn glyphs_count_once_and_things_each() {
        let dogs = of("three dogs");
        assert_eq!((dogs.glyphs.len(), dogs.things), (1, 3));
        let (one, other) =
            (of("a red heart and a blue circle"), of("a blue heart and a red circle"));
        assert_eq!((one.glyphs.len(), one.things), (2, 2));
        assert_ne!(one, other, "whose colour is whose");
    }

    #[test]
    fn the_loss_is_the_entropy_of_what_is_there_where_all_is_told() {
        let device = testing::device();
        let width = contents_outputs();
        let rows = [of("three dogs"), of("a red heart and a blue circle")];
        let mut sure = vec![0.0_f32; rows.len() * width];
        for (row, contents) in rows.iter().enumerate() {
            for &glyph in &contents.glyphs {
                sure[row * width + glyph] = 40.0;
            }
            sure[row * width + width - MOST_THINGS + contents.things - 1] = 40.0;
        }
        let told =
            |values| Tensor::from_data(TensorData::new(values, [rows.len(), width]), &device);
        let loss = contents_loss(told(sure), &rows).into_scalar::<f32>();
        assert!((loss - 2.0_f32.ln() / 2.0).abs() < 1e-5, "{loss}");
        // Nothing told: all glyphs are as likely, and all numbers.
        let loss = contents_loss(told(vec![0.0; rows.len() * width]), &rows).into_scalar::<f32>();
        let glyphs = (width - MOST_THINGS) as f32;
        assert!((loss - (glyphs.ln() + (MOST_THINGS as f32).ln())).abs() < 1e-4, "{loss}");
    }
}
