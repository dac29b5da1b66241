//! How fast segments go to S3, beside boto3, which is what `aws s3 cp` is made of.
//!
//! Both upload the same files to the same private s3s-fs (tools/s3-services), one after
//! the other. The clock of either stops when the last object is there; for ours, when
//! its entry is in the index as well.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use jiff::tz::TimeZone;
use loghogd::config::ship::Kind;
use loghogd::config::{Overrides, read_config, read_facilities};
use loghogd::disk::LogDir;
use loghogd::pipeline::rotate::name::Name;
use loghogd::pipeline::ship::s3::S3Target;
use loghogd::pipeline::ship::{Segments as _, Stream, Surroundings, Whole};

/// How fast segments go to S3.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many segments
    #[arg(long, default_value_t = 8)]
    segments: usize,
    /// Size of a segment before it is sealed, in MiB
    #[arg(long, default_value_t = 48)]
    mib: usize,
    /// Folder with the servers
    #[arg(long, default_value = "target/services")]
    services: PathBuf,
}

const ACCESS_KEY: &str = "LOGHOGBENCH";
const SECRET_KEY: &str = "loghog-bench-secret";

/// Uploads files by boto3; says how long that took, without its own start.
const BOTO3: &str = "
import sys, time, boto3
from botocore.config import Config
s3 = boto3.client('s3', endpoint_url=sys.argv[1], region_name='us-east-1',
    aws_access_key_id=sys.argv[2], aws_secret_access_key=sys.argv[3],
    config=Config(s3={'addressing_style': 'path'}))
s3.list_objects_v2(Bucket='boto')
start = time.monotonic()
for path in sys.argv[4:]:
    s3.upload_file(path, 'boto', path.rsplit('/', 1)[1])
print(time.monotonic() - start)
";

/// Ends with the measurement.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    for bucket in ["logs", "boto"] {
        fs::create_dir_all(data.join(bucket))?;
    }
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let server = Command::new(arguments.services.join("s3s-0.14.1/bin/s3s-fs"))
        .args(["--host", "127.0.0.1", "--port", &port.to_string()])
        .args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY])
        .arg(&data)
        .env("RUST_LOG", "error")
        .stdout(Stdio::null())
        .spawn()
        .context("run tools/s3-services first")?;
    let server = Server(server);
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        ensure!(Instant::now() < deadline, "s3s-fs does not listen");
        std::thread::sleep(Duration::from_millis(5));
    }
    let url = format!("http://127.0.0.1:{port}");
    println!("{} segments of {} MiB of lines each", arguments.segments, arguments.mib);
    println!("{:<28} {:>9} {:>12} {:>12}", "", "seconds", "MB/s sent", "MB/s lines");
    let plain = lines(arguments.mib << 20);
    for (extension, program) in
        [("zst", &["zstd", "-q", "-c"][..]), ("xz", &["xz", "-1", "-T2", "-c"])]
    {
        let log_dir = folder.path().join(extension);
        let names = prepare(&log_dir, &plain, extension, program, arguments.segments)?;
        let paths: Vec<PathBuf> = names.iter().map(|name| log_dir.join("app").join(name)).collect();
        let bytes: u64 =
            paths.iter().map(|path| fs::metadata(path).map_or(0, |facts| facts.len())).sum();
        let show = |what: &str, seconds: f64| {
            let rate = |bytes: f64| bytes / 1e6 / seconds;
            let lines = (plain.len() * names.len()) as f64;
            println!(
                "{:<28} {seconds:>9.2} {:>12.1} {:>12.1}",
                format!("{extension}: {what}"),
                rate(bytes as f64),
                rate(lines)
            );
        };
        show("loghogd, with its index", ours(&url, &log_dir, &names)?);
        show("boto3", boto3(&arguments.services, &url, &paths)?);
    }
    drop(server);
    Ok(())
}

/// Lines as applications write them.
fn lines(bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 200);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let line = format!(
            "2026-11-20 12:{:02}:{:02}.{:06} - web{:02} - INFO - GET /items/{}?session={state:016x} \
             200 in {} ms\n",
            state % 60,
            state / 60 % 60,
            state % 1_000_000,
            state % 12,
            state % 5_000,
            state % 900
        );
        text.extend_from_slice(line.as_bytes());
    }
    text
}

fn prepare(
    log_dir: &Path,
    plain: &[u8],
    extension: &str,
    program: &[&str],
    count: usize,
) -> Result<Vec<String>> {
    fs::create_dir_all(log_dir.join("app"))?;
    let from = log_dir.join("plain");
    fs::write(&from, plain)?;
    let [name, arguments @ ..] = program else { bail!("no program") };
    let output = Command::new(name).args(arguments).arg(&from).output()?;
    ensure!(output.status.success(), "{name} has failed");
    fs::remove_file(from)?;
    let names: Vec<String> = (0..count)
        .map(|number| format!("root.log.2026-11-20-12-00-{number:02}-000000.{extension}"))
        .collect();
    for name in &names {
        fs::write(log_dir.join("app").join(name), &output.stdout)?;
    }
    Ok(names)
}

fn ours(url: &str, log_dir: &Path, names: &[String]) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let text = format!(
        "[server]\nlisten_ipv4 = 127.0.0.1:0\n[ship:s]\ntype = s3\nbucket = logs\nendpoint = {url}\n\
         access_key_id = {ACCESS_KEY}\nsecret_access_key = {SECRET_KEY}\n"
    );
    let file = Path::new("/etc/loghogd/loghogd.conf");
    let config = read_config(text.as_bytes(), file, &Overrides::default());
    let (config, _) = config.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let Some(Kind::S3(options)) = config.ship.into_iter().next().map(|target| target.kind) else {
        bail!("no target");
    };
    let text = b"[app]\nrotate = daily\nbackup_count = 3\n";
    let table = read_facilities(text, Path::new("facilities.conf"));
    let table = table.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let facility = table.find("app", "").context("a facility")?;
    let disk = LogDir::open(log_dir)?;
    let surroundings =
        Surroundings::new(runtime.handle().clone(), "0123456789abcdef", TimeZone::UTC);
    let mut target = S3Target::new("s", &options, surroundings)?;
    target.connect()?;
    let start = Instant::now();
    for name in names {
        let Name::Segment(segment) = Name::read(name) else { bail!("{name}") };
        let whole = Whole {
            stream: Arc::new(Stream { app: "app".into(), live: segment.live.clone() }),
            facility: Arc::clone(facility),
            segment,
            disk: &disk,
        };
        let arrived = target.deliver(&whole)?;
        ensure!(arrived.bytes > 0, "it was there already");
    }
    Ok(start.elapsed().as_secs_f64())
}

fn boto3(services: &Path, url: &str, paths: &[PathBuf]) -> Result<f64> {
    let output = Command::new(services.join("moto/bin/python"))
        .args(["-c", BOTO3, url, ACCESS_KEY, SECRET_KEY])
        .args(paths)
        .output()?;
    ensure!(output.status.success(), "boto3: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
