//! The status page.
//! A question over HTTP/1.1 -> the report, or a part of it, as text or JSON.
//! Invariant: it only reads, and takes no more than a few connections and a small head.
//! Leaves out: what the answers say (`report`, `health`, `metrics`).
//!
//! ```text
//! /health            200 while messages are taken and safe, else 503; JSON with reasons
//! /health?strict     503 also when somebody should look
//! /metrics           for Prometheus
//! /api/v1/status     everything
//! /api/v1/health, counters, targets, clients
//! ```

use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::debug;

use super::{Rooms, State, metrics};
use crate::config::status::Address;
use crate::limits::{
    ACCEPT_PAUSE, STATUS_ASK_TIME_MAX, STATUS_CONNECTIONS_MAX, STATUS_HEAD_BYTES_MAX,
};
use crate::local_socket;
use crate::pipeline::accept::inherit::Inherited;

/// A socket for the status page, bound and non-blocking.
#[derive(Debug)]
pub enum Listener {
    /// Of TCP.
    Tcp(StdTcpListener),
    /// In the file system.
    Unix(StdUnixListener),
}

impl Listener {
    /// Binds an address that is not inherited. A socket that a daemon before has left in the file system is
    /// replaced; anything else there is not. Everybody on this machine may ask at it,
    /// as at a port of the loopback.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(address: &Address, inherited: &mut Inherited) -> io::Result<Listener> {
        match address {
            Address::Tcp(address) => {
                let listener = match inherited.take_stream(*address) {
                    Some(listener) => listener,
                    None => StdTcpListener::bind(address)?,
                };
                listener.set_nonblocking(true)?;
                Ok(Listener::Tcp(listener))
            }
            Address::Unix(path) => local_socket::bind(path, 0o666).map(Listener::Unix),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        match self {
            Listener::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| String::new(), |address| address.to_string())
            }
            Listener::Unix(listener) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                path.map_or_else(String::new, |path| format!("unix:{}", path.display()))
            }
        }
    }
}

/// Answers from now on, until the runtime ends.
///
/// # Errors
/// When the socket cannot be waited for.
pub fn serve(listener: Listener, rooms: Arc<Rooms>) -> io::Result<()> {
    let seats = Arc::new(Semaphore::new(STATUS_CONNECTIONS_MAX));
    match listener {
        Listener::Tcp(listener) => {
            let listener = TcpListener::from_std(listener)?;
            tokio::spawn(async move {
                loop {
                    let accepted = listener.accept().await.map(|(stream, _)| stream);
                    seat(accepted, &seats, &rooms).await;
                }
            });
        }
        Listener::Unix(listener) => {
            let listener = UnixListener::from_std(listener)?;
            tokio::spawn(async move {
                loop {
                    let accepted = listener.accept().await.map(|(stream, _)| stream);
                    seat(accepted, &seats, &rooms).await;
                }
            });
        }
    }
    Ok(())
}

async fn seat<S>(accepted: io::Result<S>, seats: &Arc<Semaphore>, rooms: &Arc<Rooms>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = match accepted {
        Ok(stream) => stream,
        Err(error) => {
            debug!("cannot accept a question to the status page: {error}");
            return tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    };
    // One too many is closed.
    if let Ok(seat) = Arc::clone(seats).try_acquire_owned() {
        tokio::spawn(talk(stream, Arc::clone(rooms), seat));
    }
}

async fn talk<S>(stream: S, rooms: Arc<Rooms>, _seat: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let answer = service_fn(|request: Request<Incoming>| {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let is_strict = request.uri().query() == Some("strict");
        let rooms = Arc::clone(&rooms);
        async move {
            // A file system that hangs must not hold the sockets up.
            let answered =
                tokio::task::spawn_blocking(move || answer(&rooms, &method, &path, is_strict));
            let answered = answered.await;
            Ok::<_, std::convert::Infallible>(answered.unwrap_or_else(|_| {
                text(StatusCode::INTERNAL_SERVER_ERROR, "a fault of ours; please report this\n")
            }))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        // It also ends connections that say nothing between two questions.
        .header_read_timeout(STATUS_ASK_TIME_MAX)
        .max_buf_size(STATUS_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = served {
        debug!("status page: {error}");
    }
}

fn answer(rooms: &Rooms, method: &Method, path: &str, is_strict: bool) -> Response<Full<Bytes>> {
    const PAGES: &str = "/health\n/health?strict\n/metrics\n/api/v1/status\n/api/v1/health\n\
                         /api/v1/counters\n/api/v1/targets\n/api/v1/clients\n";
    if method != Method::GET && method != Method::HEAD {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "this page only answers GET\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        "/" => text(StatusCode::OK, PAGES),
        "/health" => {
            let health = rooms.report().health;
            let is_well = match is_strict {
                true => health.state == State::Ready,
                false => health.state != State::Failing,
            };
            let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            json(status, &health)
        }
        "/metrics" => {
            let page = metrics::metrics(&rooms.report(), &rooms.clients());
            page_of(StatusCode::OK, metrics::CONTENT_TYPE, page.into_bytes())
        }
        "/api/v1/status" => json(StatusCode::OK, &rooms.report()),
        "/api/v1/health" => json(StatusCode::OK, &rooms.report().health),
        "/api/v1/counters" => json(StatusCode::OK, &rooms.report().counters),
        "/api/v1/targets" => json(StatusCode::OK, &rooms.report().targets),
        "/api/v1/clients" => json(StatusCode::OK, &rooms.clients()),
        _ => text(StatusCode::NOT_FOUND, &format!("there is no such page; these are:\n{PAGES}")),
    }
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    page_of(status, "text/plain; charset=utf-8", text.as_bytes().to_vec())
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Response<Full<Bytes>> {
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    page_of(status, "application/json", bytes)
}

fn page_of(status: StatusCode, kind: &'static str, bytes: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(bytes.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
