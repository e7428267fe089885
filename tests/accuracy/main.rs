//! Estimates against measurements: prints error and coverage per framework and holds them to a limit.

mod support;
mod training;
