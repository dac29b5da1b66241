"""The other ends: a real loghogd, and a sink for what speaks something else."""

import contextlib
import pathlib
import re
import subprocess
import sys
import tempfile
import time

# Reads and throws away, over TCP and UDP; and answers as Loki does.
SINK = """
import asyncio

async def read(reader, writer):
    while await reader.read(1 << 18):
        pass
    writer.close()

async def loki(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            lengths = [line for line in head.lower().split(b"\\r\\n") if b"content-length" in line]
            await reader.readexactly(int(lengths[0].split(b":")[1]))
            writer.write(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
    except asyncio.IncompleteReadError:
        writer.close()

async def main():
    stream = await asyncio.start_server(read, "127.0.0.1", 0)
    port = stream.sockets[0].getsockname()[1]
    http = await asyncio.start_server(loki, "127.0.0.1", 0)
    datagrams = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, ("127.0.0.1", port))
    print(port, http.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""

CONFIG = """
[main]
facilities_config = facilities.conf
logdir = log
rundir = run
workdir = work
[log]
filename = own.log
[server]
listen_ipv4 = 127.0.0.1:0
listen_ipv6 =
listen_ipv4_ssl = 127.0.0.1:0
pemfile = loghog-server.pem
cacert = loghog-ca.cert
"""

# How long the daemon may take to start.
START_SECONDS = 30


@contextlib.contextmanager
def sink():
    """The ports of a process that reads: of raw bytes, and of Loki."""
    with subprocess.Popen([sys.executable, "-c", SINK], stdout=subprocess.PIPE) as process:
        try:
            yield [int(port) for port in process.stdout.readline().split()]
        finally:
            process.kill()


class Daemon:
    """A release build's daemon, with a facility `bench` that is synced with
    every batch."""

    def __init__(self, programs, folder):
        self._programs, self._folder = programs, folder
        (folder / "facilities.conf").write_text("[bench]\nrotate = yearly\nbackup_count = 1\n")
        (folder / "loghogd.conf").write_text(CONFIG)
        for tool, *arguments in (["loghog-server-cert"], ["loghog-client-cert", "bench"]):
            command = [str(programs / tool), *arguments]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)

    def run(self):
        with (self._folder / "said").open("w") as said:
            command = [str(self._programs / "loghogd"), "--config", "loghogd.conf"]
            return subprocess.Popen(command, cwd=self._folder, stderr=said)

    def port(self, kind):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            said = (self._folder / "said").read_text()
            if "ready" in said:
                return int(re.search(rf"listening on {kind} \S+:(\d+)", said)[1])
            time.sleep(0.01)
        raise TimeoutError(f"the daemon did not start:\n{said}")

    @property
    def ssl_info(self):
        return {
            "pemfile": self._folder / "bench.pem",
            "cacert": self._folder / "loghog-ca.cert",
        }

    def lines(self):
        """How many are in its file."""
        path = self._folder / "log" / "bench" / "root.log"
        with path.open("rb") as file:
            return sum(1 for _ in file)


@contextlib.contextmanager
def daemon(programs):
    with tempfile.TemporaryDirectory() as folder:
        prepared = Daemon(pathlib.Path(programs).resolve(), pathlib.Path(folder))
        with prepared.run() as process:
            try:
                yield prepared
            finally:
                process.terminate()
