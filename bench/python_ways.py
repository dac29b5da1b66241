"""The ways of getting rid of a log record that are measured."""

import dataclasses
import logging
import logging.handlers
import queue
import time
from typing import Callable, Optional

# How long others may take for what they have queued.
DRAIN_SECONDS = 60


@dataclasses.dataclass
class Way:
    name: str
    make: Callable[[], logging.Handler]
    # Waits until all is out of the program's hands.
    drain: Callable[[logging.Handler], object] = lambda handler: handler.flush()
    # Messages that did not arrive; None where nobody can tell.
    lost: Callable[[logging.Handler], Optional[int]] = lambda handler: None
    # As many times fewer calls: it could not keep up with more.
    fewer: int = 1
    extra: Optional[dict] = None
    # Whether its messages are to be found in the daemon's file.
    is_counted: bool = False


class Nothing(logging.Handler):
    """Does nothing: what logging itself costs."""

    def handle(self, record):
        return True


class Silent(logging.Handler):
    """Formats and throws away."""

    def emit(self, record):
        self.format(record)


class Queued(logging.handlers.QueueHandler):
    """A QueueHandler with its listener, which hands to a SocketHandler."""

    def __init__(self, port):
        super().__init__(queue.SimpleQueue())
        target = logging.handlers.SocketHandler("127.0.0.1", port)
        self._listener = logging.handlers.QueueListener(self.queue, target)
        self._listener.start()

    def drain(self):
        self._listener.stop()
        self._listener.start()

    def close(self):
        self._listener.stop()
        for handler in self._listener.handlers:
            handler.close()
        super().close()


def all_ways(folder, raw_port, loki_port, daemon):
    return [
        Way("nothing", Nothing),
        Way("only formatting", Silent),
        Way("logging.FileHandler", lambda: logging.FileHandler(folder / "file.log")),
        *_version_1(raw_port),
        *_version_2(folder, daemon),
        Way("QueueHandler, SocketHandler", lambda: Queued(raw_port), Queued.drain),
        *_from_elsewhere(raw_port, loki_port),
    ]


def _from_elsewhere(raw_port, loki_port):
    import logging_loki
    from logstash_async.handler import AsynchronousLogstashHandler

    def loki(kind, *arguments):
        url = f"http://127.0.0.1:{loki_port}/loki/api/v1/push"
        return lambda: kind(*arguments, url=url, version="1")

    def stop(handler):
        handler.listener.stop()
        handler.listener.start()

    yield Way("python-logging-loki", loki(logging_loki.LokiHandler), fewer=20)
    yield Way(
        "python-logging-loki, queued",
        lambda: loki(logging_loki.LokiQueueHandler, queue.Queue())(),
        stop,
        fewer=20,
    )
    yield Way(
        "python-logstash-async",
        lambda: AsynchronousLogstashHandler("127.0.0.1", raw_port, database_path=None),
        _drain_logstash,
        fewer=4,
    )


def _drain_logstash(handler):
    worker, deadline = handler._worker_thread, time.monotonic() + DRAIN_SECONDS
    while worker._queue.qsize() > 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    handler.flush()


def _version_1(raw_port):
    from loghog import LoghogHandler

    def way(name, **options):
        return Way(
            f"LoghogHandler, v1 {name}",
            lambda: LoghogHandler("bench", "127.0.0.1", raw_port, **options),
            lost=lambda handler: handler.stats()["enqueued"] - handler.stats()["written"],
        )

    yield way("TCP")
    yield way("TCP, signed", secret="secret")
    yield way("UDP", stream=False)


def _version_2(folder, daemon):
    from loghog import LoghogHandler

    def way(name, kind="tcp", extra=None, **options):
        return Way(
            f"LoghogHandler, v2 {name}",
            lambda: LoghogHandler("bench", "localhost", daemon.port(kind), protocol=2, **options),
            lost=lambda handler: handler.stats()["enqueued"] - handler.stats()["acknowledged"],
            extra=extra,
            is_counted=True,
        )

    yield way("TCP")
    yield way("TCP, fields=", fields={"version": "1.2"})
    yield way("TCP, extra=", extra={"user": "ada", "port": 22})
    yield way("TCP, zstd", compression="zstd")
    yield way("TCP, spool", spool_dir=folder / "spool")
    yield way("TLS", "tls", ssl_info=daemon.ssl_info)
    yield way("TLS, spool", "tls", ssl_info=daemon.ssl_info, spool_dir=folder / "spool")
