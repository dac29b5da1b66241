#!/usr/bin/env python3
"""What one logger.info() costs with LoghogHandler, beside logging.FileHandler.

    python_handler.py [--address HOST:PORT --app APP] [--calls N] [--rounds N]

Without --address the server is a sink: another process that reads and throws
away. The wheel `loghog` must be installed. Rounds of all handlers alternate, so
that a busy moment of the machine meets all of them; the medians are shown:

    call   microseconds of the caller's time for one logger.info()
    cpu    microseconds of processor time of the program, all threads
    lost   messages of all rounds that were not handed to the kernel
"""

import argparse
import logging
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

SINK = """
import selectors, socket
selector = selectors.DefaultSelector()
stream, datagrams = socket.create_server(("127.0.0.1", 0)), socket.socket(type=socket.SOCK_DGRAM)
datagrams.bind(("127.0.0.1", stream.getsockname()[1]))
selector.register(stream, selectors.EVENT_READ)
selector.register(datagrams, selectors.EVENT_READ)
print(stream.getsockname()[1], flush=True)
while True:
    for key, _ in selector.select():
        if key.fileobj is stream:
            selector.register(stream.accept()[0], selectors.EVENT_READ)
        elif not key.fileobj.recv(1 << 18):
            selector.unregister(key.fileobj)
            key.fileobj.close()
"""


def measure(logger, calls):
    """Microseconds a call: the caller's, and the processor's."""
    cpu, wall = time.process_time(), time.perf_counter()
    for number in range(calls):
        logger.info("request %d of %s took %.3f ms", number, "/accounts/login", 12.345)
    called = time.perf_counter() - wall
    for handler in logger.handlers:
        handler.flush()
    cpu = time.process_time() - cpu
    return called / calls * 1e6, cpu / calls * 1e6


def handlers(host, port, app, folder):
    from loghog import LoghogHandler

    def loghog(**options):
        return lambda: LoghogHandler(app, host, port, **options)

    return {
        "no output, only formatting": lambda: Silent(),
        "logging.FileHandler": lambda: logging.FileHandler(folder / "bench.log"),
        "LoghogHandler TCP": loghog(),
        "LoghogHandler TCP, signed": loghog(secret="secret"),
        "LoghogHandler TCP, zlib": loghog(compression=True),
        "LoghogHandler UDP": loghog(stream=False),
    }


class Silent(logging.Handler):
    """Formats and throws away: what logging itself costs."""

    def emit(self, record):
        self.format(record)


def lost(handler):
    stats = getattr(handler, "stats", dict)()
    return stats.get("enqueued", 0) - stats.get("written", 0)


def run(arguments, host, port, app):
    with tempfile.TemporaryDirectory() as folder:
        makers = handlers(host, port, app, pathlib.Path(folder))
        results = {name: [] for name in makers}
        losses = dict.fromkeys(makers, 0)
        for _ in range(arguments.rounds):
            for name, make in makers.items():
                handler = make()
                handler.setFormatter(logging.Formatter("%(levelname)s - %(message)s"))
                logger = logging.Logger("web.requests", logging.INFO)
                logger.addHandler(handler)
                measure(logger, 200)
                results[name].append(measure(logger, arguments.calls))
                losses[name] += lost(handler)
                handler.close()
    print(f"{'':30}{'call':>8}{'cpu':>8}{'lost':>8}")
    for name, rounds in results.items():
        call, cpu = (statistics.median(column) for column in zip(*rounds))
        print(f"{name:30}{call:8.2f}{cpu:8.2f}{losses[name]:8}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", help="a server's HOST:PORT; a sink unless given")
    parser.add_argument("--app", default="plain")
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, medians of "
          f"{arguments.rounds} rounds of {arguments.calls} calls, microseconds a call")
    if arguments.address:
        host, _, port = arguments.address.rpartition(":")
        run(arguments, host, int(port), arguments.app)
        return
    with subprocess.Popen([sys.executable, "-c", SINK], stdout=subprocess.PIPE) as sink:
        try:
            run(arguments, "127.0.0.1", int(sink.stdout.readline()), arguments.app)
        finally:
            sink.kill()


if __name__ == "__main__":
    main()
