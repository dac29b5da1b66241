//! What was noted of one stream is damaged: the daemon starts, takes messages, and ships all
//! others; `loghogd ship` says which stream stands still and why, and a reload takes up what
//! was mended. A section that leads elsewhere is told with the command that sends again.

use std::fs;
use std::net::TcpStream;
use std::process::Command;

use loghog_tests::binaries::binary;
use loghog_tests::fake_http::{Answer, FakeHttp};
use loghog_tests::load::send_numbers;
use loghog_tests::{DEADLINE, Daemon, Scenario, wait_until};
use serde_json::Value;

const FACILITIES: &str = "[DEFAULT]\nrotate = size\nmax_size = 2000\nbackup_count = 100000\n\
                          ship = far\n[bad]\n[good]\n";

/// The one target, as `loghogd ship` has it.
fn target(daemon: &Daemon) -> Value {
    let mut command = Command::new(binary("loghogd"));
    command.arg("--config").arg(daemon.site().config_file()).args(["ship", "--json"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut targets: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    targets.remove(0)
}

fn wait_for(daemon: &Daemon, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    wait_until(DEADLINE, what, || {
        let target = target(daemon);
        is_so(&target).then_some(target)
    })
}

/// Who takes all that is written.
fn anybody() -> FakeHttp {
    FakeHttp::start(|_, _| Answer::Status(204, "", String::new()))
}

fn scenario(server: &FakeHttp) -> Scenario {
    Scenario::new()
        .facilities(FACILITIES)
        .option("compressor", "level", "0")
        .option("ship:far", "type", "influxdb")
        .option("ship:far", "url", &server.url())
        .option("ship:far", "database", "logs")
}

#[test]
fn a_damaged_state_stops_one_stream_and_not_the_daemon() {
    let server = anybody();
    let site = scenario(&server).option("ship:far", "when", "live").site();
    let folder = site.log_dir().join(".loghogd/ship/far:bad");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("root.log.7"), "damaged\n").unwrap();
    let daemon = site.start();
    for app in ["bad", "good"] {
        send_numbers(&mut TcpStream::connect(daemon.tcp()).unwrap(), app, "", 0..100);
    }
    daemon.wait_for_count("lines", 200);
    let far = wait_for(&daemon, "the good stream is there", |far| {
        far["records"] == 100 && far["stopped"][0]["stream"] == "bad/root"
    });
    let why = far["stopped"][0]["what"].as_str().unwrap();
    assert!(why.contains("far:bad/root.log.7 cannot be read: it is no state"), "{why}");
    fs::remove_file(folder.join("root.log.7")).unwrap();
    daemon.reload();
    wait_for(&daemon, "the other one is there", |far| {
        far["records"] == 200 && far["stopped"] == Value::Array(Vec::new())
    });
    assert!(daemon.stop().status.success());
}

#[test]
fn a_section_that_leads_elsewhere_is_told_and_its_command_sends_again() {
    let server = anybody();
    let daemon = scenario(&server).start();
    send_numbers(&mut TcpStream::connect(daemon.tcp()).unwrap(), "good", "", 0..200);
    daemon.wait_for_count("lines", 200);
    let folder = daemon.log_dir().join("good");
    let segments = wait_until(DEADLINE, "all segments are sealed", || {
        let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| name.into_string().unwrap());
        let closed: Vec<String> = names.filter(|name| name.starts_with("root.log.")).collect();
        let sealed = closed.iter().all(|name| name.ends_with(".xz"));
        (sealed && closed.len() > 3).then_some(closed.len())
    });
    let open = fs::read_to_string(folder.join("root.log")).unwrap_or_default();
    let records = 200 - open.lines().count();
    let all_there = |far: &Value| far["records"] == records && far["backlog_segments"] == 0;
    wait_for(&daemon, "all segments are there", all_there);
    let path = daemon.site().config_file();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("logs"), "{text}");
    let other: Vec<&str> = text
        .lines()
        .map(|line| if line.starts_with("database") { "database = others" } else { line })
        .collect();
    fs::write(&path, other.join("\n") + "\n").unwrap();
    daemon.reload();
    let said = daemon.wait_until_it_said("--to ");
    let (_, command) = said.split_once("loghogd ship replay ").unwrap();
    let words: Vec<&str> = command.lines().next().unwrap().split_whitespace().collect();
    assert!(said.contains("database others, type influxdb"), "{said}");
    let mut replay = Command::new(binary("loghogd"));
    replay.arg("--config").arg(&path).args(["ship", "replay"]).args(&words);
    let output = replay.output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    let answered = String::from_utf8(output.stdout).unwrap();
    assert!(answered.starts_with(&format!("{segments} segments are sent again")), "{answered}");
    // Its thread is another one, which counts anew.
    wait_for(&daemon, "they are there as well", all_there);
    assert!(daemon.stop().status.success());
}
