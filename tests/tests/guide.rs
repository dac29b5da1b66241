//! The guide is true: what it quotes is said, what it links to is there, and what it
//! tells a reader to type does what it says.
//! docs/ and the pages beside it -> sources, files and a shell of their own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use loghog_tests::binaries::{binary, example, python};
use loghog_tests::golden::repository;
use loghog_tests::literals::{self, GAP, Literal};
use nix::unistd::geteuid;

/// Where messages for people come from.
const SPEAKERS: [&str; 7] = [
    "loghogd/src",
    "certs-tool/src",
    "client-rust/src",
    "client-rust/command/src",
    "client-python/src",
    "client-python/python",
    "wire/src",
];

/// By these something is said that a person may have to do something about.
const SAYS: [&str; 9] = [
    "warn!(",
    "error!(",
    "#[error(",
    "warnings.push(format!(",
    "bail!(",
    "anyhow!(",
    "context(",
    "say(format!(",
    "book_failure(format!(",
];

/// Whose messages are explained elsewhere: targets, on pages of their own; problems of
/// the configuration, each of which brings its line and its remedy; frames that
/// do not keep to a protocol, in docs/protocol.md.
const ELSEWHERE: [&str; 7] = [
    "loghogd/src/pipeline/ship/",
    "loghogd/src/config/",
    "loghogd/src/pipeline/rotate/schedule",
    "loghogd/src/pipeline/decode.rs",
    "loghogd/src/questions/archive.rs",
    "loghogd/src/disk/",
    "wire/src/",
];

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All that is said, by whomever.
fn said() -> Vec<Literal> {
    SPEAKERS.into_iter().flat_map(literals::below).collect()
}

/// The messages that the page explains: the first cells of its tables.
fn explained() -> Vec<String> {
    let page = read("docs/troubleshooting.md");
    let first_cells = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let quoted = first_cells.flat_map(|line| {
        let cell = line.split("` |").next().unwrap_or_default();
        cell.split("`, `").map(str::to_owned).collect::<Vec<_>>()
    });
    quoted.map(|message| message.replace("\\|", "|")).collect()
}

#[test]
fn every_message_that_is_explained_is_still_said() {
    let said = said();
    let explained = explained();
    assert!(explained.len() > 100, "{}", explained.len());
    let gone: Vec<&String> = explained
        .iter()
        .filter(|message| !said.iter().any(|literal| literals::fits(message, &literal.text)))
        .collect();
    assert!(gone.is_empty(), "docs/troubleshooting.md explains what nobody says: {gone:#?}");
}

#[test]
fn every_warning_and_error_is_explained() {
    let explained = explained();
    let is_elsewhere = |literal: &Literal| {
        let file = literal.file.to_string_lossy();
        ELSEWHERE.iter().any(|place| file.starts_with(place))
    };
    // `{0}` and `{path}: {source}` say what others say; of one word nobody would ask.
    let is_own = |literal: &Literal| literal.text.split(GAP).any(|part| part.trim().contains(' '));
    let said: Vec<Literal> = said()
        .into_iter()
        .filter(|literal| literal.is_of(&SAYS) && !is_elsewhere(literal) && is_own(literal))
        .collect();
    assert!(said.len() > 150, "only {} were found: the sources look different", said.len());
    let missing: BTreeSet<String> = said
        .into_iter()
        .filter(|literal| !explained.iter().any(|message| literals::fits(message, &literal.text)))
        .map(|literal| format!("{}: {}", literal.file.display(), literal.text))
        .collect();
    assert!(missing.is_empty(), "docs/troubleshooting.md does not explain: {missing:#?}");
}

/// The pages that people read.
fn pages() -> Vec<PathBuf> {
    let folder = |name: &str| {
        let entries = fs::read_dir(repository().join(name)).expect("a folder of the repository");
        entries.map(|entry| entry.expect("readable").path()).collect::<Vec<_>>()
    };
    let all = [folder("."), folder("docs"), folder("client-python")].concat();
    all.into_iter().filter(|path| path.extension().is_some_and(|end| end == "md")).collect()
}

/// What a heading is called in a link to it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().replace(' ', "-")
}

/// The links of a page, without those in examples.
fn links(text: &str) -> Vec<String> {
    let prose: Vec<&str> = text.split("```").step_by(2).collect();
    let ends = prose.iter().flat_map(|part| part.split("](").skip(1));
    ends.filter_map(|rest| rest.split_once(')')).map(|(link, _)| link.to_owned()).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let folder = page.parent().expect("a page lies in a folder");
            let target = if file.is_empty() { page.clone() } else { folder.join(file) };
            let headings = fs::read_to_string(&target).unwrap_or_default();
            let has_heading = heading.is_empty()
                || headings.lines().any(|line| line.starts_with('#') && anchor(line) == *heading);
            if !target.exists() || !has_heading {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_index_lists_every_page_of_the_guide() {
    let index = read("docs/README.md");
    for page in pages() {
        let name = page.file_name().expect("a page has a name").to_string_lossy().into_owned();
        if page.parent() == Some(&*repository().join("docs")) && name != "README.md" {
            assert!(index.contains(&format!("]({name})")), "docs/README.md does not list {name}");
        }
    }
}

/// The shell commands of a page, in their order.
fn typed(page: &str) -> String {
    let text = read(page);
    let blocks = text.split("\n```sh\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("\n```").next().unwrap_or_default());
    blocks.collect::<Vec<_>>().join("\n")
}

/// What is typed, in a network of its own, so that every port is free.
fn shell(script: &str, folder: &Path) -> (bool, String) {
    let bin = binary("loghogd").parent().expect("binaries lie in a folder").to_owned();
    let path = format!(
        "{}:{}:{}",
        bin.display(),
        python().parent().expect("it lies in a folder").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut command = Command::new("unshare");
    if !geteuid().is_root() {
        // A user may have a network in a namespace of users of his own.
        command.arg("--map-root-user");
    }
    // Whatever is left running ends with it.
    command.args(["--net", "--pid", "--fork", "--kill-child", "bash", "-euc"]);
    // Loopback is down in a new one.
    let up = "import fcntl, socket, struct\n\
              fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14s', b'lo', 1, b''))";
    command.arg(format!("python3 -c \"$LOOPBACK\"\n{script}")).env("LOOPBACK", up);
    command.current_dir(folder).env("PATH", path).env("HOME", folder).stdin(Stdio::null());
    let output = command.output().expect("tools/setup has installed unshare");
    let mut told = String::from_utf8_lossy(&output.stdout).into_owned();
    told.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.success(), told)
}

#[test]
fn the_first_five_minutes_go_as_they_are_told() {
    let page = read("docs/start.md");
    let program = page.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next());
    let program = program.expect("the page has a program in Rust");
    assert!(read("client-rust/examples/start.rs").ends_with(program), "it is another one there");

    let folder = tempfile::tempdir().expect("a scratch folder");
    // Building it takes minutes, and was done with everything else.
    let cargo = format!("cargo() {{ {}; }}", example("start").display());
    let script = format!("{cargo}\nset -x\n{}", typed("docs/start.md"));
    let (is_fine, told) = shell(&script, folder.path());
    assert!(is_fine, "{told}");
    for text in [
        "- hello from the shell",
        "- WARNING - hello over TLS",
        "- WARNING - hello from Python",
        "- ERROR - hello from Django",
        "- hello from Rust",
    ] {
        assert!(told.contains(text), "{text} is not in:\n{told}");
    }
}
