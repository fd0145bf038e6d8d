//! Captions that are wrong in exactly one attribute.

use hyperalign_core::noise::Stream;

use super::caption::{Caption, Thing, Wording, other};
use super::{Color, Kind, World};
use crate::geneval::{Relation, Task};

impl World {
    /// `caption` with exactly one attribute made wrong: a class, the count, a colour, the relation,
    /// or which of two colours belongs to which thing.
    ///
    /// The attribute that the task is about is the likeliest. Counting pictures are told from their
    /// captions by the exact number, so a wrong count is always wrong; for every other attribute the
    /// picture of one caption may meet the other only if it shows more than it was asked for, which
    /// [`Scene`](super::Scene)s never do.
    pub fn corrupt(self, caption: &Caption, stream: &mut Stream) -> Caption {
        let about_task = stream.chance(0.75);
        let mut wrong = *caption;
        match &mut wrong {
            Caption::Some { count, .. } if *count > 1 && about_task => {
                *count = other(2..=Caption::MOST, &[*count], stream);
            }
            Caption::Some { thing, .. } if thing.color.is_some() && about_task => {
                self.recolor(thing, stream)
            }
            Caption::Placed { relation, wording, .. } if about_task => {
                // The opposite is the hardest to tell: a model that only sees which axis the two
                // things lie on takes it for right.
                *relation = if stream.chance(0.7) {
                    relation.opposite()
                } else {
                    other(Relation::ALL, &[*relation], stream)
                };
                if matches!(relation, Relation::Above | Relation::Below) {
                    *wording = Wording::Short;
                }
            }
            Caption::Both { first, second }
                if caption.task() == Task::ColorAttr
                    && first.color != second.color
                    && about_task =>
            {
                std::mem::swap(&mut first.color, &mut second.color);
            }
            wrong => self.change_one_thing(wrong, stream),
        }
        wrong
    }

    /// Another colour, or another class, for one of the things.
    fn change_one_thing(self, caption: &mut Caption, stream: &mut Stream) {
        let named: Vec<Kind> = caption.things().iter().map(|thing| thing.kind).collect();
        let mut things = caption.things_mut();
        let which = stream.below(things.len());
        let thing = &mut *things[which];
        if thing.color.is_none() {
            thing.kind = other(self.kinds(), &named, stream);
            return;
        }
        // A coloured thing can only become another shape, and may have none left to become.
        let shapes: Vec<Kind> =
            Kind::SHAPES.into_iter().filter(|kind| !named.contains(kind)).collect();
        if shapes.is_empty() || stream.chance(0.5) {
            self.recolor(thing, stream);
        } else {
            thing.kind = *stream.pick(&shapes);
        }
    }

    fn recolor(self, thing: &mut Thing, stream: &mut Stream) {
        let worn: Vec<Color> = thing.color.into_iter().collect();
        thing.color = Some(other(self.colors().iter().copied(), &worn, stream));
    }
}
