//! Reports as text and charts. Pure: a report in, a string out; colours are always written and dropped by the writer.

pub mod answers;
pub(crate) mod bar;
pub mod breakdown;
pub mod chart;
pub(crate) mod explain;
pub(crate) mod grid;
pub(crate) mod junit;
pub(crate) mod sarif;
pub mod stack;
pub(crate) mod style;
pub mod table;
pub mod tree;

/// The width that tables keep to, in characters.
pub const WIDTH: usize = 100;
