//! Estimates against measurements of real runs, through the same path as `check` and the webhook.
//!
//! Prints, per family: rows, mean absolute percentage error, median, worst row, and how many measurements lie inside
//! the interval. Fails when a target is missed. `tests/data/README.md` names the sources.

mod serving;
mod statistics;
mod support;
mod training;
