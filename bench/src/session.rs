//! The client's side of a session of the second protocol, with nothing around it.
//! A daemon's address -> a way to send frames, and one to hear what is safe.
//! Invariant: sending and hearing may go on at the same time, in two threads.
//! Leaves out: numbering, resuming, spooling: what a real client is made of.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use rustls::ClientConnection;
use wire::frame::{self, Next};
use wire::v2::batch::{BatchWriter, Record};
use wire::v2::compress::{Compression, Compressor};
use wire::v2::frame::{Head, Type};
use wire::v2::handshake::{Challenge, ClientId, Hello, Welcome};
use wire::v2::limits::BATCH_RECORDS_MAX;
use wire::v2::report::{Ack, Farewell, Refused};
use wire::v2::seal::{self, Opener, Sealer};
use wire::v2::secret::{Secret, Transcript};

use crate::{HOST, MODULE};

/// Longest payload that is received, in bytes: acknowledgements are short.
const RECEIVED_BYTES_MAX: u32 = 1 << 16;

/// An end of a connection, in the clear or inside TLS.
pub struct Link {
    socket: TcpStream,
    tls: Option<Arc<Mutex<ClientConnection>>>,
    inbox: Vec<u8>,
    /// What was sent through it so far, in bytes, TLS's own included.
    pub sent_bytes: u64,
}

impl Link {
    /// Connects; with TLS the handshake is done afterwards.
    ///
    /// # Errors
    /// What the system or TLS says.
    pub fn connect(address: &str, tls: Option<ClientConnection>) -> Result<Link> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let tls = match tls {
            Some(mut tls) => {
                tls.set_buffer_limit(None);
                tls.complete_io(&mut socket)?;
                Some(Arc::new(Mutex::new(tls)))
            }
            None => None,
        };
        Ok(Link { socket, tls, inbox: Vec::new(), sent_bytes: 0 })
    }

    /// The same connection, for another thread. What was read and not cut yet
    /// stays here.
    fn again(&self) -> Result<Link> {
        let (socket, tls) = (self.socket.try_clone()?, self.tls.clone());
        Ok(Link { socket, tls, inbox: Vec::new(), sent_bytes: 0 })
    }

    /// Sends bytes, and waits until the system has taken all.
    ///
    /// # Errors
    /// What the system or TLS says.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        /// What TLS takes at once, in bytes: some records.
        const SEALED_AT_ONCE: usize = 64 << 10;
        let Some(tls) = &self.tls else {
            self.socket.write_all(bytes)?;
            self.sent_bytes += bytes.len() as u64;
            return Ok(());
        };
        for part in bytes.chunks(SEALED_AT_ONCE) {
            let mut sealed = Vec::with_capacity(part.len() + 1024);
            {
                let mut tls = tls.lock().unwrap_or_else(PoisonError::into_inner);
                tls.writer().write_all(part)?;
                while tls.wants_write() {
                    tls.write_tls(&mut sealed)?;
                }
            }
            // Not under the lock: who hears must not wait for who sends.
            self.socket.write_all(&sealed)?;
            self.sent_bytes += sealed.len() as u64;
        }
        Ok(())
    }

    /// Waits for a whole frame; returns its flags and payload.
    fn frame(&mut self) -> Result<(frame::Flags, Vec<u8>)> {
        loop {
            if let Next::Frame(frame) = frame::next(&self.inbox, RECEIVED_BYTES_MAX)? {
                let (bytes, found) = (frame.bytes, (frame.flags, frame.payload.to_vec()));
                self.inbox.drain(..bytes);
                return Ok(found);
            }
            self.receive()?;
        }
    }

    fn receive(&mut self) -> Result<()> {
        let mut bytes = [0; 4096];
        let count = self.socket.read(&mut bytes)?;
        let mut received =
            bytes.get(..count).filter(|bytes| !bytes.is_empty()).context("closed")?;
        let Some(tls) = &self.tls else {
            self.inbox.extend_from_slice(received);
            return Ok(());
        };
        let mut tls = tls.lock().unwrap_or_else(PoisonError::into_inner);
        while !received.is_empty() {
            tls.read_tls(&mut received)?;
            let decrypted = tls.process_new_packets()?.plaintext_bytes_to_read();
            let before = self.inbox.len();
            self.inbox.resize(before + decrypted, 0);
            tls.reader().read_exact(&mut self.inbox[before..])?;
        }
        Ok(())
    }
}

/// Sends batches.
pub struct Sender {
    /// Where they go.
    pub link: Link,
    sealer: Sealer,
    next_number: u64,
    payload_bytes_max: u32,
    compressor: Compressor,
}

/// Hears what is safe.
pub struct Listener {
    link: Link,
    opener: Opener,
}

/// Begins a session of a new client.
///
/// # Errors
/// When the daemon does not let it in.
pub fn begin(mut link: Link, app: &str, secret: Option<&str>) -> Result<(Sender, Listener)> {
    let hello = Hello {
        client_id: ClientId([7; 16]),
        // Nobody listens in here.
        nonce: [9; 32],
        app,
        host: HOST,
        module: "",
        first_held: 0,
        next_number: 1,
    }
    .encode()?;
    let mut out = Vec::new();
    seal::write_plain(&mut out, Head::plain(Type::Hello), &hello)?;
    link.send(&out)?;
    let said = expect(link.frame()?, Type::Challenge)?;
    let challenge = Challenge::decode(&said)?;
    let transcript = Transcript::new(&hello, &said);
    let secret = secret.map(|secret| Secret::new(secret.as_bytes()));
    if let Some(secret) = &secret {
        out.clear();
        seal::write_plain(&mut out, Head::plain(Type::Proof), &secret.prove(&transcript))?;
        link.send(&out)?;
    }
    let said = expect(link.frame()?, Type::Welcome)?;
    Welcome::decode(&said, secret.as_ref().map(|secret| (secret, &transcript)))?;
    let (sealer, opener) = seal::client(secret.as_ref(), &transcript);
    let listener = Listener { link: link.again()?, opener };
    let payload_bytes_max = challenge.frame_bytes_max;
    let compressor = Compressor::new();
    Ok((Sender { link, sealer, next_number: 1, payload_bytes_max, compressor }, listener))
}

fn expect((flags, payload): (frame::Flags, Vec<u8>), kind: Type) -> Result<Vec<u8>> {
    match Head::from_flags(flags)?.kind {
        found if found == kind => Ok(payload),
        Type::Farewell => bail!("the daemon says farewell: {}", Farewell::decode(&payload)?.text),
        found => bail!("{found:?} instead of {kind:?}"),
    }
}

impl Sender {
    /// The frames for these bodies, `records` in a batch, in the order in which
    /// they have to be sent. Returns the number of the last message as well.
    ///
    /// # Errors
    /// When a batch cannot hold so many.
    pub fn frames<'b>(
        &mut self,
        bodies: impl Iterator<Item = &'b String>,
        records: usize,
        compression: Compression,
    ) -> Result<(Vec<Vec<u8>>, u64)> {
        let mut batch = BatchWriter::new(self.payload_bytes_max, BATCH_RECORDS_MAX);
        let (mut frames, mut bodies) = (Vec::new(), bodies.peekable());
        while bodies.peek().is_some() {
            batch.start(self.next_number);
            for (place, body) in bodies.by_ref().take(records).enumerate() {
                batch.push(&Record {
                    time_ns: 1_795_176_000_123_456_789 + place as i64 * 1000,
                    level: 20,
                    logger: MODULE,
                    thread: "MainThread",
                    process_id: 4711,
                    body,
                    exception_at: None,
                    fields: &[],
                })?;
            }
            self.next_number = batch.next_number();
            frames.push(self.seal(batch.payload(), compression)?);
        }
        Ok((frames, self.next_number - 1))
    }

    fn seal(&mut self, payload: &[u8], compression: Compression) -> Result<Vec<u8>> {
        let (mut frame, mut shorter) = (Vec::new(), Vec::new());
        let head = Head { kind: Type::Batch, compression };
        match compression {
            Compression::None => self.sealer.write(&mut frame, head, payload)?,
            _ => {
                self.compressor.compress(compression, payload, &mut shorter)?;
                self.sealer.write(&mut frame, head, &shorter)?;
            }
        }
        Ok(frame)
    }
}

impl Listener {
    /// Waits until all messages up to `number` are safe.
    ///
    /// # Errors
    /// When the daemon says anything else.
    pub fn wait_for(&mut self, number: u64) -> Result<()> {
        loop {
            let (flags, sent) = self.link.frame()?;
            let (head, payload) = self.opener.open(flags, &sent)?;
            match head.kind {
                Type::Ack if Ack::decode(payload)?.durable >= number => return Ok(()),
                Type::Ack => {}
                Type::Refused => bail!("refused: {}", Refused::decode(payload)?.text),
                Type::Farewell => bail!("farewell: {}", Farewell::decode(payload)?.text),
                kind => bail!("{kind:?} from the daemon"),
            }
        }
    }
}
