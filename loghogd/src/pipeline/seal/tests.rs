//! What must hold of all formats, judged by the tools of Debian as well.

use std::cell::Cell;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use proptest::prelude::*;

use super::compress::Sum;
use super::*;
use crate::config::checked::Format;
use crate::disk::{Disk, LogDir};

const FORMATS: [Format; 4] = [Format::Xz, Format::Gzip, Format::Bzip2, Format::Zstd];

fn compressor(format: Format, level: u32) -> Compressor {
    Compressor::with_threads(format, level, 3, || {})
}

fn sealed_in_blocks(
    format: Format,
    level: u32,
    block_bytes: usize,
    text: &[u8],
) -> (Vec<u8>, Summary) {
    let mut sealed = Vec::new();
    let summary = compressor(format, level)
        .compress_blocks(block_bytes, &mut { text }, &mut sealed, &|| true)
        .unwrap();
    assert_eq!(summary.sealed_bytes, sealed.len() as u64);
    assert_eq!(summary.plain, plain(text));
    (sealed, summary)
}

fn plain(text: &[u8]) -> Plain {
    let mut sum = Sum::new();
    sum.add(text);
    sum.plain()
}

fn verified(format: Format, sealed: &[u8]) -> Result<Plain, VerifyError> {
    compressor(format, 6).verify(sealed, format, &|| true)
}

fn tool(format: Format) -> &'static str {
    match format {
        Format::Xz => "xz",
        Format::Gzip => "gzip",
        Format::Bzip2 => "bzip2",
        Format::Zstd => "zstd",
    }
}

/// What a program says to so much input; none if it is not content.
fn asked(program: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; run tools/setup"));
    let mut stdin = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        scope.spawn(move || {
            // It may have ended before it has read everything.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().unwrap()
    });
    output.status.success().then_some(output.stdout)
}

fn decoded_by_tool(format: Format, sealed: &[u8]) -> Option<Vec<u8>> {
    asked(tool(format), &["-dc"], sealed)
}

/// Log lines, some with continuation lines, some empty, the last perhaps torn.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        "2026-11-2[0-9] 1[0-9]:0[0-9]:59\\.[0-9]{6} - web0[1-4] - [a-z ]{0,60}\n",
        "\t  File \"/srv/[a-z]{1,8}\\.py\", line [0-9]{1,3}\n",
        Just("\n".to_owned()),
        "[a-z]{300}\n",
    ];
    let lines = prop::collection::vec(line, 0..80).prop_map(|lines| lines.concat());
    let bytes = prop::collection::vec(any::<u8>(), 0..3000);
    prop_oneof![
        4 => (lines, "[a-z]{0,9}").prop_map(|(lines, torn)| (lines + &torn).into_bytes()),
        1 => bytes,
        1 => (0..100_000_usize).prop_map(|bytes| vec![b'a'; bytes]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_sealed_is_read_by_the_usual_tools_and_by_us(
        text in text(), level in 0_u32..=9, block_bytes in 50_usize..4000
    ) {
        for format in FORMATS {
            let (sealed, summary) = sealed_in_blocks(format, level, block_bytes, &text);
            prop_assert_eq!(decoded_by_tool(format, &sealed), Some(text.clone()));
            prop_assert_eq!(verified(format, &sealed).unwrap(), summary.plain);
            prop_assert!(looks_whole(&sealed[..], format).unwrap());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn damage_is_noticed_or_does_no_harm(
        text in text(), block_bytes in 200_usize..4000, place: prop::sample::Index, flip in 1_u8..
    ) {
        for format in FORMATS {
            let (mut sealed, summary) = sealed_in_blocks(format, 1, block_bytes, &text);
            let place = place.index(sealed.len());
            sealed[place] ^= flip;
            if let Ok(plain) = verified(format, &sealed) {
                prop_assert_eq!(plain, summary.plain, "{:?}, byte {}", format, place);
            }
            looks_whole(&sealed[..], format).unwrap();
        }
    }

    #[test]
    fn what_is_torn_or_prolonged_is_an_error(
        text in text(), block_bytes in 200_usize..4000, cut: prop::sample::Index, more in 1_usize..40
    ) {
        for format in FORMATS {
            let (mut sealed, _) = sealed_in_blocks(format, 1, block_bytes, &text);
            let torn = &sealed[..cut.index(sealed.len())];
            // Members, streams and frames are whole files themselves.
            match verified(format, torn) {
                Ok(shorter) => prop_assert!(
                    format != Format::Xz && shorter.bytes < text.len() as u64
                ),
                Err(error) => prop_assert!(matches!(error, VerifyError::Damaged), "{:?}", error),
            }
            sealed.extend(vec![7; more]);
            prop_assert!(matches!(verified(format, &sealed), Err(VerifyError::Damaged)));
        }
    }
}

#[test]
fn a_torn_file_does_not_look_whole() {
    let text = b"one line\n".repeat(500);
    for format in FORMATS {
        let (sealed, _) = sealed_in_blocks(format, 6, 1000, &text);
        let cuts = (0..sealed.len())
            .filter(|&cut| looks_whole(&sealed[..cut], format).unwrap())
            .inspect(|&cut| assert!(verified(format, &sealed[..cut]).is_ok(), "{format:?} {cut}"))
            .count();
        assert!(format != Format::Xz || cuts == 0);
        assert!(!looks_whole(&b"2026-11-20 12:00:00.123456 - h - text\n"[..], format).unwrap());
    }
}

#[test]
fn nothing_makes_a_valid_file() {
    for format in FORMATS {
        let (sealed, _) = sealed_in_blocks(format, 6, 1000, b"");
        assert_eq!(decoded_by_tool(format, &sealed), Some(Vec::new()), "{format:?}");
        assert_eq!(verified(format, &sealed).unwrap(), plain(b""));
        assert!(looks_whole(&sealed[..], format).unwrap());
        assert!(matches!(verified(format, b""), Err(VerifyError::Damaged)));
        assert!(!looks_whole(&b""[..], format).unwrap());
    }
}

#[test]
fn xz_shows_one_stream_with_blocks_that_say_their_sizes() {
    let text = b"2026-11-20 12:00:00.123456 - web01 - a line\n".repeat(1000);
    let (sealed, summary) = sealed_in_blocks(Format::Xz, 6, 10_000, &text);
    assert_eq!(summary.blocks, 5);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segment.xz");
    std::fs::write(&path, &sealed).unwrap();
    let shown = asked("xz", &["-lvv", "--robot", path.to_str().unwrap()], b"").unwrap();
    let shown = String::from_utf8(shown).unwrap();
    let blocks: Vec<Vec<&str>> = shown
        .lines()
        .filter(|line| line.starts_with("block\t"))
        .map(|line| line.split('\t').collect())
        .collect();
    assert_eq!(shown.lines().filter(|line| line.starts_with("stream\t")).count(), 1, "{shown}");
    assert_eq!(blocks.len(), 5, "{shown}");
    for block in blocks {
        let (offset, check) = (block[5].parse::<usize>().unwrap(), block[9]);
        assert_eq!(check, "CRC64", "{shown}");
        assert!(block[12].contains('c') && block[12].contains('u'), "no sizes: {shown}");
        assert!(offset == 0 || text[offset - 1] == b'\n', "not at a line's start: {shown}");
    }
    assert!(asked("xz", &["-t", path.to_str().unwrap()], b"").is_some());
    let python =
        "import lzma, sys; sys.stdout.buffer.write(lzma.decompress(sys.stdin.buffer.read()))";
    assert_eq!(asked("python3", &["-c", python], &sealed), Some(text));
}

#[test]
fn files_of_others_are_verified_too() {
    let text = b"a line of the original\n".repeat(200_000);
    for (format, arguments) in [
        (Format::Xz, &["-1c", "-T1"][..]),
        (Format::Xz, &["-1c", "-T2", "--block-size=300000"]),
        (Format::Gzip, &["-c"]),
        (Format::Bzip2, &["-c"]),
        (Format::Zstd, &["-c"]),
        (Format::Zstd, &["-c", "--long=24"]),
    ] {
        let sealed = asked(tool(format), arguments, &text).unwrap();
        assert_eq!(verified(format, &sealed).unwrap(), plain(&text), "{format:?} {arguments:?}");
        assert!(looks_whole(&sealed[..], format).unwrap(), "{format:?} {arguments:?}");
        let twice = sealed.repeat(2);
        assert_eq!(verified(format, &twice).unwrap(), plain(&text.repeat(2)));
        assert!(looks_whole(&twice[..], format).unwrap());
        let torn = &sealed[..sealed.len() - 5];
        assert!(matches!(verified(format, torn), Err(VerifyError::Damaged)), "{format:?}");
    }
}

#[test]
fn files_that_need_much_memory_are_refused_as_such() {
    let text = b"a line of the original\n";
    for (format, arguments) in
        [(Format::Xz, &["-c", "--lzma2=dict=256MiB"][..]), (Format::Zstd, &["-c", "--long=31"])]
    {
        let big = asked(tool(format), arguments, &text.repeat(10)).unwrap();
        let found = verified(format, &big);
        // zstd takes a window no larger than the text where it knows that.
        assert!(matches!(found, Err(VerifyError::NeedsMemory) | Ok(_)), "{format:?} {found:?}");
        assert!(format != Format::Xz || found.is_err());
    }
}

#[test]
fn whoever_stops_need_not_wait_for_the_end() {
    let text = b"2026-11-20 12:00:00.123456 - web01 - a line\n".repeat(100_000);
    for format in FORMATS {
        let asked = Cell::new(0);
        let go_on = || asked.replace(asked.get() + 1) < 2;
        let stopped = compressor(format, 9).compress(&mut &text[..], &mut Vec::new(), &go_on);
        assert!(matches!(stopped, Err(CompressError::Stopped)));
        let (sealed, _) = sealed_in_blocks(format, 0, 100_000, &text);
        asked.set(0);
        let stopped = compressor(format, 9).verify(&sealed[..], format, &go_on);
        assert!(matches!(stopped, Err(VerifyError::Stopped)));
    }
}

#[test]
fn threads_prepare_themselves_and_are_gone_afterwards() {
    static PREPARED: Mutex<Vec<thread::ThreadId>> = Mutex::new(Vec::new());
    let prepare = || PREPARED.lock().unwrap().push(thread::current().id());
    let text = b"a line\n".repeat(10_000);
    let mut compressor = Compressor::with_threads(Format::Zstd, 1, 2, prepare);
    compressor.compress_blocks(7000, &mut &text[..], &mut Vec::new(), &|| true).unwrap();
    let prepared = PREPARED.lock().unwrap();
    assert!((1..=2).contains(&prepared.len()));
    assert!(!prepared.contains(&thread::current().id()));
}

#[test]
fn errors_of_the_disk_are_told_apart() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("broken"))
        }
    }
    for format in FORMATS {
        let full = compressor(format, 1).compress(&mut &b"text\n"[..], &mut Full, &|| true);
        assert!(matches!(full, Err(CompressError::Write(_))));
        let broken = compressor(format, 1).compress(&mut Broken, &mut Vec::new(), &|| true);
        assert!(matches!(broken, Err(CompressError::Read(_))));
    }
}

#[test]
fn higher_levels_make_smaller_files() {
    let text: Vec<u8> = (0..12_000_u32)
        .flat_map(|number| {
            let id = number.wrapping_mul(2_654_435_761);
            format!(
                "2026-11-20 12:{:02}:00.{:06} - web{:02} - GET /item/{id} {}\n",
                number / 600,
                id % 1_000_000,
                id % 7,
                id % 5000
            )
            .into_bytes()
        })
        .collect();
    for format in FORMATS {
        let sizes: Vec<usize> = [0, 3, 6, 9]
            .iter()
            .map(|&level| {
                let mut sealed = Vec::new();
                compressor(format, level).compress(&mut &text[..], &mut sealed, &|| true).unwrap();
                sealed.len()
            })
            .collect();
        for pair in sizes.windows(2) {
            assert!(pair[1] <= pair[0] + pair[0] / 20, "{format:?}: {sizes:?}");
        }
    }
}

#[test]
fn files_of_a_disk_are_read_back_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("app")).unwrap();
    let disk: Box<dyn Disk> = Box::new(LogDir::open(folder.path()).unwrap());
    let text = b"a line\n".repeat(1000);
    let mut plain = disk.create("app", "plain").unwrap();
    plain.write_all(&text).unwrap();
    let mut sealed = disk.create("app", "sealed").unwrap();
    let mut compressor = compressor(Format::Gzip, 6);
    let mut plain = disk.open("app", "plain").unwrap();
    let summary = compressor.compress(&mut plain, &mut sealed, &|| true).unwrap();
    let found = compressor.verify(&*sealed, Format::Gzip, &|| true).unwrap();
    assert_eq!(found, summary.plain);
    assert!(looks_whole(&*sealed, Format::Gzip).unwrap());
    assert_eq!(whole_members(&*sealed).unwrap().bytes, summary.sealed_bytes);
}

#[test]
fn xz_is_the_library_of_the_system() {
    // Without liblzma-dev an old copy is built in, silently; tools/setup
    // installs it.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert!(maps.contains("/liblzma.so"), "liblzma is built in; run tools/setup and cargo clean");
}
