//! Speaks to the server.
//! Lines -> a request -> its answer, or what was in the way.
//! Invariant: nobody waits longer than the timeout, or much longer than the daemon runs.
//! Leaves out: what an answer means (`answer`).

mod failure;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, Url};
use tokio::time::interval;

use super::answer::{Answer, Asked};
use super::limits::{ANSWER_BYTES_MAX, CACERT_BYTES_MAX, CONNECT_TIME_MAX, ENDED_LOOK};
use crate::config::ship::influxdb::{InfluxDb, Way};
use crate::pipeline::ship::{Surroundings, Trouble};

/// Where points are written.
#[derive(Debug)]
pub(super) struct Server {
    client: Client,
    /// With everything that the protocol wants to have there.
    url: Url,
    /// Never printed.
    authorization: Option<HeaderValue>,
    gzip: bool,
    surroundings: Surroundings,
    asked: Asked,
    failures: failure::Place,
}

impl Server {
    /// As configured. Does not connect.
    ///
    /// # Errors
    /// What can be told without it, such as a file that cannot be read.
    pub(super) fn new(options: &InfluxDb, surroundings: Surroundings) -> Result<Server, Trouble> {
        // There is one for the whole process; somebody else may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(concat!("loghogd/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIME_MAX)
            .timeout(options.timeout)
            .pool_max_idle_per_host(1);
        if let Some(path) = &options.cacert {
            builder = builder.tls_certs_only(authorities(path)?);
        }
        let client = builder.build().map_err(|error| {
            let why = failure::root_cause(&error);
            Trouble::stop(format!("HTTP cannot be spoken: {why}"), "put cacert right")
        })?;
        Ok(Server {
            client,
            url: write_url(options)?,
            authorization: authorization(&options.way)?,
            gzip: options.gzip,
            surroundings,
            asked: asked(options),
            failures: failure::Place {
                url: options.url.clone(),
                cacert: options.cacert.clone(),
                timeout: options.timeout,
            },
        })
    }

    /// Whom we ask, and for what.
    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Writes lines.
    ///
    /// # Errors
    /// There was no answer, or half of one.
    pub(super) fn write(&self, lines: &[u8]) -> Result<Answer, Trouble> {
        let mut request = self.client.post(self.url.clone());
        request = request.header(CONTENT_TYPE, "text/plain; charset=utf-8");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        if self.gzip {
            request = request.header(CONTENT_ENCODING, "gzip").body(compressed(lines)?);
        } else {
            request = request.body(Bytes::copy_from_slice(lines));
        }
        let answer = async {
            let response = request.send().await.map_err(|error| self.failures.trouble(&error))?;
            self.read(response).await
        };
        let ended = async {
            let mut looks = interval(ENDED_LOOK);
            while !self.surroundings.has_ended() {
                looks.tick().await;
            }
        };
        self.surroundings.runtime.block_on(async {
            tokio::select! {
                answer = answer => answer,
                () = ended => Err(Trouble::Ended),
            }
        })
    }

    async fn read(&self, mut response: Response) -> Result<Answer, Trouble> {
        let head = |name: HeaderName| {
            let value = response.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let mut answer = Answer {
            status: response.status().as_u16(),
            retry_after: head(RETRY_AFTER),
            location: head(LOCATION),
            body: Vec::new(),
        };
        while answer.body.len() < ANSWER_BYTES_MAX {
            let chunk = response.chunk().await.map_err(|error| self.failures.trouble(&error))?;
            let Some(chunk) = chunk else { break };
            answer.body.extend_from_slice(&chunk);
        }
        answer.body.truncate(ANSWER_BYTES_MAX);
        Ok(answer)
    }
}

fn compressed(lines: &[u8]) -> Result<Vec<u8>, Trouble> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(lines.len() / 4), Compression::fast());
    let written = encoder.write_all(lines).and_then(|()| encoder.finish());
    written.map_err(|error| Trouble::later(format!("a request cannot be compressed: {error}")))
}

fn write_url(options: &InfluxDb) -> Result<Url, Trouble> {
    let behind = match options.way {
        Way::One { .. } => "/write",
        Way::Two { .. } => "/api/v2/write",
    };
    let url = format!("{}{behind}", options.url.trim_end_matches('/'));
    let mut url = Url::parse(&url).map_err(|error| {
        Trouble::stop(format!("url is no URL: {error}"), "write for example http://localhost:8086")
    })?;
    let mut query = url.query_pairs_mut();
    match &options.way {
        Way::One { database, retention_policy, .. } => {
            query.append_pair("db", database);
            if let Some(policy) = retention_policy {
                query.append_pair("rp", policy);
            }
            query.append_pair("precision", "n");
        }
        Way::Two { org, bucket, .. } => {
            if let Some(org) = org {
                query.append_pair("org", org);
            }
            query.append_pair("bucket", bucket).append_pair("precision", "ns");
        }
    }
    drop(query);
    Ok(url)
}

/// In a head of its own: what stands in the URL stands in the logs of servers.
fn authorization(way: &Way) -> Result<Option<HeaderValue>, Trouble> {
    let mut text = Vec::new();
    let option = match way {
        Way::One { login: Some((user, password)), .. } => {
            let pair = [user.as_bytes(), b":", password.bytes()].concat();
            text.extend_from_slice(b"Basic ");
            base64(&pair, &mut text);
            "password"
        }
        Way::Two { token: Some(token), .. } => {
            text.extend_from_slice(b"Token ");
            text.extend_from_slice(token.bytes());
            "token"
        }
        _ => return Ok(None),
    };
    let mut value = HeaderValue::from_bytes(&text).map_err(|_| {
        let what = format!("{option} has a character that HTTP cannot carry");
        Trouble::stop(what, format!("put {option} right"))
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS.get((bits >> (18 - 6 * place) & 63) as usize);
            out.push(if place <= group.len() { digit.copied().unwrap_or(b'=') } else { b'=' });
        }
    }
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, Trouble> {
    let stop = |why: String| {
        let remedy = "write into cacert a PEM file with the authority's certificate";
        Trouble::stop(format!("cacert {} {why}", path.display()), remedy)
    };
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(CACERT_BYTES_MAX).read_to_end(&mut pem))
        .map_err(|error| stop(format!("cannot be read: {error}")))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(stop("has no certificate".to_owned())),
        Err(error) => Err(stop(format!("is no PEM file: {}", failure::root_cause(&error)))),
    }
}

fn asked(options: &InfluxDb) -> Asked {
    let place = format!("InfluxDB at {}", options.url);
    match &options.way {
        Way::One { database, login, .. } => {
            let user = login.as_ref().map_or("the user", |(user, _)| user);
            Asked {
                place,
                room: format!("the database \"{database}\""),
                make: format!("create it (CREATE DATABASE \"{database}\"), or put database right"),
                login: "user and password",
                permit: format!("GRANT WRITE ON \"{database}\" TO \"{user}\""),
            }
        }
        Way::Two { org: Some(org), bucket, .. } => Asked {
            place,
            room: format!("the bucket \"{bucket}\" of the organisation \"{org}\""),
            make: "create it (influx bucket create), or put org and bucket right".to_owned(),
            login: "token",
            permit: "give us a token that may write into this bucket".to_owned(),
        },
        Way::Two { org: None, bucket, .. } => Asked {
            place,
            room: format!("the database \"{bucket}\""),
            make: "create it (influxdb3 create database), or put database right".to_owned(),
            login: "token",
            permit: "give us a token that may write into this database".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_the_rfc_shows_it() {
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = Vec::new();
            base64(text.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
