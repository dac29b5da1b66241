"""Web servers from PyPI that run an application of a test."""

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys

from harness import PATIENCE, eventually


class Served:
    """`command` in a folder, with what it prints in a file. It must listen on
    port 0 of loopback and say where. A context manager."""

    def __init__(self, folder, *command, **environment):
        self._said = folder / "served.said"
        with self._said.open("w") as said:
            self._running = subprocess.Popen(
                [sys.executable, *map(str, command)],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(folder), **environment},
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def __enter__(self):
        eventually("the server listens", self._is_listening)
        return self

    def __exit__(self, *_):
        if self._running.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait()

    def get(self, path):
        """The answer's text; None when the server hangs up instead."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        except (http.client.HTTPException, ConnectionError):
            return None
        finally:
            connection.close()

    def send(self, number):
        self._running.send_signal(number)

    def stop(self, number=signal.SIGTERM):
        """Its exit code."""
        self.send(number)
        return self._running.wait(PATIENCE)

    def said(self):
        return self._said.read_text()

    def _is_listening(self):
        assert self._running.poll() is None, self.said()
        found = re.search(r"http://127\.0\.0\.1:([1-9]\d*)", self.said())
        if found:
            self._port = int(found[1])
        return found is not None


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
