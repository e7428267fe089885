//! Least squares for a handful of unknowns: Levenberg and Marquardt's steps with differences for derivatives.

const STEPS: usize = 40;

/// The unknowns, none below zero, for which the sum of squared `residuals` is least, from a start.
pub fn least_squares(start: &[f64], residuals: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let cost = |at: &[f64]| residuals(at).iter().map(|residual| residual * residual).sum::<f64>();
    let (mut at, mut damping) = (start.to_vec(), 1e-3);
    let mut best = cost(&at);
    for _ in 0..STEPS {
        let (normal, gradient) = linearised(&at, &residuals);
        let damped: Vec<Vec<f64>> = normal
            .iter()
            .enumerate()
            .map(|(i, row)| {
                row.iter().enumerate().map(|(j, v)| if i == j { v * (1.0 + damping) + 1e-12 } else { *v }).collect()
            })
            .collect();
        let step = solve(damped, gradient);
        let next: Vec<f64> = at.iter().zip(step).map(|(value, step)| (value - step).max(0.0)).collect();
        let found = cost(&next);
        if found < best {
            (at, best, damping) = (next, found, damping / 3.0);
        } else {
            damping *= 4.0;
        }
    }
    at
}

/// Normal equations at a point: the matrix, and the right side.
fn linearised(at: &[f64], residuals: impl Fn(&[f64]) -> Vec<f64>) -> (Vec<Vec<f64>>, Vec<f64>) {
    let here = residuals(at);
    let slopes: Vec<Vec<f64>> = (0..at.len())
        .map(|index| {
            let step = 1e-4 * at[index].abs().max(1e-2);
            let mut beside = at.to_vec();
            beside[index] += step;
            residuals(&beside).iter().zip(&here).map(|(there, here)| (there - here) / step).collect()
        })
        .collect();
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let normal = slopes.iter().map(|a| slopes.iter().map(|b| product(a, b)).collect()).collect();
    (normal, slopes.iter().map(|slope| product(slope, &here)).collect())
}

/// Gauss's elimination; unknowns without any slope stay.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let n = right.len();
    for pivot in 0..n {
        let best = (pivot..n).max_by(|a, b| matrix[*a][pivot].abs().total_cmp(&matrix[*b][pivot].abs())).unwrap();
        matrix.swap(pivot, best);
        right.swap(pivot, best);
        for row in pivot + 1..n {
            let factor = matrix[row][pivot] / matrix[pivot][pivot];
            let (above, below) = matrix.split_at_mut(row);
            below[0].iter_mut().zip(&above[pivot]).for_each(|(value, known)| *value -= factor * known);
            right[row] -= factor * right[pivot];
        }
    }
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|column| matrix[row][column] * right[column]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right
}

#[test]
fn a_line_with_a_knee_is_found() {
    // The larger of a line and a level, as profile peaks are.
    let truth = |x: f64| (1.5 * x + 0.25).max(2.0);
    let points: Vec<f64> = (0..20).map(|i| f64::from(i) * 0.2).collect();
    let found =
        least_squares(&[1.0, 1.0, 1.0], |p| points.iter().map(|x| (p[0] * x + p[1]).max(p[2]) - truth(*x)).collect());
    for (found, truth) in found.iter().zip([1.5, 0.25, 2.0]) {
        assert!((found - truth).abs() < 1e-3, "{found} {truth}");
    }
}
