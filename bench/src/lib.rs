//! What the measurements share: a scratch daemon, and what it used.
//! A configuration -> a running `loghogd`, stopped and removed when dropped.
//! Invariant: only processes that were started here are stopped here.
//! Leaves out: judging the figures.

pub mod log_text;
pub mod session;
pub mod steady;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use wire::signature::Key;
use wire::v1::{self, EncodeScratch, Record};

/// A daemon on free ports of the loopback, with one plain and one signed
/// facility.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    child: Child,
    /// Where it listens for TCP and UDP.
    pub plain: String,
    /// Where it listens for TLS.
    pub tls: String,
    /// What stands in its configuration besides.
    sections: String,
}

/// Where it listens, unless it has an address of its own.
const LOOPBACK: &str = "127.0.0.1";
/// The secret of the signed facility.
pub const SECRET: &str = "bench-secret";
/// The logger that all messages come from.
pub const MODULE: &str = "web.requests";
/// The host that all messages come from.
pub const HOST: &str = "web01.example.com";

impl Scratch {
    /// Starts the daemon that lies beside this program.
    ///
    /// # Errors
    /// When it is not there or does not start.
    pub fn start(flush_every: u32) -> Result<Scratch> {
        let facilities = format!(
            "[plain]\nrotate = daily\nbackup_count = 1\nflush_every = {flush_every}\n\
             [signed]\nrotate = daily\nbackup_count = 1\nflush_every = {flush_every}\nsecret = {SECRET}\n"
        );
        Scratch::start_with(&facilities, "", |_| Ok(()))
    }

    /// Starts it with these facilities and further sections of `loghogd.conf`.
    /// `prepare` may put files into the log folder before.
    ///
    /// # Errors
    /// When it is not there or does not start, and what `prepare` says.
    pub fn start_with(
        facilities: &str,
        sections: &str,
        prepare: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Scratch> {
        Scratch::start_on(LOOPBACK, facilities, sections, prepare)
    }

    /// The same on a loopback address that nobody else uses, where it can be
    /// started again after a stop: its ports stay free meanwhile.
    ///
    /// # Errors
    /// When it is not there or does not start.
    pub fn start_apart(facilities: &str) -> Result<Scratch> {
        let [.., high, low] = std::process::id().to_be_bytes();
        Scratch::start_on(&format!("127.44.{high}.{low}"), facilities, "", |_| Ok(()))
    }

    fn start_on(
        host: &str,
        facilities: &str,
        sections: &str,
        prepare: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Scratch> {
        let folder = TempDir::new()?;
        for (tool, argument) in
            [("loghog-server-cert", None), ("loghog-client-cert", Some("bench"))]
        {
            let done =
                Command::new(beside(tool)?).args(argument).current_dir(folder.path()).output()?;
            if !done.status.success() {
                bail!("{tool}: {}", String::from_utf8_lossy(&done.stderr));
            }
        }
        prepare(&folder.path().join("log"))?;
        fs::write(folder.path().join("facilities.conf"), facilities)?;
        let any_port = format!("{host}:0");
        configure(folder.path(), &any_port, &any_port, sections)?;
        let (child, plain, tls) = spawn(folder.path())?;
        Ok(Scratch { folder, child, plain, tls, sections: sections.to_owned() })
    }

    /// Kills it, as a crash would.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it after a kill, where it was.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again(&mut self) -> Result<()> {
        configure(self.folder.path(), &self.plain, &self.tls, &self.sections)?;
        (self.child, self.plain, self.tls) = spawn(self.folder.path())?;
        Ok(())
    }

    /// The same with other further sections of `loghogd.conf`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again_with(&mut self, sections: &str) -> Result<()> {
        self.sections = sections.to_owned();
        self.start_again()
    }

    /// The client's side of a TLS connection to it.
    ///
    /// # Errors
    /// When the certificates made for it are not there.
    pub fn tls(&self) -> Result<ClientConnection> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(self.path("loghog-ca.cert"))? {
            roots.add(certificate?)?;
        }
        let pem = self.path("bench.pem");
        let chain = CertificateDer::pem_file_iter(&pem)?.collect::<Result<Vec<_>, _>>()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(&pem)?)?;
        Ok(ClientConnection::new(Arc::new(config), ServerName::try_from("localhost")?)?)
    }

    /// A file below the scratch folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its process.
    pub fn process(&self) -> Process {
        Process(self.child.id())
    }
}

/// Writes the configuration.
fn configure(folder: &Path, plain: &str, tls: &str, sections: &str) -> Result<()> {
    let path = folder.display();
    let text = format!(
        "[main]\nlogdir = {path}/log\nworkdir = {path}/work\nrundir = {path}/run\n\
         facilities_config = facilities.conf\npidfile = loghogd.pid\n\
         [log]\nfilename = {path}/own.log\nlevel = INFO\n\
         [server]\nlisten_ipv4 = {plain}\nlisten_ipv6 =\nlisten_ipv4_ssl = {tls}\n\
         pemfile = loghog-server.pem\ncacert = loghog-ca.cert\n{sections}"
    );
    Ok(fs::write(folder.join("loghogd.conf"), text)?)
}

/// Starts the daemon. Returns it, and where it listens for TCP and for TLS.
fn spawn(folder: &Path) -> Result<(Child, String, String)> {
    let mut child = Command::new(beside("loghogd")?)
        .arg("-c")
        .arg(folder.join("loghogd.conf"))
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = child.stderr.take().context("no stderr")?;
    match wait_until_ready(stderr) {
        Ok((plain, tls)) => Ok((child, plain, tls)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

fn wait_until_ready(stderr: ChildStderr) -> Result<(String, String)> {
    let mut lines = BufReader::new(stderr);
    let (mut plain, mut tls, mut said) = (String::new(), String::new(), String::new());
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            bail!("the daemon did not start:\n{said}");
        }
        said.push_str(&line);
        for (kind, address) in [("tcp", &mut plain), ("tls", &mut tls)] {
            if let Some((_, found)) = line.trim_end().split_once(&format!("listening on {kind} ")) {
                *address = found.to_owned();
            }
        }
        if line.trim_end().ends_with("ready") {
            break;
        }
    }
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    Ok((plain, tls))
}

/// A running process, by its id.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    /// The memory that it uses now, in KiB.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn memory_kib(&self) -> Result<u64> {
        self.status_kib("VmRSS:")
    }

    /// The most memory that it has used, in KiB.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn memory_peak_kib(&self) -> Result<u64> {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, name: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.with_context(|| format!("no {name} in /proc"))?.parse()?)
    }

    /// The processor time that it has used.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn cpu(&self) -> Result<Duration> {
        /// Of all Linux systems in use (sysconf(_SC_CLK_TCK)).
        const TICKS_A_SECOND: u64 = 100;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        let (_, fields) = stat.rsplit_once(") ").context("no stat")?;
        let ticks: u64 =
            fields.split(' ').skip(11).take(2).map(|field| field.parse().unwrap_or(0)).sum();
        Ok(Duration::from_millis(ticks * 1000 / TICKS_A_SECOND))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program of the same build as this one.
///
/// # Errors
/// When it has not been built.
pub fn beside(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own.parent().unwrap_or(Path::new(".")).join(name);
    if !found.exists() {
        bail!("{} is missing; build it with: cargo build --release --workspace", found.display());
    }
    Ok(found)
}

/// About a MiB of frames of one message each, and how many they are.
///
/// # Errors
/// When the body is too long for a frame.
pub fn frames(app: &str, key: Option<&Key>, body_bytes: usize) -> Result<(Vec<u8>, usize)> {
    let bodies = [body(body_bytes)];
    let frame_bytes = frames_of(app, key, &bodies)?.len();
    let messages = (1_usize << 20).div_ceil(frame_bytes);
    Ok((frames_of(app, key, &bodies)?.repeat(messages), messages))
}

/// A frame for each of these bodies.
///
/// # Errors
/// When a body is too long for a frame.
pub fn frames_of(app: &str, key: Option<&Key>, bodies: &[String]) -> Result<Vec<u8>> {
    let (mut frames, mut scratch) = (Vec::new(), EncodeScratch::default());
    for body in bodies {
        let record = Record {
            app_id: app,
            module: MODULE,
            hostname: HOST,
            body,
            stamp: 1_795_176_000,
            nsecs: 123_456_789,
            signature: None,
        };
        v1::encode(&record, key, false, &mut scratch, &mut frames)?;
    }
    Ok(frames)
}

/// The one in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Text of about this length, as web applications log it.
pub fn body(bytes: usize) -> String {
    let mut body = String::from("INFO - ");
    while body.len() < bytes {
        body.push_str("GET /orders/4711/items?page=2 HTTP/1.1 200 in 12.5 ms for user 42; ");
    }
    body.truncate(bytes);
    body
}

/// Texts of this length that differ as requests do: what they compress to is
/// not that of one text many times.
pub fn bodies(count: usize, bytes: usize) -> Vec<String> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: u64| {
        // xorshift64 (Marsaglia 2003): the same texts in every run.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut text = || {
        let mut body = String::from("INFO - ");
        while body.len() < bytes {
            body.push_str(&format!(
                "GET /orders/{}/items?page={} HTTP/1.1 {} in {}.{} ms for user {} from 10.0.{}.{}; ",
                random(1_000_000),
                random(20),
                [200, 200, 200, 304, 404][random(5) as usize],
                random(400),
                random(10),
                random(100_000),
                random(256),
                random(256),
            ));
        }
        body.truncate(bytes);
        body
    };
    (0..count).map(|_| text()).collect()
}

/// Sends `block` so many times, and waits until `file` has `lines` lines more
/// for each. Returns how long sending and how long all of it took.
///
/// # Errors
/// When the sender is cut off or the lines do not come.
pub fn send_blocks(
    sender: &mut dyn Write,
    block: &[u8],
    lines: usize,
    blocks: usize,
    file: &Path,
    used: &mut dyn FnMut() -> Result<()>,
) -> Result<(Duration, Duration)> {
    // One block first: the file is made, and the length of its lines is known.
    sender.write_all(block)?;
    sender.flush()?;
    let whole = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() == lines;
    wait_until(|| fs::read(file).is_ok_and(|bytes| whole(&bytes)))?;
    let block_bytes = fs::metadata(file)?.len();
    used()?;
    let started = Instant::now();
    for _ in 0..blocks {
        sender.write_all(block)?;
    }
    sender.flush()?;
    let sent = started.elapsed();
    let expected = block_bytes * (blocks as u64 + 1);
    wait_until(|| fs::metadata(file).is_ok_and(|data| data.len() >= expected))?;
    Ok((sent, started.elapsed()))
}

/// Waits for something that happens within two minutes.
///
/// # Errors
/// When it does not.
pub fn wait_until(mut done: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !done() {
        if Instant::now() > deadline {
            bail!("it did not happen within two minutes");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
