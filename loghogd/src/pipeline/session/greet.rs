//! The first words of both sides.
//! HELLO and PROOF -> a session, or why there is none.
//! Invariant: nothing is remembered of a client before it has proven what its facility demands.
//! Leaves out: what comes behind WELCOME.

use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use wire::frame::{self, Flags, Next};
use wire::v2::compress::Compressions;
use wire::v2::frame::{Head, Type};
use wire::v2::handshake::{Challenge, Hello, Welcome};
use wire::v2::limits::{BATCH_RECORDS_MAX, HANDSHAKE_BYTES_MAX};
use wire::v2::report::Code;
use wire::v2::seal;
use wire::v2::secret::Transcript;

use super::{End, Greeted, Line, deadline, malformed, random};
use crate::limits::{HANDSHAKE_TIME_MAX, HOST_BYTES_MAX};
use crate::own_log::quote;
use crate::pipeline::persist::clients::Key;
use crate::stats::Counter;

impl Line {
    pub(super) async fn greet(&mut self) -> Result<Greeted, End> {
        let (flags, said) = self.first_frames().await?;
        if Head::from_flags(flags).map(|head| head.kind) != Ok(Type::Hello) {
            return Err(malformed(&"a session begins with HELLO"));
        }
        let hello = Hello::decode(&said).map_err(|error| malformed(&error))?;
        if hello.host.len() > HOST_BYTES_MAX {
            return Err(malformed(&format!(
                "the host's name is longer than {HOST_BYTES_MAX} bytes"
            )));
        }
        let table = self.road.shared.table.load_full();
        let Some(facility) = table.find(hello.app, hello.module) else {
            let text = format!(
                "application {} has no facility; add its section to facilities.conf and send SIGHUP",
                quote(hello.app)
            );
            return Err(End::Refused(Counter::AppUnknown, Code::NoFacility, text));
        };
        if facility.require.tls && !self.way.tls {
            let text = format!("facility {} requires TLS", facility.app);
            return Err(End::Refused(Counter::TlsMissing, Code::NeedsTls, text));
        }
        let challenge = Challenge {
            nonce: random()?,
            needs_proof: facility.secret.is_some(),
            frame_bytes_max: self.road.shared.frame_bytes_max,
            records_max: BATCH_RECORDS_MAX,
            compressions: Compressions::ALL,
        }
        .encode();
        self.say_plain(Type::Challenge, &challenge)?;
        let transcript = Transcript::new(&said, &challenge);
        let secret = facility.secret.as_ref();
        let proven = secret.map(|secret| wire::v2::secret::Secret::new(secret.bytes()));
        if let Some(proven) = &proven {
            let (flags, proof) = self.first_frames().await?;
            match Head::from_flags(flags).map(|head| head.kind) {
                Ok(Type::Proof) => {}
                Ok(Type::Farewell) => return Err(End::Gone),
                _ => return Err(malformed(&"PROOF has to come behind CHALLENGE")),
            }
            if !proven.verify_proof(&transcript, &proof) {
                let text = format!(
                    "a client of {} does not know its secret; set the client's secret to the facility's",
                    facility.app
                );
                return Err(End::Refused(Counter::SignatureBad, Code::WrongProof, text));
            }
            self.seat.prove();
        }
        let key = Key { app: facility.app.clone(), id: hello.client_id.0 };
        let first_held = hello.settled().saturating_add(1);
        let now: Timestamp = self.road.shared.clock.now();
        let begun = self.road.shared.clients.begin(key, first_held, now);
        let session = tokio::time::timeout_at(deadline(HANDSHAKE_TIME_MAX), begun).await;
        let session = match session {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => {
                let counter = Counter::ConnectionsRefused;
                return Err(End::Refused(counter, Code::Busy, error.to_string()));
            }
            Err(_) => {
                let text = "what an older connection has brought still waits for its file";
                return Err(End::Farewell(Code::Busy, text.into()));
            }
        };
        let welcome = Welcome { durable: session.durable(), taken: session.taken() };
        self.say_plain(
            Type::Welcome,
            &welcome.encode(proven.as_ref().map(|proven| (proven, &transcript))),
        )?;
        let (sealer, opener) = seal::server(proven.as_ref(), &transcript);
        Ok(Greeted {
            session,
            welcome,
            app: hello.app.to_owned(),
            host: hello.host.to_owned(),
            module: hello.module.to_owned(),
            secret: secret.cloned(),
            table: Arc::clone(&table),
            sealer,
            opener,
        })
    }

    fn say_plain(&mut self, kind: Type, payload: &[u8]) -> Result<(), End> {
        seal::write_plain(&mut self.out, Head::plain(kind), payload)
            .map_err(|error| End::Broken(Counter::SessionBroken, error.to_string()))
    }

    /// Waits for a frame of the handshake, and writes what is to be written
    /// before.
    async fn first_frames(&mut self) -> Result<(Flags, Vec<u8>), End> {
        let mut stop = self.road.shared.stop.clone();
        let frame = tokio::time::timeout_at(deadline(HANDSHAKE_TIME_MAX), self.first_frame());
        tokio::select! {
            frame = frame => frame.unwrap_or_else(|_| {
                let text = format!("no whole frame of the handshake within {} s", HANDSHAKE_TIME_MAX.as_secs());
                Err(End::Broken(Counter::HandshakeTimeout, text))
            }),
            _ = stop.wait_for(Option::is_some) => Err(End::Gone),
        }
    }

    async fn first_frame(&mut self) -> Result<(Flags, Vec<u8>), End> {
        loop {
            while !self.out.is_empty() {
                self.flush().await.map_err(|_| End::Gone)?;
            }
            match frame::next(&self.inbox, HANDSHAKE_BYTES_MAX) {
                Ok(Next::Frame(frame)) => {
                    let (bytes, found) = (frame.bytes, (frame.flags, frame.payload.to_vec()));
                    self.inbox.drain(..bytes);
                    return Ok(found);
                }
                Ok(Next::More { .. }) => {}
                Err(error) => {
                    let (counter, code) = (Counter::FrameTooLong, Code::Malformed);
                    return Err(End::Refused(counter, code, error.to_string()));
                }
            }
            self.stream.readable().await.map_err(|_| End::Gone)?;
            let mut buffer = [0; 2048];
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return Err(End::Gone),
                Ok(bytes) => self.inbox.extend(buffer.iter().take(bytes)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(End::Gone),
            }
        }
    }
}
