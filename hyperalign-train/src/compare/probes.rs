//! How the weights that a hypernetwork emits change along the steps and differ between prompts.

use super::WeightPath;

/// Rounds of the power iteration.
const ROUNDS: usize = 200;

/// What `updates` are: by update of a trajectory, then by prompt, flat. `None` if there are no two.
pub fn weight_path(updates: &[Vec<Vec<f32>>]) -> Option<WeightPath> {
    let prompts = updates.first().map_or(0, Vec::len);
    if updates.len() < 2 || prompts == 0 {
        return None;
    }
    let over_prompts =
        |of: &dyn Fn(usize) -> f64| (0..prompts).map(of).sum::<f64>() / prompts as f64;
    let cosine = updates
        .iter()
        .map(|update| over_prompts(&|k| cosine(&updates[0][k], &update[k])))
        .collect();
    let mut change = vec![0.0];
    change
        .extend(updates.windows(2).map(|two| over_prompts(&|k| relative(&two[0][k], &two[1][k]))));
    let rows: Vec<&[f32]> =
        (0..prompts).flat_map(|k| updates.iter().map(move |update| update[k].as_slice())).collect();
    let (places, explained) = plane(&rows);
    let plane = places.chunks(updates.len()).map(<[_]>::to_vec).collect();
    Some(WeightPath { cosine, change, plane, explained })
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE)
}

/// `|b - a| / |a|`.
fn relative(a: &[f32], b: &[f32]) -> f64 {
    let square = dot(a, a) - 2.0 * dot(a, b) + dot(b, b);
    square.max(0.0).sqrt() / dot(a, a).sqrt().max(f64::MIN_POSITIVE)
}

/// Where `rows` lie in the plane of their first two principal components, and the shares of the
/// variance that these have. By the Gram matrix: there are far fewer rows than weights.
fn plane(rows: &[&[f32]]) -> (Vec<[f64; 2]>, [f64; 2]) {
    let n = rows.len();
    let mut gram: Vec<Vec<f64>> =
        rows.iter().map(|a| rows.iter().map(|b| dot(a, b)).collect()).collect();
    let means: Vec<f64> = gram.iter().map(|row| row.iter().sum::<f64>() / n as f64).collect();
    let mean = means.iter().sum::<f64>() / n as f64;
    for (i, row) in gram.iter_mut().enumerate() {
        for (j, value) in row.iter_mut().enumerate() {
            *value += mean - means[i] - means[j];
        }
    }
    let total: f64 = (0..n).map(|k| gram[k][k]).sum();
    let (mut places, mut explained) = (vec![[0.0; 2]; n], [0.0; 2]);
    for component in 0..2 {
        let (value, vector) = largest(&gram);
        explained[component] = value / total.max(f64::MIN_POSITIVE);
        for (place, at) in places.iter_mut().zip(&vector) {
            place[component] = at * value.max(0.0).sqrt();
        }
        for (i, row) in gram.iter_mut().enumerate() {
            for (j, entry) in row.iter_mut().enumerate() {
                *entry -= value * vector[i] * vector[j];
            }
        }
    }
    (places, explained)
}

/// The largest eigenvalue of a symmetric matrix that has none below 0, and its vector.
fn largest(matrix: &[Vec<f64>]) -> (f64, Vec<f64>) {
    let n = matrix.len();
    // Not orthogonal to anything in particular, and the same every time.
    let mut vector: Vec<f64> = (0..n).map(|k| 1.0 + (k as f64 * 0.7).sin()).collect();
    let mut value = 0.0;
    for _ in 0..ROUNDS {
        let next: Vec<f64> =
            matrix.iter().map(|row| row.iter().zip(&vector).map(|(a, b)| a * b).sum()).collect();
        let length = next.iter().map(|v| v * v).sum::<f64>().sqrt();
        if length < 1e-300 {
            return (0.0, vec![0.0; n]);
        }
        value = length;
        vector = next.into_iter().map(|v| v / length).collect();
    }
    (value, vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two prompts that move along one direction and lie apart in another one.
    #[test]
    fn a_path_of_known_weights() {
        let at = |x: f32, y: f32| vec![3.0 + x, 1.0 + y, 2.0];
        let updates: Vec<Vec<Vec<f32>>> =
            (0..4).map(|i| vec![at(i as f32, 0.0), at(i as f32, 0.5)]).collect();
        let path = weight_path(&updates).unwrap();
        assert_eq!((path.plane.len(), path.plane[0].len()), (2, 4));
        assert!((path.cosine[0] - 1.0).abs() < 1e-9 && path.cosine[3] < path.cosine[1]);
        assert_eq!(path.change[0], 0.0);
        assert!((path.change[1] - (1.0 / 14f64.sqrt() + 1.0 / 15.25f64.sqrt()) / 2.0).abs() < 1e-6);
        // Distances in the plane are those of the weights: they lie in one.
        let gap = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
        assert!((gap(path.plane[0][0], path.plane[0][3]) - 3.0).abs() < 1e-6, "{path:?}");
        assert!((gap(path.plane[0][0], path.plane[1][0]) - 0.5).abs() < 1e-6);
        assert!((path.explained[0] + path.explained[1] - 1.0).abs() < 1e-9);
        assert!(path.explained[0] > 0.9);
    }

    #[test]
    fn what_does_not_change_has_no_path() {
        let still = vec![vec![vec![1.0, 2.0]]; 3];
        let path = weight_path(&still).unwrap();
        assert_eq!((path.cosine[2], path.change[2]), (1.0, 0.0));
        assert!(path.explained[0].abs() < 1e-9);
        assert!(weight_path(&still[..1]).is_none() && weight_path(&[]).is_none());
    }
}
