//! Free TCP ports on the loopback address.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result};

/// Below the range that Linux hands to outgoing connections (32768 and up): a port found free here cannot be taken by
/// somebody's client socket before our server binds it.
const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;

/// A port that nothing listens on, and that this process has not been given before.
pub(crate) fn free() -> Result<u16> {
    // Two test processes at once start their search in different places.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let width = LAST - FIRST;
    let offset = (std::process::id() % u32::from(width)) as u16;
    (0..width)
        .map(|_| FIRST + offset.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % width)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .context("no free port on the loopback address")
}
