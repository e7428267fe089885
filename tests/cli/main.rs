//! The program from outside: what it prints, what it exits with, and that README, examples and schema tell the truth.

mod bad_input;
mod check;
mod docs;
mod estimate;
mod plot;
mod support;
