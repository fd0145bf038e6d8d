//! The best approximation of a sum of products by fewer of them.

/// The best update of a rank.
pub(super) struct Best {
    /// Columns of the factor next to the output.
    pub ups: Vec<Vec<f64>>,
    /// Rows of the factor next to the input.
    pub downs: Vec<Vec<f64>>,
    /// The square of what is missing.
    pub lost: f64,
    /// The square of the whole.
    pub all: f64,
}

/// Singular values below this, relative to the largest, are rounding.
const NOTHING: f64 = 1e-7;

/// The best approximation of `sum_k ups[k] downs[k]^T` by at most `rank` products: its truncated
/// singular value decomposition (Eckart & Young 1936, Psychometrika 1, 211-218). The matrix itself
/// is never formed; the work is that of matrices of as many rows as there are products.
pub(super) fn best_of_rank(ups: &[Vec<f64>], downs: &[Vec<f64>], rank: usize) -> Best {
    let (out, input) = (Basis::of(ups), Basis::of(downs));
    // In both bases, the sum is this small matrix; its decomposition is that of the whole.
    let core: Vec<Vec<f64>> = out
        .coordinates
        .iter()
        .map(|row| {
            let product = |column: &Vec<f64>| dot(row, column);
            input.coordinates.iter().map(product).collect()
        })
        .collect();
    let gram = gram(&core);
    let (squares, left) = eigen(gram);
    let all: f64 = squares.iter().map(|square| square.max(0.0)).sum();
    let largest = squares.first().copied().unwrap_or(0.0).max(0.0).sqrt();
    let (mut kept_ups, mut kept_downs, mut kept) = (Vec::new(), Vec::new(), 0.0);
    for (square, vector) in squares.iter().zip(&left).take(rank) {
        let sigma = square.max(0.0).sqrt();
        if sigma <= NOTHING * largest {
            break;
        }
        kept += square;
        // core^T u = sigma v; the root of sigma goes to each side.
        let columns = core.first().map_or(0, Vec::len);
        let right: Vec<f64> = (0..columns)
            .map(|j| core.iter().zip(vector).map(|(row, u)| row[j] * u).sum::<f64>() / sigma)
            .collect();
        let half = sigma.sqrt();
        kept_ups.push(out.vector(vector, half));
        kept_downs.push(input.vector(&right, half));
    }
    if kept_ups.is_empty() {
        // An update of nothing still has to be one.
        kept_ups.push(vec![0.0; ups.first().map_or(0, Vec::len)]);
        kept_downs.push(vec![0.0; downs.first().map_or(0, Vec::len)]);
    }
    Best { ups: kept_ups, downs: kept_downs, lost: (all - kept).max(0.0), all }
}

/// An orthonormal basis of the space of some vectors, and the vectors in it.
struct Basis {
    vectors: Vec<Vec<f64>>,
    /// Of each basis vector, its product with every given vector.
    coordinates: Vec<Vec<f64>>,
}

impl Basis {
    /// By Gram-Schmidt, each vector twice, which leaves no more than rounding (Giraud et al. 2005,
    /// Numer. Math. 101, 87-100).
    fn of(given: &[Vec<f64>]) -> Self {
        let mut vectors: Vec<Vec<f64>> = Vec::new();
        let largest = given.iter().map(|vector| dot(vector, vector)).fold(0.0, f64::max).sqrt();
        for vector in given {
            let mut rest = vector.clone();
            for _ in 0..2 {
                for basis in &vectors {
                    let along = dot(&rest, basis);
                    rest.iter_mut().zip(basis).for_each(|(x, b)| *x -= along * b);
                }
            }
            let length = dot(&rest, &rest).sqrt();
            if length > 1e-12 * largest {
                vectors.push(rest.into_iter().map(|x| x / length).collect());
            }
        }
        let along = |basis: &Vec<f64>| given.iter().map(|vector| dot(basis, vector)).collect();
        let coordinates = vectors.iter().map(along).collect();
        Self { vectors, coordinates }
    }

    /// The vector with these coordinates, times `factor`.
    fn vector(&self, coordinates: &[f64], factor: f64) -> Vec<f64> {
        let mut sum = vec![0.0; self.vectors.first().map_or(0, Vec::len)];
        for (basis, coordinate) in self.vectors.iter().zip(coordinates) {
            sum.iter_mut().zip(basis).for_each(|(x, b)| *x += factor * coordinate * b);
        }
        sum
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The products of all rows with each other.
fn gram(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    rows.iter().map(|a| rows.iter().map(|b| dot(a, b)).collect()).collect()
}

/// Eigenvalues of a symmetric matrix, the largest first, and their vectors, by Jacobi's rotations
/// (Golub & Van Loan 2013, Matrix Computations, section 8.5).
fn eigen(mut a: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    const SWEEPS: usize = 30;
    let n = a.len();
    let mut vectors: Vec<Vec<f64>> =
        (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for _ in 0..SWEEPS {
        let diagonal: f64 = (0..n).map(|i| a[i][i] * a[i][i]).sum();
        let rest: f64 =
            (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[i][j] * a[i][j]).sum();
        if rest <= 1e-30 * diagonal {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if a[p][q] == 0.0 {
                    continue;
                }
                let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
                let sign = if theta < 0.0 { -1.0 } else { 1.0 };
                let t = sign / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for row in &mut a {
                    let (x, y) = (row[p], row[q]);
                    (row[p], row[q]) = (c * x - s * y, s * x + c * y);
                }
                rotate(&mut a, [p, q], [c, s]);
                // The vectors are the rows.
                rotate(&mut vectors, [p, q], [c, s]);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[j][j].total_cmp(&a[i][i]));
    (order.iter().map(|&i| a[i][i]).collect(), order.iter().map(|&i| vectors[i].clone()).collect())
}

/// Turns the rows `p` and `q`, of which `p` comes first, in their plane.
fn rotate(rows: &mut [Vec<f64>], [p, q]: [usize; 2], [c, s]: [f64; 2]) {
    let (head, tail) = rows.split_at_mut(q);
    for (x, y) in head[p].iter_mut().zip(&mut tail[0]) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors(count: usize, length: usize, seed: f64) -> Vec<Vec<f64>> {
        let value = |i: usize, j: usize| ((7 * i * i + 13 * j + i * j * j) as f64 * seed).sin();
        (0..count).map(|i| (0..length).map(|j| value(i, j)).collect()).collect()
    }

    fn matrix(ups: &[Vec<f64>], downs: &[Vec<f64>]) -> Vec<f64> {
        let (rows, columns) = (ups[0].len(), downs[0].len());
        let at = |i: usize, j: usize| ups.iter().zip(downs).map(|(u, d)| u[i] * d[j]).sum();
        (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))).map(|(i, j)| at(i, j)).collect()
    }

    fn distance(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>()
    }

    #[test]
    fn all_of_it_is_exact() {
        let (ups, downs) = (vectors(4, 6, 0.9), vectors(4, 5, 1.7));
        let whole = matrix(&ups, &downs);
        let best = best_of_rank(&ups, &downs, 4);
        assert!(distance(&matrix(&best.ups, &best.downs), &whole) < 1e-20);
        assert!(best.lost < 1e-12 * best.all);
        assert!((best.all - whole.iter().map(|x| x * x).sum::<f64>()).abs() < 1e-9);
        // Twice the same is of the same rank.
        let twice = [ups.clone(), ups].concat();
        let best = best_of_rank(&twice, &[downs.clone(), downs].concat(), 8);
        assert_eq!(best.ups.len(), 4);
    }

    #[test]
    fn what_is_left_out_is_what_is_told_and_as_little_as_can_be() {
        let (ups, downs) = (vectors(5, 7, 0.4), vectors(5, 6, 2.3));
        let whole = matrix(&ups, &downs);
        for rank in 1..5 {
            let best = best_of_rank(&ups, &downs, rank);
            assert_eq!(best.ups.len(), rank);
            let found = matrix(&best.ups, &best.downs);
            let lost = distance(&found, &whole);
            assert!((lost - best.lost).abs() < 1e-9 * best.all, "{rank}: {lost} {}", best.lost);
            // Any other of this rank is farther away: here, those that leave products out.
            for skip in 0..=5 - rank {
                let other = matrix(&ups[skip..skip + rank], &downs[skip..skip + rank]);
                assert!(lost <= distance(&other, &whole));
            }
        }
    }

    #[test]
    fn nothing_is_one_product_of_nothing() {
        let best = best_of_rank(&[vec![0.0; 3]], &[vec![1.0; 2]], 2);
        assert_eq!((best.ups.len(), best.downs.len(), best.all), (1, 1, 0.0));
    }
}
