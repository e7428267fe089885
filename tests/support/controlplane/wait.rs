//! Waiting for something that another process will do.

use std::time::{Duration, Instant};

use anyhow::Result;

const PAUSE: Duration = Duration::from_millis(50);

/// The time was over before what was waited for came.
#[derive(Debug, thiserror::Error)]
#[error("waited {} s in vain for {what}", limit.as_secs())]
pub(crate) struct Overdue {
    what: String,
    limit: Duration,
}

/// Asks until the condition holds. An error of the condition ends the wait at once.
///
/// # Errors
/// [`Overdue`] when the time is over.
pub(crate) fn until(what: &str, limit: Duration, condition: impl Fn() -> Result<bool>) -> Result<()> {
    let clock = Instant::now();
    while !condition()? {
        if clock.elapsed() > limit {
            return Err(Overdue { what: what.to_owned(), limit }.into());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Asks until the answer is `Ok`, and returns the last answer when the time is over.
pub(crate) fn eventually<T, E>(limit: Duration, ask: impl Fn() -> Result<T, E>) -> Result<T, E> {
    let clock = Instant::now();
    loop {
        let answer = ask();
        if answer.is_ok() || clock.elapsed() > limit {
            return answer;
        }
        std::thread::sleep(PAUSE);
    }
}
