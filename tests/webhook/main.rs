//! The admission server over real sockets: what it answers, and that it is still there afterwards.

mod client;
mod decisions;
mod drain;
mod hostile;
mod probes;
mod server;
mod tls;
mod watch;
