//! The configuration files as shipped, as the original wrote them, and as
//! people get them wrong; and the questions about them, by the real program.

use loghogd::config::checked::{Family, Format, MinFree, When};
use loghogd::config::facility::{LineFormat, Origin, Table};
use loghogd::config::{self, Config, Kind, Overrides, Problem};
use proptest::prelude::*;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../etc/loghogd/");

fn read(text: &str, overrides: &Overrides) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    config::read_config(text.as_bytes(), Path::new("/etc/loghogd/loghogd.conf"), overrides)
}

fn accepted(text: &str) -> Config {
    read(text, &Overrides::default()).unwrap_or_else(|problems| panic!("{text}: {problems:#?}")).0
}

/// Line and kind of each problem.
fn refused(text: &str) -> Vec<(Option<u32>, Kind)> {
    let problems = read(text, &Overrides::default()).expect_err(text);
    problems.iter().map(|problem| (problem.line, problem.kind)).collect()
}

fn facilities(text: &str) -> Result<Table, Vec<Problem>> {
    config::read_facilities(text.as_bytes(), Path::new("facilities.conf"))
}

/// A folder with both files, and the program asked about them.
struct Asked(TempDir);

impl Asked {
    fn new(config: &str, facilities: &str) -> Asked {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("loghogd.conf"), config).unwrap();
        fs::write(folder.path().join("facilities.conf"), facilities).unwrap();
        Asked(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loghogd"));
        command.args(arguments).arg("--config").arg(self.path("loghogd.conf")).output().unwrap()
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn the_shipped_files_load_and_say_the_defaults() {
    let path = Path::new(SHIPPED).join("loghogd.conf");
    let shipped = config::load(&path, &Overrides::default()).unwrap();
    assert_eq!(shipped.warnings, []);
    let (mut defaults, _) = config::read_config(b"", &path, &Overrides::default()).unwrap();
    defaults.folder.clone_from(&shipped.config.folder);
    defaults.main.facilities_config.clone_from(&shipped.config.main.facilities_config);
    assert_eq!(shipped.config, defaults);
}

/// What the shipped files only suggest must be right, too.
#[test]
fn the_shipped_examples_load_when_uncommented() {
    for name in ["loghogd.conf", "facilities.conf"] {
        let text = fs::read_to_string(Path::new(SHIPPED).join(name)).unwrap();
        let active: Vec<&str> =
            text.lines().map(|line| line.strip_prefix(';').unwrap_or(line)).collect();
        let active = active.join("\n");
        if name == "loghogd.conf" {
            let config = accepted(&active.replace("ipv4_ssl =", "ipv4_ssl = 127.0.0.1"));
            assert_eq!(config.main.user.as_deref(), Some("loghog"));
            assert!(config.server.tls.unwrap().crl.is_some());
        } else {
            let table = facilities(&active).unwrap();
            let found = table.find("my-app", "web.requests.slow").unwrap();
            assert_eq!((&*found.module, found.flush_every), ("web.requests", 1000));
            assert!(found.key.is_some());
        }
    }
}

#[test]
fn the_options_of_the_original_keep_their_meaning() {
    let config = accepted(
        "[main]\ndaemon = yes\nworkdir = /var/lib/x\nlogdir = /var/log/x\nrundir = /run/x\n\
         facilities_config = f.conf ; relative\npidfile = x.pid\nuser = nobody\n\
         [log]\nbackup_count = 7\nwhen = w6\nfilename = /tmp/x.log\nlevel = debug\n\
         [compressor]\nformat = bzip2\nlevel = 9\ncompress_on_write = on\n\
         [server]\nlisten_ipv4 = 127.0.0.1, localhost:15566\nlisten_ipv6 = [::0]:5588\n\
         default_port: 1000\nlisten_ipv4_ssl = 0.0.0.0\nlisten_ipv6_ssl = \n\
         default_port_ssl = 2000\npemfile = certs/s.pem\ncacert = /ca.cert\n",
    );
    let main = &config.main;
    assert!(main.daemon);
    assert_eq!(main.facilities_config, Path::new("/etc/loghogd/f.conf"));
    assert_eq!(main.pidfile.as_deref(), Some(Path::new("/run/x/x.pid")));
    assert_eq!(
        (config.log.level, config.log.when),
        (tracing::Level::DEBUG, When::Weekly { weekday: 6 })
    );
    assert_eq!((config.compressor.format, config.compressor.level), (Format::Bzip2, 9));
    let listen: Vec<String> = config
        .server
        .listen
        .iter()
        .map(|listen| format!("{listen} {:?} {}", listen.family, listen.tls))
        .collect();
    let expected = [
        "127.0.0.1:1000 V4 false",
        "localhost:15566 V4 false",
        "[::0]:5588 V6 false",
        "0.0.0.0:2000 V4 true",
    ];
    assert_eq!(listen, expected);
    let tls = config.server.tls.unwrap();
    assert_eq!(tls.pemfile, Path::new("/etc/loghogd/certs/s.pem"));
    assert_eq!(tls.cacert, Path::new("/ca.cert"));
}

#[test]
fn an_empty_file_gives_the_defaults_of_the_original() {
    let config = accepted("");
    let listen: Vec<String> = config.server.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["127.0.0.1:5566", "[::1]:5566"]);
    assert_eq!(config.server.listen[1].family, Family::V6);
    assert_eq!(config.server.tls, None);
    assert_eq!(config.server.frame_bytes_max, wire::limits::FRAME_BYTES_MAX);
    assert_eq!(config.server.datagram_bytes_max, wire::limits::DATAGRAM_BYTES_MAX);
    assert_eq!(config.main.pidfile.as_deref(), Some(Path::new("/var/run/loghogd/loghogd.pid")));
    assert_eq!(config.log.filename.as_deref(), Some(Path::new("/var/log/loghogd/loghogd.log")));
}

#[test]
fn the_command_line_beats_the_file() {
    let given = Some(PathBuf::from("given"));
    let overrides = Overrides {
        daemon: true,
        facilities_config: given.clone(),
        log: given.clone(),
        logdir: given.clone(),
        pidfile: given.clone(),
        rundir: Some("/run/given".into()),
        workdir: given,
        user: Some("given".to_owned()),
    };
    let text = "[main]\ndaemon = no\nfacilities_config = f\nlogdir = l\npidfile = /p\n\
                rundir = /r\nworkdir = w\nuser = u\n[log]\nfilename = l\n";
    let (config, _) = read(text, &overrides).unwrap();
    let given = Path::new("/etc/loghogd/given");
    let main = config.main;
    assert!(main.daemon);
    assert_eq!([&main.facilities_config, &main.logdir, &main.workdir], [given; 3]);
    assert_eq!(config.log.filename.as_deref(), Some(given));
    assert_eq!(main.pidfile.as_deref(), Some(Path::new("/run/given/given")));
    assert_eq!(main.user.as_deref(), Some("given"));
}

#[test]
fn empty_values_switch_optional_files_off() {
    let config = accepted("[main]\npidfile =\nuser = \"\"\n[log]\nfilename =\n");
    assert_eq!((config.main.pidfile, config.main.user, config.log.filename), (None, None, None));
    assert_eq!(refused("[main]\nlogdir =\n"), [(Some(2), Kind::BadValue)]);
}

#[test]
fn an_obsolete_section_is_a_warning() {
    let (_, warnings) = read("[scheduler]\ndb_filename = x\n", &Overrides::default()).unwrap();
    assert_eq!((warnings[0].line, warnings[0].kind), (Some(1), Kind::Obsolete));
}

#[test]
fn every_bad_value_is_told_with_its_line() {
    let text = "[main]\ndaemon = maybe\nmax_open_files = 0\nmax_hosts = x\nmax_clients = 0\nlogdirr = /x\n\
                [log]\nlevel = loud\nwhen = noon\nbackup_count = -1\n\
                [compressor]\nformat = rar\nlevel = 10\n\
                [server]\nlisten_ipv4 = [::1]\nlisten_ipv6 = 1.2.3.4\ndefault_port = 65536\n\
                max_frame = 2 MiB\nmax_datagram = 70000\nmax_connections = 0\n[severs]\n";
    let lines: Vec<u32> = refused(text).iter().map(|(line, _)| line.unwrap()).collect();
    assert_eq!(lines, [2, 3, 4, 5, 6, 8, 9, 10, 12, 13, 15, 16, 17, 18, 19, 20, 21]);
}

#[test]
fn addresses_must_make_sense_together() {
    let none = "[server]\nlisten_ipv4 =\nlisten_ipv6 =\n";
    assert_eq!(refused(none), [(Some(1), Kind::BadValue)]);
    let twice = "[server]\nlisten_ipv6 = [::1], [0:0::1]\n";
    assert_eq!(refused(twice), [(Some(2), Kind::Duplicate)]);
    let both = "[server]\nlisten_ipv4_ssl = 127.0.0.1:5566\npemfile = a\ncacert = b\n";
    assert_eq!(refused(both), [(Some(2), Kind::Duplicate)]);
    let bare = "[server]\nlisten_ipv4_ssl = 127.0.0.1\ncacert =\n";
    let missing = [(Some(1), Kind::MissingOption), (Some(3), Kind::MissingOption)];
    assert_eq!(refused(bare), missing);
    let any = accepted("[server]\nlisten_ipv4 = 127.0.0.1:0, 127.0.0.1:0\n");
    assert_eq!(any.server.listen.len(), 3);
}

#[test]
fn all_problems_of_both_files_come_at_once() {
    let asked = Asked::new("[main]\ndaemon = maybe\n", "[a]\nrotate = never\n");
    let problems = config::load(&asked.path("loghogd.conf"), &Overrides::default()).unwrap_err();
    let told: Vec<(Option<&str>, u32)> = problems
        .iter()
        .map(|problem| (problem.file.file_name().unwrap().to_str(), problem.line.unwrap()))
        .collect();
    let expected = [("loghogd.conf", 2), ("facilities.conf", 1), ("facilities.conf", 2)];
    assert_eq!(told, expected.map(|(file, line)| (Some(file), line)));
}

#[test]
fn facilities_that_could_share_a_file_are_refused() {
    let section = "rotate = daily\nbackup_count = 1\n";
    let two = |first: &str, second: &str, options: &str| {
        facilities(&format!("[a]\n{section}[a:{first}]\n{section}{options}[a:{second}]\n{section}"))
    };
    let per_host = "file_per_host = yes\n";
    // The host "x" of "web" would write to the file of "x-web".
    let problems = two("web", "x-web", per_host).unwrap_err();
    assert_eq!((problems[0].line, problems[0].kind), (Some(8), Kind::Collision));
    assert!(problems[0].remedy.contains("line 7"), "{}", problems[0]);
    assert!(two("web", "x-web", "").is_ok());
    assert!(two("web", "x-webs", per_host).is_ok());
    assert!(two("web", "-web", per_host).is_ok());
    // The host "x-" of "web" would write to the file of the host "x" of "-web".
    let both = format!("[DEFAULT]\n{per_host}[a]\n{section}[a:web]\n{section}[a:-web]\n{section}");
    assert_eq!(facilities(&both).unwrap_err()[0].kind, Kind::Collision);
    // No host is encoded like this.
    assert!(two("web", "\u{e9}-web", per_host).is_ok());
    let everywhere = format!("[DEFAULT]\n{per_host}[a]\n{section}[a:db-root]\n{section}");
    assert_eq!(facilities(&everywhere).unwrap_err()[0].kind, Kind::Collision);
    let apart = format!("[DEFAULT]\n{per_host}[a]\n{section}[b]\n{section}[b:db]\n{section}");
    assert!(facilities(&apart).is_ok());
}

#[test]
fn what_is_deleted_is_inherited_and_can_be_switched_off() {
    let section = "rotate = daily\nbackup_count = 1\n";
    let table = facilities(&format!(
        "[a]\n{section}max_age = 30\nmax_total_size = 1 GiB\n\
         [a:web]\n{section}\
         [a:web.short]\n{section}max_age = 12h\nmax_total_size = 500\n\
         [a:kept]\n{section}max_age = 0\nmax_total_size = 0\n[b]\n{section}",
    ))
    .unwrap();
    let days = |days: u64| Some(Duration::from_secs(days * 86_400));
    for (app, module, age_max, total_bytes_max) in [
        ("a", "", days(30), Some(1 << 30)),
        ("a", "web", days(30), Some(1 << 30)),
        ("a", "web.short", Some(Duration::from_secs(12 * 3_600)), Some(500)),
        ("a", "kept", None, None),
        ("b", "", None, None),
    ] {
        let facility = table.find(app, module).unwrap();
        assert_eq!(facility.age_max(), age_max, "{app}:{module}");
        let total = facility.total_bytes_max().map(|bytes| bytes.get());
        assert_eq!(total, total_bytes_max, "{app}:{module}");
    }
    let web = table.find("a", "web").unwrap().origins;
    assert_eq!(web.max_age, Origin::Root { line: 4 });
    assert_eq!(web.max_total_size, Origin::Root { line: 5 });
    let bad = facilities(&format!("[a]\n{section}max_age = long\nmax_total_size = 1x\n"));
    let lines: Vec<Option<u32>> = bad.unwrap_err().iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [Some(4), Some(5)]);
}

#[test]
fn what_is_required_and_the_format_are_inherited_and_can_be_switched_off() {
    let section = "rotate = daily\nbackup_count = 1\n";
    let table = facilities(&format!(
        "[a]\n{section}require = v2, tls\nformat = json\n\
         [a:web]\n{section}\
         [a:old]\n{section}require =\nformat = text\n[b]\n{section}",
    ))
    .unwrap();
    for (app, module, v2, tls, format) in [
        ("a", "", true, true, LineFormat::Json),
        ("a", "web.requests", true, true, LineFormat::Json),
        ("a", "old", false, false, LineFormat::Text),
        ("b", "", false, false, LineFormat::Text),
    ] {
        let facility = table.find(app, module).unwrap();
        let require = facility.require;
        assert_eq!((require.v2, require.tls, facility.format), (v2, tls, format), "{app}:{module}");
    }
    let origins = table.find("a", "web").unwrap().origins;
    let inherited = (Origin::Root { line: 4 }, Origin::Root { line: 5 });
    assert_eq!((origins.require, origins.format), inherited);
    let bad = facilities(&format!("[a]\n{section}require = ssl\nformat = xml\n")).unwrap_err();
    let told: Vec<_> = bad.iter().map(|problem| (problem.line, problem.kind)).collect();
    assert_eq!(told, [(Some(4), Kind::BadValue), (Some(5), Kind::BadValue)]);
    // Nobody switches protection off by a comment in the wrong place.
    let swallowed = facilities(&format!("[a]\n{section}require = ;tls\n")).unwrap_err();
    assert_eq!((swallowed[0].line, swallowed[0].kind), (Some(4), Kind::BadValue));
}

#[test]
fn tls_can_be_required_only_where_somebody_listens_for_it() {
    let section = "rotate = daily\nbackup_count = 1\n";
    let facilities =
        format!("[a]\n{section}require = v2, tls\n[a:web]\n{section}[b]\n{section}require = tls\n");
    let load = |config| {
        let asked = Asked::new(config, &facilities);
        config::load(&asked.path("loghogd.conf"), &Overrides::default())
    };
    let tls = "[server]\nlisten_ipv4_ssl = 127.0.0.1\npemfile = s.pem\ncacert = c.pem\n";
    assert!(load(tls).is_ok());
    let problems = load("").unwrap_err();
    let told: Vec<_> = problems.iter().map(|problem| (problem.line, problem.kind)).collect();
    assert_eq!(told, [(Some(4), Kind::OutOfReach), (Some(11), Kind::OutOfReach)], "once a line");
    assert!(problems[0].file.ends_with("facilities.conf"));
    assert!(problems[0].remedy.contains("listen_ipv4_ssl"));
}

#[test]
fn room_to_keep_free_is_a_size_or_a_percentage() {
    let tenths = |tenths| Some(MinFree::Percent { tenths });
    for (text, min_free) in [
        ("", None),
        ("0", None),
        ("0%", None),
        ("0 %", None),
        ("500", Some(MinFree::Bytes(500))),
        ("2 GiB", Some(MinFree::Bytes(2 << 30))),
        ("5%", tenths(50)),
        (" 2.5 % ", tenths(25)),
        ("50%", tenths(500)),
    ] {
        let main = accepted(&format!("[main]\nmin_free = {text}\n")).main;
        assert_eq!(main.min_free, min_free, "{text}");
    }
    assert_eq!(accepted("").main.min_free, None);
    for text in ["x", "%", "-1", "5.55%", "5.%", ".5%", "50.1%", "90%", "101%", "5 percent"] {
        let problems = refused(&format!("[main]\nmin_free = {text}\n"));
        assert_eq!(problems, [(Some(2), Kind::BadValue)], "{text}");
    }
    assert_eq!(MinFree::Bytes(7).bytes_of(1_000), 7);
    assert_eq!(MinFree::Percent { tenths: 25 }.bytes_of(1_000_000), 25_000);
    assert_eq!(MinFree::Percent { tenths: 500 }.bytes_of(u64::MAX), u64::MAX / 2);
}

proptest! {
    #[test]
    fn room_to_keep_free_loads_equal_as_it_is_printed(bytes in 1..=u64::MAX, tenths in 1..=500_u16) {
        for min_free in [MinFree::Bytes(bytes), MinFree::Percent { tenths }] {
            let main = accepted(&format!("[main]\nmin_free = {min_free}\n")).main;
            prop_assert_eq!(main.min_free, Some(min_free));
        }
    }
}

#[test]
fn values_know_where_they_came_from() {
    let table = facilities(
        "[DEFAULT]\nbackup_count = 3\n[a]\nrotate = daily\nsecret = s\nmax_size = 5\n\
         [a:web]\nrotate = hourly\nmax_size = 6\n",
    )
    .unwrap();
    let origins = table.find("a", "web").unwrap().origins;
    assert_eq!(origins.section_line, 7);
    assert_eq!(origins.rotate, Origin::Section { line: 8 });
    assert_eq!(origins.backup_count, Origin::Defaults { line: 2 });
    assert_eq!(origins.secret, Origin::Root { line: 5 });
    assert_eq!(origins.max_size, Origin::Section { line: 9 });
    assert_eq!(origins.flush_every, Origin::BuiltIn);
}

#[test]
fn defaults_beat_the_root_facility_as_they_did_in_python() {
    let table = facilities(
        "[DEFAULT]\nrotate = daily\nbackup_count = 1\nflush_every = 2\n\
         [a]\nflush_every = 3\n[a:web]\n",
    )
    .unwrap();
    assert_eq!(table.find("a", "").unwrap().flush_every, 3);
    assert_eq!(table.find("a", "web").unwrap().flush_every, 2);
}

#[test]
fn a_secret_that_a_comment_swallows_is_refused() {
    let section = "rotate = daily\nbackup_count = 1\n";
    let swallowed = facilities(&format!("[a]\n{section}secret = ;hush\n")).unwrap_err();
    assert_eq!((swallowed[0].line, swallowed[0].kind), (Some(4), Kind::BadValue));
    assert!(!swallowed[0].to_string().contains("hush"));
    let open = facilities(&format!("[a]\n{section}secret =\n")).unwrap();
    assert!(open.find("a", "").unwrap().key.is_none());
}

#[test]
fn other_names_of_the_root_facility_are_refused() {
    let section = "rotate = daily\nbackup_count = 1\n";
    for name in ["a:root.", "a:root.root", "a:.", "a:.root.web"] {
        let problems = facilities(&format!("[a]\n{section}[{name}]\n{section}")).unwrap_err();
        assert_eq!(problems[0].line, Some(4), "{name}: {problems:#?}");
    }
    let shadowed = facilities(&format!("[a]\n{section}[a:root]\n{section}")).unwrap();
    assert_eq!(shadowed.warnings()[0].kind, Kind::Shadowed);
    assert_eq!(shadowed.len(), 1);
}

#[test]
fn names_leave_room_for_what_follows_them() {
    let section = "rotate = daily\nbackup_count = 1\n";
    let module = |length: usize, options: &str| {
        let name = "x".repeat(length);
        facilities(&format!("[a]\n{section}[a:{name}]\n{section}{options}"))
    };
    let longest = config::name::MODULE_BYTES_MAX;
    assert!(module(longest, "").is_ok());
    assert_eq!(module(longest + 1, "").unwrap_err()[0].kind, Kind::UnsafeName);
    let longest = config::name::MODULE_PER_HOST_BYTES_MAX;
    assert!(module(longest, "file_per_host = on\n").is_ok());
    let refused = module(longest + 1, "file_per_host = on\n").unwrap_err();
    assert_eq!((refused[0].line, refused[0].kind), (Some(7), Kind::UnsafeName));
}

#[test]
fn a_value_that_swallows_the_next_line_says_so() {
    let problems = facilities("[a]\nbackup_count = 1\n  rotate = daily\n").unwrap_err();
    let told = problems.iter().any(|problem| problem.remedy.contains("lines 2 to 3"));
    assert!(told, "{problems:#?}");
}

#[test]
fn check_config_answers_ok_or_with_every_problem() {
    let fine = Asked::new("", "[a]\nrotate = daily\nbackup_count = 1\n");
    for arguments in [&["check-config"][..], &["--check-config"]] {
        let output = fine.ask(arguments);
        assert_eq!((code(&output), err(&output)), (0, ""));
        assert!(out(&output).starts_with("ok: ") && out(&output).lines().count() == 1);
    }
    let broken = Asked::new("[main]\nx = 1\n", "[a]\nrotate = daily\n");
    let output = broken.ask(&["check-config"]);
    assert_eq!((code(&output), out(&output)), (78, ""));
    let (config, facilities) = (broken.path("loghogd.conf"), broken.path("facilities.conf"));
    assert!(err(&output).contains(&format!("{}:2: ", config.display())), "{output:?}");
    assert!(err(&output).contains(&format!("{}:1: ", facilities.display())), "{output:?}");
    let output = broken.ask(&["check-config", "--json"]);
    let answer: Value = serde_json::from_str(out(&output)).unwrap();
    assert_eq!((code(&output), &answer["ok"]), (78, &Value::Bool(false)));
    assert_eq!(answer["problems"].as_array().unwrap().len(), 2);
    for problem in answer["problems"].as_array().unwrap() {
        for field in ["file", "kind", "message", "remedy"] {
            assert!(!problem[field].as_str().unwrap().is_empty());
        }
        assert!(problem["line"].is_u64());
    }
}

#[test]
fn check_config_misses_what_a_start_would_miss() {
    let asked = Asked::new(
        "[main]\nuser = nobody-of-that-name\n[server]\nlisten_ipv4_ssl = 127.0.0.1\n\
         pemfile = s.pem\ncacert = .\ncrl = c.pem\n",
        "",
    );
    fs::write(asked.path("c.pem"), "").unwrap();
    let output = asked.ask(&["check-config", "--json"]);
    let answer: Value = serde_json::from_str(out(&output)).unwrap();
    let problems = answer["problems"].as_array().unwrap();
    let lines: Vec<u64> =
        problems.iter().map(|problem| problem["line"].as_u64().unwrap()).collect();
    assert_eq!((code(&output), lines), (78, vec![2, 5, 6]), "{answer}");
    assert!(problems.iter().all(|problem| problem["kind"] == "surroundings"));
}

#[test]
fn check_config_warns_of_secrets_that_everybody_can_read() {
    let asked = Asked::new("", "[a]\nrotate = daily\nbackup_count = 1\nsecret = hush\n");
    let warnings = |mode| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(asked.path("facilities.conf"), permissions).unwrap();
        let output = asked.ask(&["check-config", "--json"]);
        assert_eq!(code(&output), 0);
        let answer: Value = serde_json::from_str(out(&output)).unwrap();
        answer["warnings"].as_array().unwrap().len()
    };
    assert_eq!((warnings(0o644), warnings(0o640)), (1, 0));
}

#[test]
fn explain_tells_file_options_and_origins_but_no_secret() {
    let asked = Asked::new(
        "[main]\nlogdir = /var/log/there\n",
        "[a]\nrotate = daily\nbackup_count = 14\nsecret = hush\nfile_per_host = yes\n\
         max_age = 30d\nrequire = v2\nformat = json\n\
         [a:web]\nrotate = */5 *  * * *\nbackup_count = 3\nmax_total_size = 0\n",
    );
    let output = asked.ask(&["explain", "a", "web.requests", "--host", "h/1"]);
    let words = out(&output);
    for part in [
        "a/h%2F1-web.log",
        "below /var/log/there",
        "*/5 * * * *",
        "facilities.conf:10",
        "inherited from [a]",
        "30 days",
        "0 (off)",
        "default",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(code(&output) == 0 && !words.contains("hush"));
    let output = asked.ask(&["--json", "explain", "a"]);
    let expected = "{\"app\":\"a\",\"module\":\"root\",\"file\":\"a/{host}-root.log\",\
                    \"rotate\":\"0 0 * * *\",\"backup_count\":14,\"max_size\":null,\
                    \"max_age\":2592000,\"max_total_size\":null,\"flush_every\":1,\"file_per_host\":true,\"signed\":true,\
                    \"require\":[\"v2\"],\"format\":\"json\",\"ship\":[],\
                    \"keep_until_shipped\":true}\n";
    assert_eq!(out(&output), expected);
}

#[test]
fn explain_without_a_match_is_null_and_1() {
    let asked = Asked::new("", "[a]\nrotate = daily\nbackup_count = 14\nfile_per_host = yes\n");
    for arguments in [&["explain", "b"][..], &["explain", "a", "--host", ""]] {
        let output = asked.ask(arguments);
        assert_eq!((code(&output), out(&output)), (1, ""));
        assert!(!err(&output).is_empty());
        let output = asked.ask(&[arguments, &["--json"]].concat());
        assert_eq!((code(&output), out(&output)), (1, "null\n"));
    }
}

#[test]
fn explain_needs_only_the_file_with_the_facilities() {
    let asked = Asked::new("", "[a]\nrotate = daily\nbackup_count = 14\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loghogd"));
    command.arg("-F").arg(asked.path("facilities.conf")).args(["explain", "a"]);
    assert_eq!(code(&command.output().unwrap()), 0);
}

#[test]
fn schedule_prints_an_array_with_one_time_a_line_or_on_one() {
    let asked = Asked::new("", "");
    let question = [
        "schedule",
        "daily",
        "--tz",
        "Europe/Paris",
        "--after",
        "2024-10-26T12:00:00+02:00",
        "--count",
        "2",
    ];
    let output = asked.ask(&question);
    let lines = "[\n  \"2024-10-27T00:00:00+02:00\",\n  \"2024-10-28T00:00:00+01:00\"\n]\n";
    assert_eq!((code(&output), out(&output)), (0, lines));
    let output = asked.ask(&[&question[..], &["--json"]].concat());
    let line = "[\"2024-10-27T00:00:00+02:00\",\"2024-10-28T00:00:00+01:00\"]\n";
    assert_eq!(out(&output), line);
}

#[test]
fn a_wrong_command_line_ends_with_64_and_help_with_0() {
    let asked = Asked::new("", "");
    for arguments in [
        &["--nonsense"][..],
        &["nonsense"],
        &["--json"],
        &["explain"],
        &["explain", "a", "b", "c"],
        &["schedule"],
        &["schedule", "--nonsense"],
        &["schedule", "daily", "--tz", "Nowhere/Here"],
        &["schedule", "daily", "--after", "noon"],
        &["schedule", "daily", "--count", "0"],
        &["schedule", "daily", "--count", "10001"],
        &["--check-config", "explain", "a"],
    ] {
        let output = asked.ask(arguments);
        assert_eq!((code(&output), out(&output)), (64, ""), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["-h"], &["--version"], &["explain", "--help"]] {
        let output = asked.ask(arguments);
        assert_eq!((code(&output), err(&output)), (0, ""), "{arguments:?}");
    }
    let output = asked.ask(&["schedule", "-5 * * * *"]);
    assert_eq!(code(&output), 78);
}

#[test]
fn a_broken_configuration_ends_a_start_with_78() {
    let asked = Asked::new("[main]\nx = 1\n", "");
    let output = asked.ask(&[]);
    assert_eq!((code(&output), out(&output)), (78, ""));
    assert!(err(&output).contains("loghogd.conf:2: "));
}
