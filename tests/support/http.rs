//! The least of an HTTP client: one plain GET to a port of ours.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

const LIMIT: Duration = Duration::from_secs(10);

/// Status code and body. HTTP/1.0, so that the body is neither chunked nor followed by another.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8(answer).context("an answer that is not text")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without head")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("an answer without status")?;
    Ok((status, body.to_owned()))
}
