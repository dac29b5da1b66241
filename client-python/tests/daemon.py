"""The real `loghogd` of this build, for tests of protocol 2 from end to end."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from harness import PATIENCE, eventually

# `make` has it beside the environment that runs these tests.
BINARY = Path(os.environ.get("LOGHOGD") or Path(sys.prefix).parent / "debug" / "loghogd")

CONFIG = """
[main]
facilities_config = facilities.conf
logdir = log
rundir = run
workdir = work
[log]
filename = own.log
[server]
listen_ipv4 = 127.0.0.1:{port}
listen_ipv6 =
"""


class Daemon:
    """Listens on loopback. A context manager; can be stopped and started again,
    at the same port."""

    host = "127.0.0.1"

    def __init__(self, folder, secret=None):
        self.folder = folder
        self.port = 0
        for below in ("log", "run", "work"):
            (folder / below).mkdir(parents=True)
        facility = "[app]\nrotate = daily\nbackup_count = 9\nformat = json\n"
        facility += f"secret = {secret}\n" if secret else ""
        (folder / "facilities.conf").write_text(facility)
        self._running = None

    def start(self):
        assert BINARY.is_file(), f"{BINARY} is missing: run `make build`, or say LOGHOGD=..."
        (self.folder / "loghogd.conf").write_text(CONFIG.format(port=self.port))
        with (self.folder / "said").open("w") as said:
            command = [str(BINARY), "--config", "loghogd.conf"]
            self._running = subprocess.Popen(command, cwd=self.folder, stderr=said)
        eventually("the daemon is ready", self._is_ready)
        self.port = int(re.search(r"listening on tcp \S+:(\d+)", self.said())[1])
        return self

    def stop(self):
        if self._running is not None:
            self._running.terminate()
            assert self._running.wait(PATIENCE) == 0, self.said()
            self._running = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def said(self):
        return (self.folder / "said").read_text()

    def lines(self):
        """All lines so far, in the order of the file."""
        path = self.folder / "log" / "app" / "root.log"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def messages(self):
        return [line["message"] for line in self.lines()]

    def wait_for(self, count):
        """All lines, once there are `count`."""
        eventually(f"{count} lines are written", lambda: len(self.lines()) >= count)
        return self.lines()

    def _is_ready(self):
        assert self._running.poll() is None, self.said()
        return " - ready\n" in self.said()
