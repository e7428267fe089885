//! Columns of toned text that keep to a total width.

use super::style::{Span, Tone, shorten};

/// A column: its title and how far it may shrink.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// Title.
    pub title: &'static str,
    /// The least width that it keeps when the table is too wide; `None` never shrinks.
    pub least: Option<usize>,
    /// Numbers stand right.
    pub right: bool,
}

impl Column {
    /// A column that never shrinks.
    pub(crate) const fn fixed(title: &'static str) -> Self {
        Self { title, least: None, right: false }
    }

    /// A column that is cut to no less than `least` characters if the table is too wide.
    pub(crate) const fn flexible(title: &'static str, least: usize) -> Self {
        Self { title, least: Some(least), right: false }
    }

    /// A column of numbers.
    pub(crate) const fn number(title: &'static str) -> Self {
        Self { title, least: None, right: true }
    }
}

/// One cell: pieces in a row.
pub(crate) type Cell = Vec<Span>;

/// Blanks between columns.
const GAP: usize = 2;

/// Lays rows out under columns. Every row becomes one line without trailing blanks.
pub(crate) struct Grid {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Grid {
    /// An empty grid.
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row; missing cells are empty.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The header line and one line a row.
    pub(crate) fn lines(&self, total: usize) -> Vec<String> {
        let widths = self.widths(total);
        let titles: Vec<Cell> = self.columns.iter().map(|column| vec![Span::new(column.title, Tone::Strong)]).collect();
        std::iter::once(&titles).chain(&self.rows).map(|row| self.line(row, &widths)).collect()
    }

    fn widths(&self, total: usize) -> Vec<usize> {
        let natural = |(position, column): (usize, &Column)| {
            let cells = self.rows.iter().filter_map(|row| row.get(position)).map(|cell| width(cell));
            cells.max().unwrap_or(0).max(column.title.chars().count())
        };
        let mut widths: Vec<usize> = self.columns.iter().enumerate().map(natural).collect();
        let mut excess = (widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)).saturating_sub(total);
        // The widest flexible column gives first, one character at a time: at most a few hundred steps.
        while excess > 0 {
            let able = widths.iter_mut().zip(&self.columns).filter(|(w, column)| column.least.is_some_and(|l| **w > l));
            let Some((widest, _)) = able.max_by_key(|(width, _)| **width) else { break };
            *widest -= 1;
            excess -= 1;
        }
        widths
    }

    fn line(&self, row: &[Cell], widths: &[usize]) -> String {
        let mut line = String::new();
        let mut owed = 0;
        for ((cell, column), &room) in row.iter().zip(&self.columns).zip(widths) {
            let cell = cut(cell, room);
            let blank = room.saturating_sub(width(&cell));
            let (before, after) = if column.right { (blank, 0) } else { (0, blank) };
            if width(&cell) > 0 {
                line.extend(std::iter::repeat_n(' ', owed + before));
                owed = 0;
                for span in &cell {
                    line.push_str(&span.painted());
                }
            } else {
                owed += before;
            }
            owed += after + GAP;
        }
        line
    }
}

fn width(cell: &[Span]) -> usize {
    cell.iter().map(Span::width).sum()
}

fn cut(cell: &[Span], room: usize) -> Cell {
    let mut left = room;
    let mut kept = Vec::new();
    for span in cell {
        if left == 0 {
            break;
        }
        let text = shorten(&span.text, left);
        left -= text.chars().count();
        kept.push(Span::new(text, span.tone));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Cell {
        vec![Span::new(text, Tone::Plain)]
    }

    fn bare(columns: Vec<Column>, rows: &[&[&str]], total: usize) -> Vec<String> {
        let mut grid = Grid::new(columns);
        for row in rows {
            grid.row(row.iter().map(|text| plain(text)).collect());
        }
        grid.lines(total).into_iter().skip(1).collect()
    }

    #[test]
    fn numbers_stand_right_and_lines_have_no_trailing_blanks() {
        let columns = vec![Column::fixed("A"), Column::number("GiB"), Column::fixed("B")];
        let lines = bare(columns, &[&["x", "1.0", ""], &["long", "12.0", "y"]], 40);
        assert_eq!(lines, ["x      1.0", "long  12.0  y"]);
    }

    #[test]
    fn only_flexible_columns_shrink() {
        let columns = vec![Column::flexible("A", 3), Column::fixed("B")];
        let lines = bare(columns, &[&["abcdefgh", "12345678"]], 14);
        assert_eq!(lines, ["abc…  12345678"]);
    }
}
