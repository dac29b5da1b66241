"""Protocol 2, with the real daemon: what is acknowledged is in its file, once,
with all that is known of it."""

import datetime
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
from daemon import Daemon
from harness import PATIENCE, Server, bodies, eventually, flushed, program, run_to_end, succeeded

from loghog import LoghogHandler

START = """
import logging, os, sys
from loghog import LoghogHandler

port, spool = int(sys.argv[1]), sys.argv[2]
handler = LoghogHandler("app", "127.0.0.1", port, spool_dir=spool)
logger = logging.getLogger("web")
logger.setLevel(logging.INFO)
logger.addHandler(handler)
"""


def test_a_line_has_all_that_the_record_has(daemon, logger_for):
    logger = logger_for(daemon, name="web.auth", protocol=2, hostname="web01")
    before = datetime.datetime.now(datetime.timezone.utc)
    logger.error("hello %s", "wörld", extra={"user": "ada", "attempt": 3})
    stats = flushed(logger)
    (line,) = daemon.lines()
    assert (line["host"], line["app"], line["logger"]) == ("web01", "app", "web.auth")
    assert (line["level"], line["level_name"]) == (40, "ERROR")
    assert line["thread"] == threading.current_thread().name
    assert line["process"] == os.getpid()
    assert line["message"] == "hello wörld"
    assert line["fields"] == {"user": "ada", "attempt": 3}
    assert "exception" not in line
    sent = datetime.datetime.strptime(line["sent"][:26] + "+0000", "%Y-%m-%dT%H:%M:%S.%f%z")
    assert abs((sent - before).total_seconds()) < PATIENCE
    assert (stats["written"], stats["acknowledged"], stats["sent"]) == (1, 1, 1)
    assert (stats["queued"], stats["refused"], stats["resent"]) == (0, 0, 0)


def test_what_flush_has_seen_is_in_the_file(daemon, logger_for):
    logger = logger_for(daemon, protocol=2)
    for number in range(5_000):
        logger.info("%d", number)
        if number % 1_000 == 0:
            flushed(logger)
            assert daemon.messages() == [str(n) for n in range(number + 1)]
    flushed(logger)
    assert daemon.messages() == [str(n) for n in range(5_000)]


@pytest.mark.parametrize("compression", [True, "zlib", "zstd"])
def test_batches_may_be_compressed(daemon, logger_for, compression):
    logger = logger_for(daemon, protocol=2, compression=compression)
    for number in range(1_000):
        logger.info("%d", number)
    stats = flushed(logger)
    assert daemon.messages() == [str(n) for n in range(1_000)]
    # Each message has some twenty bytes.
    assert stats["written_bytes"] < 20_000


def test_the_secret_is_proven(tmp_path, logger_for):
    with Daemon(tmp_path / "daemon", secret="s3cret") as daemon:
        logger = logger_for(daemon, protocol=2, secret="s3cret")
        logger.info("let me in")
        flushed(logger)
        stranger = logger_for(daemon, protocol=2, secret="guessed")
        stranger.info("me too")
        stats = stranger.handlers[0].stats
        eventually("the stranger is refused", lambda: stats()["failures"] >= 1)
        assert daemon.messages() == ["let me in"]
        assert (stats()["written"], stats()["queued"]) == (0, 1)
        assert "guessed" not in stats()["last_failure"]


def test_the_exception_stands_beside_the_message(daemon, logger_for):
    logger = logger_for(daemon, protocol=2)
    logger.handlers[0].setFormatter(logging.Formatter("%(levelname)s - %(message)s"))
    try:
        raise KeyError("schlüssel")
    except KeyError:
        logger.exception("ünlucky: \ud83d\ude00")
    flushed(logger)
    (line,) = daemon.lines()
    assert line["message"].rstrip("\n") == "ERROR - ünlucky: \U0001f600"
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("KeyError: 'schlüssel'")


def test_a_formatter_that_hides_the_exception_is_believed(daemon, logger_for):
    class Discreet(logging.Formatter):
        def format(self, record):
            super().format(record)
            return record.message

    logger = logger_for(daemon, protocol=2)
    logger.handlers[0].setFormatter(Discreet())
    try:
        raise KeyError("private")
    except KeyError:
        logger.exception("it failed")
    flushed(logger)
    (line,) = daemon.lines()
    assert line["message"] == "it failed" and "exception" not in line


@pytest.mark.parametrize("attribute", ["levelno", "threadName", "process", "exc_text"])
@pytest.mark.parametrize("value", [None, "text", object(), -5, 10**400])
def test_a_record_with_anything_in_it_never_raises(daemon, logger_for, attribute, value):
    logger = logger_for(daemon, protocol=2)
    record = logging.makeLogRecord({"name": "web", "msg": "odd"})
    setattr(record, attribute, value)
    logger.handlers[0].handle(record)
    logger.info("next")
    flushed(logger)
    assert daemon.messages()[-1] == "next"


def test_a_server_that_knows_nothing_else_gets_the_old_protocol(server, logger_for):
    logger = logger_for(server, protocol="auto", compression="zstd")
    logger.info("hello", extra={"user": "ada"})
    (received,) = server.wait_for(1)
    assert (received["body"], received["module"]) == ("hello", "web")


def test_the_next_server_takes_over(daemon, nobody, logger_for):
    hosts = [f"{nobody.host}:{nobody.port}", daemon.host]
    logger = logger_for(daemon, host="localhost", hosts=hosts, protocol=2)
    logger.info("hello")
    flushed(logger)
    assert daemon.messages() == ["hello"]


def test_a_daemon_that_restarts_has_everything_once(daemon, logger_for):
    logger = logger_for(daemon, protocol=2, max_buffer_size=10_000)
    for round in range(3):
        for number in range(500):
            logger.info("%d %d", round, number)
        daemon.stop()
        daemon.start()
    stats = flushed(logger)
    assert daemon.messages() == [f"{r} {n}" for r in range(3) for n in range(500)]
    assert stats["written"] == stats["enqueued"] == 1_500


def test_the_spool_outlasts_a_program_that_is_killed(daemon, tmp_path):
    daemon.stop()
    source = """
        for number in range(1000):
            logger.info("%d", number, extra={"number": number})
        while handler.stats()["spooled"] < 1000:
            pass
        print("spooled", flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", START + textwrap.dedent(source)]
    command += [str(daemon.port), str(tmp_path / "spool")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as running:
        assert running.stdout.readline() == b"spooled\n"
        running.kill()
    assert running.returncode == -signal.SIGKILL
    daemon.start()
    # The next one need not log: it sends when it is there.
    handler = LoghogHandler(
        "app", "127.0.0.1", daemon.port, spool_dir=tmp_path / "spool", spool_bytes=8 << 20
    )
    lines = daemon.wait_for(1_000)
    eventually("all is settled", lambda: handler.stats()["acknowledged"] >= 1_000)
    handler.close()
    assert [line["fields"]["number"] for line in lines] == list(range(1_000))


def test_a_burst_during_an_outage_is_kept_in_the_spool_whole(nobody, tmp_path, logger_for):
    logger = logger_for(nobody, spool_dir=tmp_path / "spool", max_buffer_size=10)
    handler = logger.handlers[0]
    logger.info("first")
    eventually("the outage is known", lambda: handler.stats()["failures"] >= 2)
    for number in range(20_000):
        logger.info("%d", number)
    eventually("all is kept", lambda: handler.stats()["spooled"] == 20_001)
    assert handler.stats()["queued"] == handler.stats()["enqueued"] == 20_001


def test_what_a_program_leaves_when_it_ends_is_sent_by_the_next(daemon, tmp_path):
    daemon.stop()
    source = START + '[logger.info("%d", number) for number in range(100)]'
    succeeded(program(source, daemon.port, tmp_path / "spool"))
    daemon.start()
    succeeded(program(START + 'logger.info("next")', daemon.port, tmp_path / "spool"))
    messages = [line["message"] for line in daemon.wait_for(101)]
    assert sorted(messages) == sorted([*map(str, range(100)), "next"])


def test_a_server_that_forks_its_workers_before_they_serve(daemon, tmp_path):
    """As gunicorn does, with one spool for all."""
    succeeded(
        program(
            START
            + textwrap.dedent(
                """
                def work(number):
                    for request in range(50):
                        logger.info("worker %d request %d", number, request)
                    sys.exit(0)

                def spawn(number):
                    pid = os.fork()
                    if pid == 0:
                        work(number)
                    return pid

                logger.info("master starts")
                workers = [spawn(number) for number in range(4)]
                assert [os.waitpid(pid, 0)[1] for pid in workers] == [0] * 4
                logger.info("master ends")
                """
            ),
            daemon.port,
            tmp_path / "spool",
        )
    )
    expected = ["master starts", "master ends"]
    expected += [f"worker {number} request {r}" for number in range(4) for r in range(50)]
    messages = [line["message"] for line in daemon.wait_for(len(expected))]
    assert sorted(messages) == sorted(expected)
    assert len({line["process"] for line in daemon.lines()}) == 5


def test_workers_that_fork_while_threads_log_lose_nothing(daemon, tmp_path):
    forks = 5
    done = succeeded(
        program(
            START
            + textwrap.dedent(
                f"""
                import threading
                stop = threading.Event()
                counts = [0, 0]

                def storm(number):
                    while not stop.wait(0.001):
                        logger.info("storm %d %d", number, counts[number])
                        counts[number] += 1

                threads = [threading.Thread(target=storm, args=(n,)) for n in range(2)]
                [thread.start() for thread in threads]
                for number in range({forks}):
                    pid = os.fork()
                    if pid == 0:
                        logger.info("child %d", number)
                        os._exit(0 if handler.flush(30) else 1)
                    assert os.waitpid(pid, 0)[1] == 0
                stop.set()
                [thread.join() for thread in threads]
                assert handler.flush(30)
                print(sum(counts))
                """
            ),
            daemon.port,
            tmp_path / "spool",
        )
    )
    lines = daemon.wait_for(forks + int(done.stdout))
    assert len(lines) == forks + int(done.stdout)
    assert len({line["message"] for line in lines}) == len(lines), "nothing twice"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_with_every_start_method(daemon, tmp_path, method):
    script = tmp_path / "script.py"
    script.write_text(
        START.replace("\nport, spool", "\nimport multiprocessing\nport, spool")
        + textwrap.dedent(
            """
            def work(number):
                logger.warning("process %d", number)

            if __name__ == "__main__":
                context = multiprocessing.get_context(sys.argv[3])
                processes = [context.Process(target=work, args=(n,)) for n in range(3)]
                [process.start() for process in processes]
                [process.join() for process in processes]
                assert [process.exitcode for process in processes] == [0] * 3
            """
        )
    )
    command = [sys.executable, script, daemon.port, tmp_path / "spool", method]
    succeeded(run_to_end(command))
    messages = [line["message"] for line in daemon.wait_for(3)]
    assert sorted(messages) == [f"process {n}" for n in range(3)]


def test_the_old_protocol_is_spoken_unless_something_else_is_asked_for(server, logger_for):
    logger = logger_for(server)
    logger.info("hello", extra={"user": "ada"})
    assert bodies(server.wait_for(1)) == ["hello"]
    assert logger.handlers[0].stats()["sent"] == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"protocol": 3}, ValueError),
        ({"protocol": "2"}, ValueError),
        ({"protocol": 1, "spool_dir": "spool"}, ValueError),
        ({"protocol": 1, "fields": {"a": 1}}, ValueError),
        ({"protocol": 2, "stream": False}, ValueError),
        ({"spool_dir": "spool", "stream": False}, ValueError),
        ({"hosts": "logs"}, TypeError),
        ({"hosts": [5]}, TypeError),
        ({"hosts": ["a:b"]}, ValueError),
        ({"hosts": ["a"], "host": "b"}, ValueError),
        ({"compression": "lz4"}, ValueError),
        ({"spool_dir": "spool", "spool_bytes": 5}, ValueError),
        ({"spool_dir": "spool", "spool_bytes": -5}, ValueError),
    ],
)
def test_what_cannot_work_is_said_at_once(arguments, error):
    with pytest.raises(error):
        LoghogHandler("app", **arguments)


def test_what_is_new_is_named():
    with pytest.raises(TypeError):
        LoghogHandler("app", "h", 1, True, None, False, None, None, 10, False, 2)


def test_a_spool_that_cannot_be_used_keeps_nothing_back(daemon, tmp_path, logger_for):
    (tmp_path / "file").write_text("in the way")
    logger = logger_for(daemon, spool_dir=tmp_path / "file")
    logger.info("hello")
    stats = flushed(logger)
    assert daemon.messages() == ["hello"]
    assert "spool" in stats["last_failure"]


def test_a_server_that_speaks_the_old_protocol_gets_nothing_from_a_spool(tmp_path, logger_for):
    with Server() as server:
        logger = logger_for(server, spool_dir=tmp_path / "spool")
        logger.info("hello")
        eventually("an attempt failed", lambda: logger.handlers[0].stats()["failures"] >= 1)
        assert logger.handlers[0].stats()["queued"] == 1
