//! Models built from their published numbers, and statistics over measured rows.

pub mod models;

/// One measurement beside its estimate, in GiB.
#[derive(Debug, Clone)]
pub struct Row {
    pub group: String,
    pub name: String,
    pub measured: f64,
    pub low: f64,
    pub likely: f64,
    pub high: f64,
}

impl Row {
    pub fn error(&self) -> f64 {
        self.likely / self.measured - 1.0
    }

    pub fn covered(&self) -> bool {
        self.low <= self.measured && self.measured <= self.high
    }

    pub fn width(&self) -> f64 {
        (self.high - self.low) / self.likely
    }
}

/// Figures over a set of rows.
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    pub count: usize,
    /// Mean absolute relative error.
    pub mape: f64,
    /// Median absolute relative error.
    pub median: f64,
    /// Largest relative error by magnitude, with its sign.
    pub worst: f64,
    /// Share of rows inside their interval.
    pub coverage: f64,
    /// Median width of the interval over the estimate.
    pub width: f64,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub fn summarize<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Summary {
    let rows: Vec<&Row> = rows.into_iter().collect();
    let count = rows.len();
    let errors: Vec<f64> = rows.iter().map(|row| row.error().abs()).collect();
    let worst = rows.iter().map(|row| row.error()).max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(f64::NAN);
    Summary {
        count,
        mape: errors.iter().sum::<f64>() / count as f64,
        median: median(errors),
        worst,
        coverage: rows.iter().filter(|row| row.covered()).count() as f64 / count as f64,
        width: median(rows.iter().map(|row| row.width()).collect()),
    }
}

/// A line per group and one for all, with the single rows when `VRAMGUARD_ROWS` is set.
pub fn lines(title: &str, rows: &[Row]) -> Vec<String> {
    let mut lines = vec![title.to_owned()];
    let mut groups: Vec<&str> = rows.iter().map(|row| row.group.as_str()).collect();
    groups.sort_unstable();
    groups.dedup();
    for group in groups {
        lines.push(line(group, summarize(rows.iter().filter(|row| row.group == group))));
        if std::env::var_os("VRAMGUARD_ROWS").is_some() {
            lines.extend(rows.iter().filter(|row| row.group == group).map(single));
        }
    }
    lines.push(line("all", summarize(rows)));
    lines
}

/// One line of figures.
pub fn line(name: &str, s: Summary) -> String {
    format!(
        "  {name:<46} n {:>3}  MAPE {:>5.1}%  median {:>5.1}%  worst {:>+6.1}%  inside {:>3.0}%  width {:>3.0}%",
        s.count,
        100.0 * s.mape,
        100.0 * s.median,
        100.0 * s.worst,
        100.0 * s.coverage,
        100.0 * s.width
    )
}

fn single(row: &Row) -> String {
    format!(
        "    {:>+6.1}% {} measured {:>7.2} estimate {:>7.2} [{:.1}, {:.1}]  {}",
        100.0 * row.error(),
        if row.covered() { ' ' } else { '!' },
        row.measured,
        row.likely,
        row.low,
        row.high,
        row.name
    )
}
