//! Distances between tokens, sorted into buckets.

/// How distances fall into buckets (Raffel et al. 2020, arXiv:1910.10683, section 2.1): one half
/// of the buckets for each direction; of these the first half for one distance each, the rest
/// for ranges that grow up to `max_distance`, and the last for everything beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelativePositions {
    /// Number of buckets.
    pub buckets: usize,
    /// Distance from which on all fall into one bucket.
    pub max_distance: usize,
}

impl RelativePositions {
    /// The bucket of a key at position `key` seen from a query at position `query`.
    pub fn bucket(self, query: usize, key: usize) -> usize {
        let half = self.buckets / 2;
        let exact = half / 2;
        let distance = query.abs_diff(key);
        let of_direction = if distance < exact {
            distance
        } else {
            // In f32, as the network was trained: some distances lie on the border of two
            // buckets, and fall to the other side in f64.
            let ratio = (distance as f32 / exact as f32).ln();
            let range = (self.max_distance as f64 / exact as f64).ln() as f32;
            let further = (ratio / range * (half - exact) as f32) as usize;
            (exact + further).min(half - 1)
        };
        if key > query { half + of_direction } else { of_direction }
    }

    /// The buckets of all pairs of `tokens` tokens, query by query.
    pub fn table(self, tokens: usize) -> Vec<usize> {
        (0..tokens).flat_map(|query| (0..tokens).map(move |key| self.bucket(query, key))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_distances_are_exact_and_far_ones_share() {
        let positions = RelativePositions { buckets: 32, max_distance: 128 };
        assert_eq!(positions.bucket(10, 10), 0);
        assert_eq!(positions.bucket(10, 3), 7);
        assert_eq!(positions.bucket(3, 10), 16 + 7);
        assert_eq!(positions.bucket(500, 0), 15);
        assert_eq!(positions.bucket(0, 500), 31);
        let far: Vec<usize> = (0..200).map(|query| positions.bucket(query, 0)).collect();
        assert!(far.is_sorted());
        assert_eq!(far[127], 15);
    }
}
