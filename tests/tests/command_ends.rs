//! The command `loghog` ends, or goes on, when somebody or something beside it
//! does: a signal, its input, who reads its copy.

use loghog_tests::command::{Running, assert_ended, attended, behind, loghog, run, start};
use loghog_tests::{DEADLINE, wait_until};
use nix::sys::signal::Signal;

#[test]
fn a_signal_ends_the_reading_and_what_was_read_arrives() {
    let daemon = start();
    for (number, signal) in
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().enumerate()
    {
        let mut command = attended(loghog("pipe", "app", daemon.tcp()).arg("--tee"));
        let mut pipe = Running::start(&mut command);
        let text = format!("line {number}\nunfinished");
        pipe.write(text.as_bytes());
        // What was copied was read.
        pipe.expect_copy(&text);
        let stdin = pipe.take_input();
        pipe.signal(signal);
        assert_ended(&pipe.finish(), 0, "");
        drop(stdin);
    }
    let expected = ["line 0", "unfinished", "line 1", "unfinished", "line 2", "unfinished"];
    assert_eq!(daemon.records("app/root.log"), expected.map(|line| format!(" - h - {line}")));
}

#[test]
fn what_lay_in_the_pipe_before_the_signal_arrives_as_well() {
    let daemon = start();
    let mut pipe = Running::start(loghog("pipe", "app", daemon.tcp()).arg("--tee"));
    pipe.write(b"first\n");
    pipe.expect_copy("first\n");
    pipe.signal(Signal::SIGSTOP);
    pipe.write(b"last words\n");
    pipe.signal(Signal::SIGTERM);
    let stdin = pipe.take_input();
    pipe.signal(Signal::SIGCONT);
    assert_ended(&pipe.finish(), 0, "");
    drop(stdin);
    assert_eq!(daemon.records("app/root.log"), [" - h - first", " - h - last words"]);
}

#[test]
fn a_signal_that_was_ignored_from_the_start_stays_so() {
    let daemon = start();
    let command = loghog("pipe", "app", daemon.tcp());
    let mut command = behind("trap '' HUP INT; exec \"$0\" \"$@\" --tee", &command);
    let mut pipe = Running::start(&mut command);
    pipe.write(b"before\n");
    pipe.expect_copy("before\n");
    pipe.signal(Signal::SIGHUP);
    pipe.signal(Signal::SIGINT);
    pipe.write(b"after\n");
    pipe.expect_copy("after\n");
    assert_ended(&pipe.finish(), 0, "");
    assert_eq!(daemon.records("app/root.log"), [" - h - before", " - h - after"]);
}

#[test]
fn a_reader_of_the_copy_that_goes_costs_the_copy_alone() {
    let daemon = start();
    let mut pipe = Running::start(loghog("pipe", "app", daemon.tcp()).arg("--tee"));
    pipe.stop_listening();
    pipe.write(b"line 0\n");
    daemon.wait_for_records("app/root.log", 1);
    pipe.write(b"line 1\n");
    assert_ended(&pipe.finish(), 0, "cannot copy to standard output");
    assert_eq!(daemon.records("app/root.log"), [" - h - line 0", " - h - line 1"]);
}

#[test]
fn an_input_that_is_closed_is_an_empty_one() {
    let daemon = start();
    for what in ["send", "pipe"] {
        let command = loghog(what, "app", daemon.tcp());
        let output = run(&mut behind("exec \"$0\" \"$@\" <&-", &command), b"not for us\n");
        assert_ended(&output, 0, "");
    }
    assert_eq!(daemon.stop().stats()["records"], 0);
}

#[test]
fn a_second_signal_ends_the_sending_as_well() {
    let nobody = loghog_tests::command::nobody();
    let mut pipe =
        Running::start(loghog("pipe", "app", nobody).args(["--tee", "--timeout", "600"]));
    pipe.write(b"lost\n");
    pipe.expect_copy("lost\n");
    let stdin = pipe.take_input();
    let pid = pipe.pid();
    // The second must not come before the first was seen.
    let is_pending = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let mask = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).expect("Linux");
        mask.trim().bytes().any(|digit| digit != b'0')
    };
    pipe.signal(Signal::SIGTERM);
    wait_until(DEADLINE, "the first signal is seen", || (!is_pending()).then_some(()));
    pipe.signal(Signal::SIGTERM);
    assert_ended(&pipe.finish(), 75, "1 of 1 messages");
    drop(stdin);
}
