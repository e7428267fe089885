//! Errors of a family of rows: never a signed mean.

use std::fmt;

/// Estimates against measurements of one quantity.
#[derive(Default)]
pub struct Errors {
    rows: Vec<(String, f64)>,
    inside: usize,
    intervals: usize,
    widths: Vec<f64>,
}

impl Errors {
    /// Adds a row: relative error of `estimate` against `measured`.
    pub fn add(&mut self, name: &str, estimate: f64, measured: f64) {
        self.rows.push((name.to_owned(), (estimate - measured).abs() / measured.abs()));
    }

    /// Adds an interval around a measurement, all in GiB.
    pub fn interval(&mut self, low: f64, high: f64, measured: f64) {
        self.intervals += 1;
        self.inside += usize::from(low <= measured && measured <= high);
        self.widths.push(high - low);
    }

    /// Number of rows.
    pub fn n(&self) -> usize {
        self.rows.len()
    }

    /// Mean absolute percentage error.
    pub fn mape(&self) -> f64 {
        100.0 * self.rows.iter().map(|(_, error)| error).sum::<f64>() / self.rows.len().max(1) as f64
    }

    /// Median absolute percentage error.
    pub fn median(&self) -> f64 {
        100.0 * median(self.rows.iter().map(|(_, error)| *error).collect())
    }

    /// The worst row and its error in percent.
    pub fn worst(&self) -> (&str, f64) {
        let worst = self.rows.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        worst.map_or(("none", 0.0), |(name, error)| (name.as_str(), 100.0 * error))
    }

    /// Share of measurements inside their intervals, in percent.
    pub fn coverage(&self) -> f64 {
        100.0 * self.inside as f64 / self.intervals.max(1) as f64
    }

    /// Median width of the intervals, GiB.
    pub fn width(&self) -> f64 {
        median(self.widths.clone())
    }
}

/// The middle value, or the mean of the two in the middle; 0 of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
    if values.is_empty() { 0.0 } else { f64::midpoint(at((values.len() - 1) / 2), at(values.len() / 2)) }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, worst) = self.worst();
        write!(
            f,
            "n {:3}  MAPE {:6.2} %  median {:6.2} %  worst {worst:7.2} % ({name})",
            self.n(),
            self.mape(),
            self.median()
        )?;
        if self.intervals > 0 {
            write!(f, "  inside {:5.1} %  width {:.2} GiB", self.coverage(), self.width())?;
        }
        Ok(())
    }
}
