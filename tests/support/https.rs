//! The least of an HTTPS client, for requests that no well-behaved client makes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const LIMIT: Duration = Duration::from_secs(20);

/// Sends a body in one piece and returns status code and answer. The server may answer before it has read everything.
pub(crate) fn post(
    address: SocketAddr,
    authority: &str,
    path: &str,
    content_type: &str,
    body: &[u8],
) -> Result<(u16, String)> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).context("the authority is not PEM")?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), ServerName::from(address.ip()))?;
    let socket = TcpStream::connect_timeout(&address, LIMIT)?;
    socket.set_read_timeout(Some(LIMIT))?;
    socket.set_write_timeout(Some(LIMIT))?;
    let mut stream = StreamOwned::new(connection, socket);
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: {content_type}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    )?;
    // A server that refuses a body by its declared size stops reading: the rest cannot be written, the answer is there.
    let _ = stream.write_all(body).and_then(|()| stream.flush());
    answer(stream)
}

/// Reads what is there, without a word to a server that may have hung up.
fn answer(mut stream: StreamOwned<ClientConnection, TcpStream>) -> Result<(u16, String)> {
    let mut bytes = Vec::new();
    while stream.conn.read_tls(&mut stream.sock).is_ok_and(|read| read > 0) {
        stream.conn.process_new_packets()?;
        // The end of what has arrived so far is an error here, and none.
        let _ = stream.conn.reader().read_to_end(&mut bytes);
    }
    let text = String::from_utf8(bytes).context("an answer that is not text")?;
    let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("no answer in {text:?}"))?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("an answer without status")?;
    Ok((status, body.to_owned()))
}
