//! A client that calls a webhook as the API server does: HTTP/1.1 over TLS, on connections that are kept.
//!
//! One thread for each connection, without a runtime between it and the clock: runtimes wake sleepers by the millisecond, which is all the
//! time there is. Threads call by a timetable and not when an answer is there, and a call's time counts from when it was due, so that a
//! server which stalls is charged for everybody who would have called meanwhile.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// More than ever wait at a thousand calls a second, and few enough that a new one costs nothing.
const CONNECTIONS: u32 = 8;

/// What is called.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where it is.
    pub address: SocketAddr,
    /// The path, with its query.
    pub path: String,
    /// Whom it is to prove itself to.
    pub tls: Arc<ClientConfig>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Calls once.
pub fn call(endpoint: &Endpoint, body: &[u8]) -> Result<Answer> {
    Connection::open(endpoint)?.call(&request(endpoint, body))
}

/// Calls `rate` times a second, `calls` times in all, and says how long each took from when it was due. All answers must be `expected`.
pub fn at_rate(
    endpoint: &Endpoint,
    body: &[u8],
    expected: &Answer,
    rate: u32,
    calls: u32,
) -> Result<Vec<Duration>> {
    let request = request(endpoint, body);
    let begin = Instant::now() + Duration::from_millis(50);
    let times = on_every_connection(|place| {
        let mut connection = Connection::open(endpoint)?;
        // Sleeps end when they should, not up to 50 microseconds later.
        nix::sys::prctl::set_timerslack(1).context("set the timer slack")?;
        let mut times = Vec::new();
        for number in (place..calls).step_by(CONNECTIONS as usize) {
            let due = begin + Duration::from_secs(1) * number / rate;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            connection.expect(&request, expected)?;
            times.push(due.elapsed());
        }
        Ok(times)
    })?;
    Ok(times.concat())
}

/// Calls as fast as answers come, `calls` times in all. All answers must be `expected`.
pub fn at_full_speed(endpoint: &Endpoint, body: &[u8], expected: &Answer, calls: u32) -> Result<Duration> {
    let request = request(endpoint, body);
    let begin = Instant::now();
    on_every_connection(|_| {
        let mut connection = Connection::open(endpoint)?;
        (0..calls / CONNECTIONS).try_for_each(|_| connection.expect(&request, expected))
    })?;
    Ok(begin.elapsed())
}

fn on_every_connection<T: Send>(work: impl Fn(u32) -> Result<T> + Sync) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|place| scope.spawn(move || work(place)))
            .collect();
        let results = threads
            .into_iter()
            .map(|thread| thread.join().expect("what goes wrong is an error, not a panic"));
        results.collect()
    })
}

fn request(endpoint: &Endpoint, body: &[u8]) -> Vec<u8> {
    let Endpoint { address, path, .. } = endpoint;
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: kube-apiserver-admission\r\nContent-Length: {length}\r\n\
         Accept: application/json, */*\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

struct Connection(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Connection {
    fn open(endpoint: &Endpoint) -> Result<Self> {
        let Endpoint { address, tls, .. } = endpoint;
        let tcp = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        tcp.set_nodelay(true)?;
        let tls = ClientConnection::new(tls.clone(), ServerName::IpAddress(address.ip().into()))?;
        Ok(Self(BufReader::new(StreamOwned::new(tls, tcp))))
    }

    fn expect(&mut self, request: &[u8], expected: &Answer) -> Result<()> {
        let answer = self.call(request)?;
        ensure!(
            answer == *expected,
            "answered {} {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        Ok(())
    }

    fn call(&mut self, request: &[u8]) -> Result<Answer> {
        self.0.get_mut().write_all(request).context("send")?;
        let status_line = self.line()?;
        let status = status_line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .with_context(|| format!("{status_line:?} is no answer"))?;
        let mut length = None;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(bytes) = line.strip_prefix("content-length:") {
                length = Some(bytes.trim().parse()?);
            }
        }
        let mut body = vec![0; length.context("an answer without Content-Length")?];
        self.0.read_exact(&mut body).context("read the answer")?;
        Ok(Answer { status, body })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).context("read the answer")?;
        Ok(line.trim_end().to_owned())
    }
}
