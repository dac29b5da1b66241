//! How fast segments go to S3, beside what people use today to bring files there.
//!
//! A real loghogd finds sealed segments in its log folder, as after an outage, and ships
//! them to a private s3s-fs (tools/s3-services); its clock runs from its start until the
//! last entry is in the index. boto3, which is what `aws s3 cp` is made of, uploads the
//! same files to the same server, without its own start; `aws s3 cp` and rclone, where they are
//! installed, with theirs. All in turn, several rounds.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use loghog_bench::{Scratch, median};

/// How fast segments go to S3.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many segments
    #[arg(long, default_value_t = 8)]
    segments: usize,
    /// Size of a segment before it is sealed, in MiB
    #[arg(long, default_value_t = 48)]
    mib: usize,
    /// How often each uploads all of them
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Folder with the servers
    #[arg(long, default_value = "target/services")]
    services: PathBuf,
    /// Ship without what the sealer has counted, as after an update
    #[arg(long)]
    uncounted: bool,
}

const ACCESS_KEY: &str = "LOGHOGBENCH";
const SECRET_KEY: &str = "loghog-bench-secret";

const FACILITIES: &str = "[app]\nrotate = daily\nbackup_count = 1000\nship = s\n";

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Uploads files by boto3; says how long that took, without its own start.
const BOTO3: &str = "
import sys, time, boto3
from botocore.config import Config
s3 = boto3.client('s3', endpoint_url=sys.argv[1], region_name='us-east-1',
    aws_access_key_id=sys.argv[2], aws_secret_access_key=sys.argv[3],
    config=Config(s3={'addressing_style': 'path'}))
s3.list_objects_v2(Bucket='other')
start = time.monotonic()
for path in sys.argv[4:]:
    s3.upload_file(path, 'other', path.rsplit('/', 1)[1])
print(time.monotonic() - start)
";

/// Ends with the measurement.
struct Server {
    child: Child,
    data: PathBuf,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What one run of ours has taken.
#[derive(Clone, Copy)]
struct Taken {
    seconds: f64,
    cpu_seconds: f64,
    peak_mib: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let server = Server::start(&arguments.services, folder.path())?;
    println!(
        "{} segments of {} MiB of lines each, medians of {}",
        arguments.segments, arguments.mib, arguments.rounds
    );
    println!("{:<28} {:>9} {:>12} {:>12}", "", "seconds", "MB/s sent", "MB/s lines");
    let plain = lines(arguments.mib << 20);
    for (format, level) in [("zstd", 3), ("xz", 1)] {
        measure(&arguments, &server, folder.path(), &plain, format, level)?;
    }
    Ok(())
}

fn measure(
    arguments: &Arguments,
    server: &Server,
    folder: &Path,
    plain: &[u8],
    format: &str,
    level: u32,
) -> Result<()> {
    let sections = |url: &str| {
        format!(
            "[compressor]\nformat = {format}\nlevel = {level}\n[ship:s]\ntype = s3\nbucket = logs\n\
             endpoint = {url}\naccess_key_id = {ACCESS_KEY}\nsecret_access_key = {SECRET_KEY}\n"
        )
    };
    let kept = folder.join(format);
    let sealed = seal(arguments, plain, &sections("http://127.0.0.1:1"), &kept)?;
    let tallies = kept.join(".loghogd/tally");
    if arguments.uncounted && tallies.exists() {
        fs::remove_dir_all(tallies)?;
    }
    let bytes: u64 =
        sealed.iter().map(|path| fs::metadata(path).map_or(0, |file| file.len())).sum();
    let show = |what: &str, seconds: f64, more: &str| {
        let rate = |bytes: f64| bytes / 1e6 / seconds;
        println!(
            "{:<28} {seconds:>9.2} {:>12.1} {:>12.1}{more}",
            format!("{format}: {what}"),
            rate(bytes as f64),
            rate((plain.len() * sealed.len()) as f64)
        );
    };
    let mut ours = Vec::new();
    let mut others: Vec<(&str, Vec<f64>)> = Vec::new();
    for _ in 0..arguments.rounds {
        ours.push(ship(server, &sections(&server.url), &kept, sealed.len())?);
        for (name, upload) in OTHERS {
            server.empty()?;
            let Some(seconds) = upload(arguments, server, &sealed)? else { continue };
            match others.iter_mut().find(|(other, _)| *other == name) {
                Some((_, all)) => all.push(seconds),
                None => others.push((name, vec![seconds])),
            }
        }
    }
    let of = |value: fn(&Taken) -> f64| median(ours.iter().map(value).collect());
    let more = format!(
        "   {:.2} s of CPU, {:.0} MiB at most",
        of(|taken| taken.cpu_seconds),
        of(|taken| taken.peak_mib)
    );
    show("loghogd, with its index", of(|taken| taken.seconds), &more);
    for (name, seconds) in others {
        show(name, median(seconds), "");
    }
    Ok(())
}

/// Lets a daemon seal segments that it cannot ship yet; returns what became of them, in a
/// copy of its log folder.
fn seal(arguments: &Arguments, plain: &[u8], sections: &str, kept: &Path) -> Result<Vec<PathBuf>> {
    let prepare = |log: &Path| -> Result<()> {
        fs::create_dir_all(log.join("app"))?;
        for number in 0..arguments.segments {
            let name = format!("root.log.2026-11-20-12-00-{number:02}-000000");
            fs::write(log.join("app").join(name), plain)?;
        }
        Ok(())
    };
    let mut daemon = Scratch::start_with(FACILITIES, sections, prepare)?;
    let log = daemon.path("log");
    wait_for("sealing", || {
        let names = files(&log.join("app"))?;
        let is_sealed = |path: &PathBuf| {
            path.extension().is_some_and(|extension| extension == "zst" || extension == "xz")
        };
        Ok(names.len() == arguments.segments && names.iter().all(is_sealed))
    })?;
    println!(
        "{}: sealing them took {:.2} s of CPU",
        kept.file_name().unwrap_or_default().display(),
        daemon.process().cpu()?.as_secs_f64()
    );
    daemon.kill()?;
    copy(&log, kept)?;
    files(&kept.join("app"))
}

/// Ships what is in a copy of a log folder.
fn ship(server: &Server, sections: &str, kept: &Path, count: usize) -> Result<Taken> {
    server.empty()?;
    let mut daemon =
        Scratch::start_with("[none]\nrotate = daily\nbackup_count = 1\n", "", |_| Ok(()))?;
    daemon.kill()?;
    fs::remove_dir_all(daemon.path("log"))?;
    copy(kept, &daemon.path("log"))?;
    fs::remove_dir_all(daemon.path("log").join(".loghogd/ship"))?;
    fs::write(daemon.path("facilities.conf"), FACILITIES)?;
    let index = server.data.join("logs/index/app/root/2026-11-20.json");
    let start = Instant::now();
    daemon.start_again_with(sections)?;
    wait_for("shipping", || {
        let text = fs::read_to_string(&index).unwrap_or_default();
        Ok(text.matches("{\"name\":").count() == count)
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let process = daemon.process();
    Ok(Taken {
        seconds,
        cpu_seconds: process.cpu()?.as_secs_f64(),
        peak_mib: process.memory_peak_kib()? as f64 / 1024.0,
    })
}

/// Uploads files; says how long that took, or nothing when it is not installed.
type Upload = fn(&Arguments, &Server, &[PathBuf]) -> Result<Option<f64>>;

const OTHERS: [(&str, Upload); 3] = [("boto3", boto3), ("aws s3 cp", aws), ("rclone copy", rclone)];

fn boto3(arguments: &Arguments, server: &Server, paths: &[PathBuf]) -> Result<Option<f64>> {
    let output = Command::new(arguments.services.join("moto/bin/python"))
        .args(["-c", BOTO3, &server.url, ACCESS_KEY, SECRET_KEY])
        .args(paths)
        .output()?;
    ensure!(output.status.success(), "boto3: {}", String::from_utf8_lossy(&output.stderr));
    Ok(Some(String::from_utf8(output.stdout)?.trim().parse()?))
}

fn aws(_: &Arguments, server: &Server, paths: &[PathBuf]) -> Result<Option<f64>> {
    let Some(folder) = paths.first().and_then(|path| path.parent()) else { return Ok(None) };
    timed(
        Command::new("aws")
            .args(["--endpoint-url", &server.url, "s3", "cp", "--recursive", "--only-show-errors"])
            .arg(folder)
            .arg("s3://other/")
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_DEFAULT_REGION", "us-east-1"),
    )
}

fn rclone(_: &Arguments, server: &Server, paths: &[PathBuf]) -> Result<Option<f64>> {
    let Some(folder) = paths.first().and_then(|path| path.parent()) else { return Ok(None) };
    let remote = format!(
        ":s3,provider=Other,force_path_style=true,no_check_bucket=true,access_key_id={ACCESS_KEY},\
         secret_access_key={SECRET_KEY},endpoint=\"{}\":other",
        server.url
    );
    let mut rclone = Command::new("rclone");
    // It stumbles over a bundle of authorities that others have named.
    rclone.env_remove("AWS_CA_BUNDLE").args(["copy", "--config", "/dev/null"]);
    timed(rclone.arg(folder).arg(remote))
}

/// How long a program runs; nothing when it is not installed.
fn timed(command: &mut Command) -> Result<Option<f64>> {
    let start = Instant::now();
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(Some(start.elapsed().as_secs_f64()))
}

impl Server {
    fn start(services: &Path, folder: &Path) -> Result<Server> {
        let data = folder.join("data");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        fs::create_dir(&data)?;
        let child = Command::new(services.join("s3s-0.14.1/bin/s3s-fs"))
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY])
            .arg(&data)
            .env("RUST_LOG", "error")
            .stdout(Stdio::null())
            .spawn()
            .context("run tools/s3-services first")?;
        let server = Server { child, data, url: format!("http://127.0.0.1:{port}") };
        wait_for("s3s-fs", || Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()))?;
        Ok(server)
    }

    /// There is nothing in any bucket.
    fn empty(&self) -> Result<()> {
        for bucket in ["logs", "other"] {
            let bucket = self.data.join(bucket);
            if bucket.exists() {
                fs::remove_dir_all(&bucket)?;
            }
            fs::create_dir(&bucket)?;
        }
        Ok(())
    }
}

fn wait_for(what: &str, mut is_done: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_done()? {
        if Instant::now() > deadline {
            bail!("{what} takes longer than {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// The files in a folder, in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(done.success(), "cp has failed");
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
