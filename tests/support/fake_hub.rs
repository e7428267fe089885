//! A Hub on the loopback address that answers as a test wants it to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a request was answered with.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A status line's end, header lines, a body; its length is added.
    Full(&'static str, Vec<String>, Vec<u8>),
    /// These bytes, then the end of the connection.
    Raw(Vec<u8>),
    /// These bytes, then so many more of the same, as long as somebody reads.
    Endless(Vec<u8>, u64),
    /// Nothing for a long time.
    Silence,
}

/// A file.
pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Answer {
    Answer::Full("200 OK", Vec::new(), body.into())
}

/// A status without a body worth reading.
pub(crate) fn status(status: &'static str, headers: &[&str]) -> Answer {
    Answer::Full(status, headers.iter().map(|&line| line.to_owned()).collect(), b"secret page".to_vec())
}

/// The server; it ends with the process.
#[derive(Clone, Debug)]
pub(crate) struct FakeHub {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FakeHub {
    /// Answers each request by what the function makes of its path.
    pub(crate) fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hub = Self { address: listener.local_addr().unwrap(), requests: Arc::default() };
        let (requests, answer) = (Arc::clone(&hub.requests), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (requests, answer) = (Arc::clone(&requests), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &requests, answer.as_ref()));
            }
        });
        hub
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests so far: request line and headers.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Paths that were asked for.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.requests().iter().map(|request| request.split(' ').nth(1).unwrap().to_owned()).collect()
    }
}

fn serve(mut stream: TcpStream, requests: &Mutex<Vec<String>>, answer: &dyn Fn(&str) -> Answer) {
    let mut request = Vec::new();
    let mut byte = [0; 1];
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        request.push(byte[0]);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    requests.lock().unwrap().push(request);
    // A client that has seen enough closes the connection: that is its right.
    let _ = match answer(&path) {
        Answer::Full(status, headers, body) => {
            let lines = headers.iter().fold(String::new(), |lines, line| lines + line + "\r\n");
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{lines}\r\n");
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body))
        }
        Answer::Raw(bytes) => stream.write_all(&bytes),
        Answer::Endless(head, more) => stream.write_all(&head).and_then(|()| {
            let chunk = vec![b'x'; 65_536];
            (0..more / chunk.len() as u64).try_for_each(|_| stream.write_all(&chunk))
        }),
        Answer::Silence => {
            std::thread::sleep(Duration::from_secs(20));
            Ok(())
        }
    };
}
