//! Runs InfluxDB and VictoriaMetrics.
//! A `Setup` -> a running server -> its points.
//! Invariant: all instances of a server answer at the same address, with the same data.
//! Leaves out: what is shipped there.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::services::fetched;
use crate::wait::{DEADLINE, wait_until};

/// How long a question may take.
const QUESTION_TIME_MAX: Duration = Duration::from_secs(20);

/// Points that are asked for at once.
const PAGE_POINTS: usize = 50_000;

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Who is not known may do nothing. The first user is `admin` with the password
    /// `admin-password`.
    pub auth: bool,
    /// Most series of a database.
    pub series_max: Option<u32>,
    /// Longest request, in bytes.
    pub body_bytes_max: Option<u32>,
    /// A PEM file with certificate and key, to speak TLS.
    pub pem: Option<PathBuf>,
}

/// A private InfluxDB 1.
#[derive(Debug)]
pub struct InfluxDb {
    server: Server,
    setup: Setup,
    was_killed: bool,
}

/// A private VictoriaMetrics.
#[derive(Debug)]
pub struct VictoriaMetrics {
    server: Server,
}

/// What both have in common.
#[derive(Debug)]
struct Server {
    folder: TempDir,
    program: &'static str,
    arguments: Vec<String>,
    address: SocketAddr,
    child: Option<Child>,
}

impl InfluxDb {
    /// Starts one and waits until it answers.
    pub fn start(setup: Setup) -> InfluxDb {
        let server = Server::new("influxd", |server| {
            std::fs::write(server.folder.path().join("influxdb.conf"), config(server, &setup))
                .expect("a writable folder");
            server.arguments = vec![
                "run".to_owned(),
                "-config".to_owned(),
                server.folder.path().join("influxdb.conf").display().to_string(),
            ];
        });
        let mut influxdb = InfluxDb { server, setup, was_killed: false };
        influxdb.restart();
        if influxdb.setup.auth {
            influxdb.ask("CREATE USER admin WITH PASSWORD 'admin-password' WITH ALL PRIVILEGES");
        }
        influxdb
    }

    /// What `url` has to be.
    pub fn url(&self) -> String {
        let scheme = if self.setup.pem.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.server.address)
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Starts it, after [`kill`](InfluxDb::kill), and waits until it answers.
    ///
    /// InfluxDB 1.6 cuts off at a start what of its log a kill has torn, and then writes on
    /// behind where that ended: whatever it acknowledges from then on, it throws away at
    /// the start behind the next kill. So after a kill it starts once where nobody finds it.
    pub fn restart(&mut self) {
        let tls = self.setup.pem.is_some();
        let is_ready = |address| match tls {
            true => TcpStream::connect(address).is_ok(),
            false => get(address, "/ping").is_some(),
        };
        if std::mem::take(&mut self.was_killed) {
            self.server.start(free_address(), is_ready);
            self.server.kill();
        }
        self.server.start(self.server.address, is_ready);
    }

    /// Ends it without warning (SIGKILL).
    pub fn kill(&mut self) {
        self.server.kill();
        self.was_killed = true;
    }

    /// Stops it where it is, without an end (SIGSTOP).
    pub fn freeze(&self) {
        self.server.signal(Signal::SIGSTOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) {
        self.server.signal(Signal::SIGCONT);
    }

    /// Asks something of no database.
    pub fn ask(&self, question: &str) -> Value {
        self.query("", question)
    }

    /// Asks in a database.
    ///
    /// # Panics
    /// When it says that something is wrong.
    #[track_caller]
    pub fn query(&self, database: &str, question: &str) -> Value {
        let (auth, login) = (self.setup.auth, "&u=admin&p=admin-password");
        let path = format!(
            "/query?epoch=ns&db={}&q={}{}",
            encode(database),
            encode(question),
            if auth { login } else { "" }
        );
        // What changes something has to be posted.
        let way = if question.starts_with("SELECT") || question.starts_with("SHOW") {
            "GET"
        } else {
            "POST"
        };
        let (status, body) = request(self.address(), way, &path).expect("an answer");
        assert_eq!(status, 200, "{question}: {body}");
        let answer: Value = serde_json::from_str(&body).expect("JSON");
        let result = answer["results"][0].clone();
        assert!(result["error"].is_null(), "{question}: {result}");
        result
    }

    /// All points of a measurement: each an object of its columns, but for those that
    /// are null.
    #[track_caller]
    pub fn points(&self, database: &str, measurement: &str) -> Vec<Value> {
        self.pages(database, measurement).flatten().collect()
    }

    /// The same, some at a time.
    pub fn pages(&self, database: &str, measurement: &str) -> impl Iterator<Item = Vec<Value>> {
        let page = |number: usize| self.page(database, measurement, number * PAGE_POINTS);
        let mut pages = (0..).map(page);
        let mut last = false;
        std::iter::from_fn(move || {
            let page = if last { None } else { pages.next() };
            last = page.as_ref().is_none_or(|page| page.len() < PAGE_POINTS);
            page
        })
    }

    #[track_caller]
    fn page(&self, database: &str, measurement: &str, offset: usize) -> Vec<Value> {
        let question =
            format!("SELECT * FROM \"{measurement}\" LIMIT {PAGE_POINTS} OFFSET {offset}");
        let series = self.query(database, &question)["series"][0].clone();
        let Some(values) = series["values"].as_array() else { return Vec::new() };
        let columns = series["columns"].as_array().expect("columns");
        let point = |row: &Value| {
            let row = row.as_array().expect("a row");
            let pairs = columns.iter().zip(row).filter(|(_, value)| !value.is_null());
            pairs
                .map(|(name, value)| (name.as_str().expect("a name").to_owned(), value.clone()))
                .collect::<serde_json::Map<_, _>>()
        };
        values.iter().map(|row| Value::Object(point(row))).collect()
    }

    /// How many points a measurement has.
    #[track_caller]
    pub fn count(&self, database: &str, measurement: &str) -> u64 {
        let question = format!("SELECT count(body) FROM \"{measurement}\"");
        let series = self.query(database, &question)["series"][0].clone();
        series["values"][0][1].as_u64().unwrap_or(0)
    }
}

impl VictoriaMetrics {
    /// Starts one and waits until it answers.
    pub fn start() -> VictoriaMetrics {
        let mut server = Server::new("victoria-metrics", |server| {
            server.arguments = vec![
                format!("-storageDataPath={}", server.folder.path().join("data").display()),
                format!("-httpListenAddr={}", server.address),
                "-retentionPeriod=100y".to_owned(),
            ];
        });
        server.start(server.address, |address| get(address, "/health").is_some());
        VictoriaMetrics { server }
    }

    /// What `url` has to be.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// All series whose metric has this name: tags, values and times, as it exports them.
    #[track_caller]
    pub fn export(&self, metric: &str) -> Vec<Value> {
        get(self.server.address, "/internal/force_flush").expect("an answer");
        let selector = format!("{{__name__=\"{metric}\"}}");
        let path = format!("/api/v1/export?match[]={}", encode(&selector));
        let body = get(self.server.address, &path).expect("an answer");
        body.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

impl Server {
    fn new(program: &'static str, prepare: impl FnOnce(&mut Server)) -> Server {
        let folder = tempfile::Builder::new().prefix("loghog-influxdb-").tempdir();
        let mut server = Server {
            folder: folder.expect("a writable folder for temporary files"),
            program,
            arguments: Vec::new(),
            address: free_address(),
            child: None,
        };
        prepare(&mut server);
        server
    }

    #[track_caller]
    fn start(&mut self, address: SocketAddr, is_ready: impl Fn(SocketAddr) -> bool) {
        assert!(self.child.is_none(), "it runs");
        let log = File::create(self.folder.path().join("log")).expect("a writable folder");
        let child = Command::new(fetched("influxdb", self.program))
            .args(&self.arguments)
            .env("HOME", self.folder.path())
            // Stronger than the address of InfluxDB's configuration.
            .env("INFLUXDB_HTTP_BIND_ADDRESS", address.to_string())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("it can be executed");
        let child = self.child.insert(child);
        wait_until(DEADLINE, &format!("{} answers", self.program), || {
            if let Some(status) = child.try_wait().expect("our own child") {
                let said = std::fs::read_to_string(self.folder.path().join("log"));
                panic!("{} ended ({status}): {}", self.program, said.unwrap_or_default());
            }
            is_ready(address).then_some(())
        });
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child");
            child.wait().expect("our own child");
        }
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a pid"));
        kill(pid, signal).expect("it is our child");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail harmlessly when it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn config(server: &Server, setup: &Setup) -> String {
    let folder = server.folder.path().display();
    let tls = setup.pem.as_ref().map_or(String::new(), |pem| {
        format!("https-enabled = true\nhttps-certificate = \"{}\"\n", pem.display())
    });
    format!(
        "reporting-enabled = false\nbind-address = \"127.0.0.1:0\"\n\
         [meta]\ndir = \"{folder}/meta\"\n\
         [data]\ndir = \"{folder}/data\"\nwal-dir = \"{folder}/wal\"\nquery-log-enabled = false\n\
         max-series-per-database = {series_max}\n\
         [monitor]\nstore-enabled = false\n\
         [ifql]\nenabled = false\n\
         [http]\nbind-address = \"{address}\"\nauth-enabled = {auth}\nlog-enabled = false\n\
         max-body-size = {body_bytes_max}\n{tls}",
        series_max = setup.series_max.unwrap_or(0),
        address = server.address,
        auth = setup.auth,
        body_bytes_max = setup.body_bytes_max.unwrap_or(25_000_000),
    )
}

/// One where nobody listens. Somebody else could take it before we do; the server says
/// so then.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address")
}

/// The body of an answer that is no error.
fn get(address: SocketAddr, path: &str) -> Option<String> {
    request(address, "GET", path).filter(|(status, _)| *status < 300).map(|(_, body)| body)
}

/// In HTTP 1.0 the body is all that follows.
fn request(address: SocketAddr, way: &str, path: &str) -> Option<(u16, String)> {
    let mut socket = TcpStream::connect_timeout(&address, QUESTION_TIME_MAX).ok()?;
    socket.set_read_timeout(Some(QUESTION_TIME_MAX)).ok()?;
    let head = format!("{way} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
    socket.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// For a query of a URL.
fn encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
