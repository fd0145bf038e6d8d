//! Which of a detector's finds GenEval's rules are told of.

use hyperalign_models::mask2former::{Bounds, Instance};

use super::{BoundingBox, Task};

/// What GenEval's published evaluation does with a detector's finds
/// (`evaluation/evaluate_images.py` of djghosh13/geneval).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Protocol {
    /// A find counts if its score is above this.
    pub confidence: f32,
    /// The same for prompts that ask for a number: a find too many is wrong there.
    pub counting_confidence: f32,
    /// The most finds of a class, the surest first.
    pub most_of_a_class: usize,
    /// A find is passed over if a surer one of its class overlaps it by this much, as intersection
    /// over union; 1 passes over none.
    pub max_overlap: f32,
}

impl Default for Protocol {
    fn default() -> Self {
        Self { confidence: 0.3, counting_confidence: 0.9, most_of_a_class: 16, max_overlap: 1.0 }
    }
}

impl Protocol {
    /// The confidence that finds must be above for a prompt of `task`.
    pub fn confidence(&self, task: Task) -> f32 {
        match task {
            Task::Counting => self.counting_confidence,
            _ => self.confidence,
        }
    }

    /// Those of `instances`, the surest first, that count for a prompt of `task`.
    pub fn kept<'a>(&self, instances: &'a [Instance], task: Task) -> Vec<&'a Instance> {
        let confidence = self.confidence(task);
        let mut kept: Vec<&Instance> = Vec::new();
        let mut seen = Vec::new();
        for instance in instances.iter().filter(|instance| instance.score > confidence) {
            seen.push(instance.class);
            let rank = seen.iter().filter(|class| **class == instance.class).count();
            let covered = |surer: &&&Instance| {
                surer.class == instance.class
                    && overlap(surer.bounds, instance.bounds) >= self.max_overlap
            };
            let passed_over = self.max_overlap < 1.0 && kept.iter().any(|one| covered(&one));
            if rank <= self.most_of_a_class && !passed_over {
                kept.push(instance);
            }
        }
        kept
    }
}

/// Intersection over union of two boxes. GenEval takes both edges of a box for pixels of it, so
/// that each side is a pixel longer here.
pub fn overlap(a: Bounds, b: Bounds) -> f32 {
    let side = |from: usize, to: usize| (to + 1).saturating_sub(from);
    let area = |b: Bounds| side(b.left, b.right) * side(b.top, b.bottom);
    let shared = area(Bounds {
        left: a.left.max(b.left),
        top: a.top.max(b.top),
        right: a.right.min(b.right),
        bottom: a.bottom.min(b.bottom),
    });
    shared as f32 / (area(a) + area(b) - shared) as f32
}

impl From<Bounds> for BoundingBox {
    fn from(Bounds { left, top, right, bottom }: Bounds) -> Self {
        Self {
            x: left as f32,
            y: top as f32,
            width: (right - left) as f32,
            height: (bottom - top) as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_models::mask2former::Mask;

    use super::*;

    fn instance(class: usize, score: f32, left: usize) -> Instance {
        let bounds = Bounds { left, top: 0, right: left + 9, bottom: 9 };
        Instance { class, score, mask: Mask::new(1, vec![true]), bounds }
    }

    #[test]
    fn confidences_are_above_and_counting_asks_for_more() {
        let found = [instance(0, 0.95, 0), instance(0, 0.9, 20), instance(1, 0.3, 40)];
        let kept = |task| Protocol::default().kept(&found, task).len();
        assert_eq!(kept(Task::SingleObject), 2, "0.3 is not above 0.3");
        assert_eq!(kept(Task::Counting), 1, "0.9 is not above 0.9");
    }

    #[test]
    fn sixteen_of_a_class() {
        let many = |k: usize| instance(k % 2, 0.9 - 0.01 * k as f32, k);
        let found: Vec<Instance> = (0..40).map(many).collect();
        let kept = Protocol::default().kept(&found, Task::Colors);
        assert_eq!(kept.len(), 32);
        assert_eq!(kept[31], &found[31], "the surest of both");
    }

    #[test]
    fn overlaps_count_only_where_asked_for() {
        // Ten pixels a side with both edges; one of ten columns is not shared.
        let found = [instance(0, 0.9, 0), instance(0, 0.8, 1), instance(1, 0.7, 0)];
        assert!((overlap(found[0].bounds, found[1].bounds) - 9.0 / 11.0).abs() < 1e-6);
        assert_eq!(overlap(found[0].bounds, instance(0, 0.5, 30).bounds), 0.0);
        let kept = |max_overlap| {
            Protocol { max_overlap, ..Protocol::default() }.kept(&found, Task::Colors).len()
        };
        assert_eq!((kept(1.0), kept(0.8), kept(0.9)), (3, 2, 3));
    }
}
