"""Whatever becomes of the spool's disk, the program goes on, and what it has
logged arrives once."""

import shutil
import subprocess
import sys

import pytest
from harness import eventually, flushed


@pytest.mark.parametrize("server_is_there", [True, False])
def test_a_spool_that_vanishes(daemon, tmp_path, logger_for, server_is_there):
    logger = logger_for(daemon, spool_dir=tmp_path / "spool", max_buffer_size=10_000)
    handler = logger.handlers[0]
    logger.info("0")
    flushed(logger)
    if not server_is_there:
        daemon.stop()
    logger.info("1")
    eventually("it is kept", lambda: handler.stats()["spooled"] == 2)
    shutil.rmtree(tmp_path / "spool")
    for number in range(2, 1_000):
        logger.info("%d", number)
    if not server_is_there:
        daemon.start()
    stats = flushed(logger)
    assert daemon.messages() == [str(number) for number in range(1_000)]
    assert (stats["written"], stats["queued"]) == (1_000, 0)


def test_a_disk_that_is_full(daemon, tmp_path):
    """No file may become longer than so much: the disk refuses in the middle of
    an entry. What it refuses is kept in memory."""
    daemon.stop()
    source = """
import logging, resource, sys, time
from loghog import LoghogHandler

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
handler = LoghogHandler("app", "127.0.0.1", int(sys.argv[1]), spool_dir=sys.argv[2])
logger = logging.getLogger("web")
logger.setLevel(logging.INFO)
logger.addHandler(handler)
for number in range(100):
    logger.info("%d %s", number, "x" * 100)
# Else all may come in one piece, of which nothing fits.
deadline = time.monotonic() + 60
while handler.stats()["spooled"] < 100:
    assert time.monotonic() < deadline, handler.stats()
    time.sleep(0.01)
for number in range(100, 5_000):
    logger.info("%d %s", number, "x" * 100)
print(handler.stats()["spooled"], flush=True)
assert handler.flush(60), handler.stats()
assert handler.stats()["written"] == 5_000, handler.stats()
"""
    command = [sys.executable, "-c", source, str(daemon.port), str(tmp_path / "spool")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        assert 0 < int(running.stdout.readline()) < 1_000
        daemon.start()
    assert running.returncode == 0
    assert [m.split()[0] for m in daemon.messages()] == [str(n) for n in range(5_000)]
