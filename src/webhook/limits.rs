//! Bounds on what a request may cost: size, time, number at once. Every one has a clear answer of its own.

use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Uri, header};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::error::RequestError;

/// A review holds an object and its predecessor, each at most 1.5 MiB in storage.
pub(super) const MAX_BODY: usize = 3 << 20;

/// Reviews read or answered at once. With bodies of the largest size that is 768 MiB, and never in practice.
pub(super) const MAX_REQUESTS: usize = 256;

/// When the API server does not say how long it waits.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(3);

/// The API server allows at most 30 s, so no request needs more.
const MAX_DEADLINE: Duration = Duration::from_secs(24);

/// Reads a review's body within its deadline, holding a slot that is given back when the answer is done.
///
/// # Errors
/// When the content type is wrong, the body too large, too slow or cut off, or too many requests are under way.
pub(super) async fn read(slots: &Semaphore, request: Request) -> Result<(Bytes, SemaphorePermit<'_>), RequestError> {
    require_json(request.headers())?;
    refuse_declared_size(request.headers())?;
    let wait = deadline(request.uri());
    let until = Instant::now() + wait;
    let slot = tokio::time::timeout_at(until, slots.acquire()).await;
    let Ok(Ok(slot)) = slot else { return Err(RequestError::Overloaded) };
    match tokio::time::timeout_at(until, to_bytes(request.into_body(), MAX_BODY)).await {
        Ok(Ok(body)) => Ok((body, slot)),
        Ok(Err(error)) => Err(unreadable(&error)),
        Err(_) => Err(RequestError::Timeout { millis: wait.as_millis() }),
    }
}

fn unreadable(error: &axum::Error) -> RequestError {
    let text = super::error::chain(error);
    if text.contains("length limit exceeded") {
        return RequestError::TooLarge { limit: MAX_BODY };
    }
    RequestError::Broken(text)
}

fn require_json(headers: &HeaderMap) -> Result<(), RequestError> {
    let given = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let essence = given.as_deref().and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(RequestError::ContentType(essence.chars().take(100).collect()))
}

/// Refuses before a single byte is read, where the size is declared.
fn refuse_declared_size(headers: &HeaderMap) -> Result<(), RequestError> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    match declared {
        Some(size) if size > MAX_BODY => Err(RequestError::TooLarge { limit: MAX_BODY }),
        _ => Ok(()),
    }
}

/// Four fifths of the API server's own timeout (`?timeout=10s`), so that our answer comes before its error.
fn deadline(uri: &Uri) -> Duration {
    let query = uri.query().unwrap_or_default();
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("timeout=")).and_then(go_duration);
    asked.map_or(DEFAULT_DEADLINE, |asked| asked.mul_f64(0.8).min(MAX_DEADLINE))
}

/// `500ms`, `10s`, `1m0s`: the durations that Go prints. Zero and anything else is `None`.
fn go_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 4] = [("ms", 0.001), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let (unit, factor) = UNITS.iter().find(|(unit, _)| tail.starts_with(unit))?;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = tail.strip_prefix(unit)?;
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_is_four_fifths_of_the_api_servers_timeout() {
        let deadline_of = |uri: &str| deadline(&uri.parse().unwrap());
        assert_eq!(deadline_of("/validate?timeout=10s"), Duration::from_secs(8));
        assert_eq!(deadline_of("/validate?x=1&timeout=500ms"), Duration::from_millis(400));
        assert_eq!(deadline_of("/validate?timeout=1m30s"), MAX_DEADLINE);
        for none in [
            "/validate",
            "/validate?timeout=",
            "/validate?timeout=0s",
            "/validate?timeout=-3s",
            "/validate?timeout=1e999s",
        ] {
            assert_eq!(deadline_of(none), DEFAULT_DEADLINE, "{none}");
        }
    }

    #[test]
    fn only_json_is_read() {
        let with = |value: &str| HeaderMap::from_iter([(header::CONTENT_TYPE, value.parse().unwrap())]);
        assert!(require_json(&with("application/json")).is_ok());
        assert!(require_json(&with("Application/JSON; charset=utf-8")).is_ok());
        assert!(require_json(&with("text/plain")).is_err());
        assert!(require_json(&HeaderMap::new()).is_err());
    }
}
