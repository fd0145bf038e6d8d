//! GenEval's rules: detections and a row in, a verdict out.

use std::fmt;

use super::{Relation, Row};

/// An axis-parallel box, in pixels, the origin at the top left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundingBox {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Extent to the right.
    pub width: f32,
    /// Extent downwards.
    pub height: f32,
}

impl BoundingBox {
    fn centre(&self) -> [f32; 2] {
        [self.x + self.width / 2.0, self.y + self.height / 2.0]
    }
}

/// One object that a detector has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// Name of its class.
    pub class: String,
    /// Its colour, where the detector (or a classifier after it) can tell.
    pub color: Option<String>,
    /// Where it is.
    pub bounds: BoundingBox,
    /// How sure the detector is; only its order matters here.
    pub score: f32,
}

/// Why a picture does not show what its row asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Too few objects of a class.
    Missing {
        /// The class.
        class: String,
        /// At least how many were asked for.
        expected: usize,
        /// How many were found.
        found: usize,
    },
    /// Enough objects of a class, but too few of the colour.
    Color {
        /// The class.
        class: String,
        /// The colour that was asked for.
        color: String,
        /// The colours that were found.
        found: Vec<String>,
    },
    /// An object does not lie where it should.
    Position {
        /// Class of the object.
        class: String,
        /// The relation that was asked for.
        relation: Relation,
        /// Class of the object that the relation refers to.
        target: String,
        /// The relations that hold instead.
        found: Vec<Relation>,
    },
    /// The object that a position refers to does not meet its own clause.
    NoTarget {
        /// Class of the object that should lie somewhere.
        class: String,
        /// Class that is missing.
        target: String,
    },
    /// Too many objects of a class.
    Surplus {
        /// The class.
        class: String,
        /// How many are already too many.
        limit: usize,
        /// How many were found.
        found: usize,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { class, expected, found } => {
                write!(f, "expected at least {expected} {class}, found {found}")
            }
            Self::Color { class, color, found } => {
                write!(f, "expected {color} {class}, found {}", list(found))
            }
            Self::Position { class, relation, target, found } => {
                write!(f, "expected {class} {relation} {target}, found {}", list(found))
            }
            Self::NoTarget { class, target } => {
                write!(f, "{class} has no {target} to lie beside")
            }
            Self::Surplus { class, limit, found } => {
                write!(f, "expected fewer than {limit} {class}, found {found}")
            }
        }
    }
}

fn list(items: &[impl ToString]) -> String {
    match items {
        [] => "none".to_owned(),
        items => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// Whether a picture shows what its row asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Every clause is met.
    pub correct: bool,
    /// One reason for each clause that is not met, in the order of the clauses.
    pub reasons: Vec<Reason>,
}

/// Judges detections against a row by GenEval's rules (Ghosh et al. 2023, section 3.2, as its
/// published evaluation carries them out).
///
/// All clauses of `include` must hold, none of `exclude` may. A clause takes the `count` surest
/// objects of its class, no others: all of these must have the colour, and each of them must
/// stand in the relation to each of the objects that the earlier clause took.
///
/// # Panics
///
/// Panics if a position refers to a clause that does not come before its own;
/// [`Row::read_jsonl`] lets none through.
pub fn judge(detections: &[Detection], row: &Row) -> Verdict {
    let mut reasons = Vec::new();
    let mut matched: Vec<Option<Vec<&Detection>>> = Vec::new();
    for (clause, include) in row.include.iter().enumerate() {
        let taken: Vec<&Detection> =
            of_class(detections, &include.class).into_iter().take(include.count).collect();
        let reason = missing(&taken, &include.class, include.count)
            .or_else(|| wrong_color(&taken, &include.class, include.color.as_deref()))
            .or_else(|| {
                let (relation, target) = include.position?;
                assert!(target < clause, "include[{clause}] refers to include[{target}]");
                let target_class = &row.include[target].class;
                misplaced(
                    &taken,
                    &include.class,
                    relation,
                    matched[target].as_deref(),
                    target_class,
                )
            });
        matched.push(reason.is_none().then_some(taken));
        reasons.extend(reason);
    }
    for exclude in &row.exclude {
        let found = of_class(detections, &exclude.class).len();
        if found >= exclude.count {
            let class = exclude.class.clone();
            reasons.push(Reason::Surplus { class, limit: exclude.count, found });
        }
    }
    Verdict { correct: reasons.is_empty(), reasons }
}

/// The objects of a class, the surest first.
fn of_class<'a>(detections: &'a [Detection], class: &str) -> Vec<&'a Detection> {
    let mut found: Vec<_> = detections.iter().filter(|d| d.class == class).collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found
}

fn missing(taken: &[&Detection], class: &str, expected: usize) -> Option<Reason> {
    let found = taken.len();
    (found < expected).then(|| Reason::Missing { class: class.to_owned(), expected, found })
}

fn wrong_color(taken: &[&Detection], class: &str, color: Option<&str>) -> Option<Reason> {
    let color = color?;
    let wrong = taken.iter().any(|detection| detection.color.as_deref() != Some(color));
    wrong.then(|| Reason::Color {
        class: class.to_owned(),
        color: color.to_owned(),
        found: taken.iter().filter_map(|detection| detection.color.clone()).collect(),
    })
}

fn misplaced(
    taken: &[&Detection],
    class: &str,
    relation: Relation,
    targets: Option<&[&Detection]>,
    target_class: &str,
) -> Option<Reason> {
    let (class, target) = (class.to_owned(), target_class.to_owned());
    let Some(targets) = targets else { return Some(Reason::NoTarget { class, target }) };
    taken
        .iter()
        .flat_map(|object| targets.iter().map(|target| relations(&object.bounds, &target.bounds)))
        .find(|found| !found.contains(&relation))
        .map(|found| Reason::Position { class, relation, target, found })
}

/// The relations in which the box `a` stands to the box `b`: none, one, or two for a diagonal.
///
/// With o the offset of the centres and s the sum of the extents, each axis keeps
/// r = max(|o| - 0.1 s, 0) sign(o), so that boxes that overlap almost wholly stand in no
/// relation; a relation holds where |r| > |o|₂ / 2 on its axis.
pub fn relations(a: &BoundingBox, b: &BoundingBox) -> Vec<Relation> {
    const POSITION_MARGIN: f32 = 0.1;
    let (from, to) = (b.centre(), a.centre());
    let offset = [to[0] - from[0], to[1] - from[1]];
    let extents = [a.width + b.width, a.height + b.height];
    let kept = [0, 1].map(|axis| {
        let o = offset[axis];
        (o.abs() - POSITION_MARGIN * extents[axis]).max(0.0) * o.signum()
    });
    if kept.iter().all(|r| r.abs() < 1e-3) {
        return Vec::new();
    }
    let norm = offset[0].hypot(offset[1]);
    let [x, y] = kept.map(|r| r / norm);
    let holds = [
        (x < -0.5, Relation::LeftOf),
        (x > 0.5, Relation::RightOf),
        (y < -0.5, Relation::Above),
        (y > 0.5, Relation::Below),
    ];
    holds.into_iter().filter_map(|(holds, relation)| holds.then_some(relation)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geneval::{Exclude, Include, Task};

    fn found(class: &str, color: Option<&str>, x: f32, y: f32, score: f32) -> Detection {
        Detection {
            class: class.to_owned(),
            color: color.map(str::to_owned),
            bounds: BoundingBox { x, y, width: 20.0, height: 20.0 },
            score,
        }
    }

    fn clause(class: &str, count: usize) -> Include {
        Include { class: class.to_owned(), count, color: None, position: None }
    }

    fn row(include: Vec<Include>, exclude: Vec<Exclude>) -> Row {
        Row { tag: Task::SingleObject, include, exclude, prompt: String::new() }
    }

    #[test]
    fn counts() {
        let dogs: Vec<_> = (0..3).map(|k| found("dog", None, 20.0 * k as f32, 0.0, 0.9)).collect();
        let exactly = |count| {
            row(vec![clause("dog", count)], vec![Exclude { class: "dog".into(), count: count + 1 }])
        };
        assert!(judge(&dogs, &exactly(3)).correct);
        assert!(matches!(
            judge(&dogs, &exactly(2)).reasons[..],
            [Reason::Surplus { found: 3, .. }]
        ));
        assert!(matches!(
            judge(&dogs, &exactly(4)).reasons[..],
            [Reason::Missing { found: 3, .. }]
        ));
        // Without an exclude clause more than asked for is right.
        assert!(judge(&dogs, &row(vec![clause("dog", 1)], vec![])).correct);
    }

    #[test]
    fn only_the_surest_objects_count_for_a_colour() {
        let red = Include { color: Some("red".into()), ..clause("heart", 1) };
        let hearts = [
            found("heart", Some("red"), 0.0, 0.0, 0.7),
            found("heart", Some("blue"), 30.0, 0.0, 0.9),
        ];
        assert!(!judge(&hearts, &row(vec![red.clone()], vec![])).correct);
        assert!(judge(&hearts[..1], &row(vec![red], vec![])).correct);
    }

    #[test]
    fn positions() {
        let ask = |relation| {
            let subject = Include { position: Some((relation, 0)), ..clause("dog", 1) };
            row(vec![clause("car", 1), subject], vec![])
        };
        let scene = [found("dog", None, 0.0, 5.0, 0.8), found("car", None, 40.0, 0.0, 0.8)];
        assert!(judge(&scene, &ask(Relation::LeftOf)).correct);
        for wrong in [Relation::RightOf, Relation::Above, Relation::Below] {
            assert!(matches!(judge(&scene, &ask(wrong)).reasons[..], [Reason::Position { .. }]));
        }
        let reasons = judge(&scene[..1], &ask(Relation::LeftOf)).reasons;
        assert!(matches!(reasons[..], [Reason::Missing { .. }, Reason::NoTarget { .. }]));
    }

    #[test]
    fn relations_keep_a_margin() {
        let at = |x: f32, y: f32| BoundingBox { x, y, width: 20.0, height: 20.0 };
        // 0.1 of both widths is 4 pixels; half of the offset must remain: 8 pixels.
        assert!(relations(&at(7.9, 0.0), &at(0.0, 0.0)).is_empty());
        assert_eq!(relations(&at(8.1, 0.0), &at(0.0, 0.0)), [Relation::RightOf]);
        assert_eq!(relations(&at(-30.0, 30.0), &at(0.0, 0.0)), [Relation::LeftOf, Relation::Below]);
        assert!(relations(&at(3.0, 3.0), &at(3.0, 3.0)).is_empty());
    }
}
