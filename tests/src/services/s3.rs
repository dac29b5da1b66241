//! Runs moto and s3s-fs, two servers that speak S3.
//! A `Kind` -> a running server -> its objects, as boto3 reads them.
//! Invariant: all instances of a server answer at the same address; s3s-fs with the same objects.
//! Leaves out: what is shipped there.
//!
//! moto keeps all in memory, so it can be frozen but not killed without loss; it takes
//! any credentials. s3s-fs keeps objects as files, and checks credentials.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::golden;
use crate::wait::{DEADLINE, wait_until};

/// Who we are there.
pub const ACCESS_KEY: &str = "LOGHOGTEST";
/// How we prove it.
pub const SECRET_KEY: &str = "loghog-test-secret";

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// moto, of the Python world.
    Moto,
    /// s3s-fs, in Rust.
    S3sFs,
}

/// A private server.
#[derive(Debug)]
pub struct S3 {
    kind: Kind,
    folder: TempDir,
    address: SocketAddr,
    pem: Option<PathBuf>,
    child: Option<Child>,
}

/// An object.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// What it was given beside.
    pub metadata: BTreeMap<String, String>,
    /// `STANDARD` where the server says nothing.
    pub storage_class: String,
    /// How it is encrypted; empty when it is not.
    pub encryption: String,
    /// When it was written, in seconds since 1970.
    pub modified: f64,
}

impl S3 {
    /// Starts one and waits until it answers.
    pub fn start(kind: Kind) -> S3 {
        S3::start_with(kind, None)
    }

    /// The same with TLS; `pem` holds certificate and key. moto only.
    pub fn start_tls(pem: &Path) -> S3 {
        S3::start_with(Kind::Moto, Some(pem.to_owned()))
    }

    fn start_with(kind: Kind, pem: Option<PathBuf>) -> S3 {
        let folder = tempfile::Builder::new().prefix("loghog-s3-").tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("data")).expect("a writable folder");
        let mut s3 = S3 { kind, folder, address: free_address(), pem, child: None };
        s3.restart();
        s3
    }

    /// What `endpoint` has to be.
    pub fn url(&self) -> String {
        let scheme = if self.pem.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Options of a target that ships to a bucket here.
    pub fn section(&self, bucket: &str) -> String {
        format!(
            "type = s3\nbucket = {bucket}\nendpoint = {}\naccess_key_id = {ACCESS_KEY}\n\
             secret_access_key = {SECRET_KEY}\n",
            self.url()
        )
    }

    /// Starts it, after [`kill`](S3::kill), and waits until it answers.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let port = self.address.port().to_string();
        let mut command = match self.kind {
            Kind::Moto => {
                let mut command = Command::new(service("moto/bin/python"));
                command.arg(golden::repository().join("tests/programs/moto_server.py"));
                command.arg(&port).args(&self.pem);
                command
            }
            Kind::S3sFs => {
                let mut command = Command::new(service("s3s-0.14.1/bin/s3s-fs"));
                command.args(["--host", "127.0.0.1", "--port", &port]);
                command.args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]);
                command.arg(self.folder.path().join("data"));
                command.env("RUST_LOG", "warn");
                command
            }
        };
        let log = self.folder.path().join("server.log");
        let log = File::options().create(true).append(true).open(log).expect("a writable folder");
        let errors = log.try_clone().expect("a descriptor");
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        self.child = Some(command.spawn().expect("tools/s3-services has been run"));
        wait_until(DEADLINE, "the S3 server listens", || TcpStream::connect(self.address).ok());
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Ends it without warning (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it where it is, without an end (SIGSTOP).
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// Makes a bucket.
    pub fn make_bucket(&self, bucket: &str) {
        self.ask(&json!({"do": "make", "bucket": bucket}));
    }

    /// Puts an object there as anybody might.
    pub fn put(&self, bucket: &str, key: &str, text: &str) {
        self.ask(&json!({"do": "put", "bucket": bucket, "key": key, "text": text}));
    }

    /// Deletes an object.
    pub fn delete(&self, bucket: &str, key: &str) {
        self.ask(&json!({"do": "delete", "bucket": bucket, "key": key}));
    }

    /// How many uploads in parts have begun and not ended.
    pub fn unfinished(&self, bucket: &str) -> u64 {
        self.ask(&json!({"do": "unfinished", "bucket": bucket})).as_u64().expect("a number")
    }

    /// All objects of a bucket, by their keys.
    pub fn objects(&self, bucket: &str) -> BTreeMap<String, Object> {
        let folder = tempfile::tempdir().expect("a folder");
        let all = self.ask(&json!({"do": "all", "bucket": bucket, "folder": folder.path()}));
        let all = all.as_object().expect("an object");
        let object = |value: &Value| Object {
            bytes: std::fs::read(value["file"].as_str().expect("a path")).expect("a file"),
            metadata: serde_json::from_value(value["metadata"].clone()).expect("texts"),
            storage_class: value["class"].as_str().expect("a text").to_owned(),
            encryption: value["encryption"].as_str().expect("a text").to_owned(),
            modified: value["modified"].as_f64().expect("a time"),
        };
        all.iter().map(|(key, value)| (key.clone(), object(value))).collect()
    }

    /// Asks by boto3, which LogHog has no part in.
    #[track_caller]
    fn ask(&self, question: &Value) -> Value {
        let program = golden::repository().join("tests/programs/s3.py");
        let output = Command::new(service("moto/bin/python"))
            .arg(program)
            .args([&self.url(), ACCESS_KEY, SECRET_KEY, &question.to_string()])
            .env("PYTHONWARNINGS", "ignore")
            .output()
            .expect("tools/s3-services has been run");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{question}: {errors}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.kill();
    }
}

fn service(path: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| golden::repository().join("target"), PathBuf::from);
    let path = target.join("services").join(path);
    assert!(path.is_file(), "{} is missing: run `tools/s3-services` first", path.display());
    path
}

/// One where nobody listens. Somebody else could take it before we do; the server says
/// so then.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address")
}
