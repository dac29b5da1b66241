"""The end of a program: what was logged arrives, and nobody waits for ever."""

import logging
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from harness import PATIENCE, Server, bodies, program, succeeded

from loghog import LoghogHandler

START = """
import logging, signal, sys, threading, time
from loghog import LoghogHandler
# Whoever runs these tests in the background has it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
handler = LoghogHandler("app", "127.0.0.1", int(sys.argv[1]))
logger = logging.getLogger("web")
logger.setLevel(logging.INFO)
logger.addHandler(handler)
"""


def run(source, server):
    started = time.monotonic()
    done = program(START + textwrap.dedent(source), server.port)
    return done, time.monotonic() - started


def interrupt_until_it_ends(running):
    deadline = time.monotonic() + PATIENCE
    while running.poll() is None:
        if time.monotonic() > deadline:
            running.kill()
        running.send_signal(signal.SIGINT)
        time.sleep(0.1)


def test_a_program_that_just_ends_loses_nothing(server):
    done, _ = run('[logger.info("%d", number) for number in range(5000)]', server)
    succeeded(done)
    assert bodies(server.wait_for(5_000)) == [str(number) for number in range(5_000)]


def test_a_program_that_ends_by_an_exception_loses_nothing(server):
    done, _ = run('logger.info("last words")\nraise RuntimeError("broken")', server)
    assert done.returncode == 1 and "broken" in done.stderr
    assert bodies(server.wait_for(1)) == ["last words"]


def test_what_is_logged_while_the_program_ends_arrives(server):
    """A hook registered before ours runs after it."""
    succeeded(
        program(
            """
            import atexit, logging, sys
            logger = logging.getLogger("web")
            atexit.register(lambda: logger.warning("last"))
            from loghog import LoghogHandler
            logger.addHandler(LoghogHandler("app", "127.0.0.1", int(sys.argv[1])))
            logger.warning("first")
            """,
            server.port,
        )
    )
    assert bodies(server.wait_for(2)) == ["first", "last"]


def test_without_a_server_a_program_ends_within_the_limit(nobody):
    done, took = run('logger.info("lost")', nobody)
    succeeded(done)
    assert done.stdout == done.stderr == ""
    # A second, and time for a busy machine to start Python.
    assert took < 15, took


def test_many_handlers_without_a_server_wait_together(nobody):
    source = """
        for number in range(20):
            logger.addHandler(LoghogHandler("app", "127.0.0.1", int(sys.argv[1])))
        logger.info("lost")
    """
    done, took = run(source, nobody)
    succeeded(done)
    assert took < 15, took


def test_closing_takes_no_longer_than_told_although_nobody_answers(swallowing):
    handlers = [LoghogHandler("app", swallowing.host, swallowing.port) for _ in range(30)]
    for handler in handlers:
        handler.flush_timeout = 0.0
        handler.handle(logging.makeLogRecord({"msg": "lost"}))
    started = time.monotonic()
    for handler in handlers:
        handler.close()
    took = time.monotonic() - started
    assert took < 5, took
    assert all(handler.stats()["dropped_closed"] == 1 for handler in handlers)


@pytest.mark.parametrize("options", ["", "protocol=2", "spool_dir=sys.argv[2]"])
def test_one_ctrl_c_with_the_network_down_ends_the_program_within_the_limit(
    swallowing, daemon, tmp_path, logger_for, options
):
    source = START.replace("int(sys.argv[1])", f"int(sys.argv[1]), {options}") + textwrap.dedent(
        """
        [logger.info("%d", number) for number in range(1000)]
        print("x", flush=True)
        # One long sleep is not for sure: a signal that comes between two calls is
        # looked at after the second one; Python 3.14 looks after no call with a keyword.
        while True:
            time.sleep(0.05)
        """
    )
    spool = tmp_path / "spool"
    running = subprocess.Popen(
        [sys.executable, "-c", source, str(swallowing.port), str(spool)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with running:
        assert running.stdout.readline() == b"x\n"
        started = time.monotonic()
        running.send_signal(signal.SIGINT)
        said = running.stderr.read()
        took = time.monotonic() - started
    assert running.returncode == -signal.SIGINT
    assert said.count(b"Traceback") == 1 and said.endswith(b"KeyboardInterrupt\n"), said
    # Five seconds, and time for a busy machine.
    assert took < 15, took
    if "spool" in options:
        logger_for(daemon, spool_dir=spool)
        daemon.wait_for(1000)
        assert daemon.messages() == [str(number) for number in range(1000)]


def test_with_a_server_that_does_not_read_a_program_ends_within_the_limit():
    with Server(read=False) as server:
        done, took = run('[logger.info("x" * 100_000) for number in range(400)]', server)
    succeeded(done)
    assert took < 20, took


def test_ctrl_c_ends_the_wait_at_the_end():
    with Server(read=False) as server:
        source = START + '[logger.info("x" * 100_000) for _ in range(400)]\nprint("x", flush=True)'
        running = subprocess.Popen(
            [sys.executable, "-c", source, str(server.port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with running:
            assert running.stdout.readline() == b"x\n"
            started = time.monotonic()
            interrupt_until_it_ends(running)
            took = time.monotonic() - started
    # Five seconds would be the limit without a Ctrl-C.
    assert took < 4, took


def test_ctrl_c_ends_a_flush(nobody):
    source = START + textwrap.dedent(
        """
        logger.info("lost")
        print("x", flush=True)
        try:
            handler.flush(1000)
        except KeyboardInterrupt:
            handler.flush_timeout = 0
            sys.exit(7)
        """
    )
    running = subprocess.Popen(
        [sys.executable, "-c", source, str(nobody.port)], stdout=subprocess.PIPE
    )
    with running:
        assert running.stdout.readline() == b"x\n"
        interrupt_until_it_ends(running)
        # 7 when the flush was interrupted, else what came just before or after.
        assert running.wait() in (7, -signal.SIGINT, 1)


def test_a_signal_that_the_program_waits_for_is_not_taken_by_our_thread(server):
    source = START + textwrap.dedent(
        """
        import os
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        logger.info("the thread runs")
        assert handler.flush()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert signal.sigwait([signal.SIGUSR1]) == signal.SIGUSR1
        """
    )
    succeeded(program(source, server.port))
    # And when the thread was there before the program blocked the signal.
    blocked_late = source.replace(
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n", ""
    ).replace(
        "os.kill", "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\nos.kill", 1
    )
    succeeded(program(blocked_late, server.port))


def test_a_handler_nobody_holds_any_more_still_sends(server):
    done, _ = run(
        """
        logger.info("before")
        logger.removeHandler(handler)
        del handler
        time.sleep(0)
        other = LoghogHandler("app", "127.0.0.1", int(sys.argv[1]))
        logger.addHandler(other)
        logger.info("after")
        assert other.flush()
        """,
        server,
    )
    succeeded(done)
    assert sorted(bodies(server.wait_for(2))) == ["after", "before"]


def test_flush_without_a_server_gives_up_in_time(nobody, logger_for):
    logger = logger_for(nobody)
    logger.info("lost")
    started = time.monotonic()
    assert logger.handlers[0].flush(0.3) is False
    assert 0.3 <= time.monotonic() - started < 10


def test_logging_shutdown_waits_once_not_twice(nobody):
    done, took = run(
        """
        handler.flush_timeout = 2.0
        logger.info("lost")
        started = time.monotonic()
        logging.shutdown()
        print(time.monotonic() - started)
        """,
        nobody,
    )
    assert 1.5 < float(succeeded(done).stdout) < 3.5, took


def test_close_waits_although_a_short_flush_did_not(server, logger_for):
    logger = logger_for(server)
    handler = logger.handlers[0]
    logger.info("hello")
    handler.flush(0)
    handler.close()
    assert bodies(server.wait_for(1)) == ["hello"]
    assert handler.stats()["dropped_closed"] == 0


def test_a_handler_that_could_not_be_made_says_so_once():
    """logging.shutdown() would meet it again."""
    done = program(
        """
        from loghog import LoghogHandler
        LoghogHandler("app", port=0)
        """
    )
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1, done.stderr
    assert "port is 0" in done.stderr


def test_a_thread_that_still_waits_at_the_end_does_no_harm(nobody):
    done, _ = run(
        """
        handler.flush_timeout = 0.1
        logger.info("lost")
        begun = threading.Event()
        def wait():
            begun.set()
            handler.flush(1000)
        threading.Thread(target=wait, daemon=True).start()
        begun.wait()
        class Busy:
            def __del__(self):
                # While the interpreter is taken down the thread looks for signals.
                time.sleep(0.2)
        sys.modules["busy"] = Busy()
        """,
        nobody,
    )
    assert (done.returncode, done.stderr) == (0, "")
