"""The handler: what the program sees.

A `logging.LogRecord` becomes text here and goes to the native client, which
signs it, queues it and sends it from a thread of its own. Nothing in `emit`
waits for the network, and nothing in it raises into the program.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
import sys
import time
import weakref
from typing import Any, Final, Mapping, Optional, Sequence, TypedDict, Union, cast

from ._loghog import Client, Template
from .arguments import (
    Compression,
    Path,
    Protocol,
    SslInfo,
    checked_compression,
    checked_hosts,
    checked_name,
    checked_port,
    checked_protocol,
    checked_size,
    checked_ssl,
    transport,
)
from .fields import Fields, FieldSource
from .formats import template_of

# How long flush() waits, close(), and the end of the program altogether.
_FLUSH_SECONDS: Final = 5.0

# How much of that a server gets that cannot be reached: enough for one that is
# just restarting, not so much that every command waits for one that is gone.
_UNREACHABLE_SECONDS: Final = 1.0

# How long close() waits for the connection to end once all has been written,
# or for the rest to get into the spool.
_GOODBYE_SECONDS: Final = 0.5

# No formatter: None is one.
_NOTHING: Final = object()


class Stats(TypedDict):
    """What became of the messages:
    enqueued == written + queued + all that is dropped_*.

    In protocol 2, `written` is what the server has acknowledged or refused;
    `sent` and all below it stay 0 in protocol 1."""

    enqueued: int
    written: int
    written_bytes: int
    queued: int
    dropped_queue_full: int
    dropped_spool_full: int
    dropped_spool_failed: int
    dropped_too_large: int
    dropped_closed: int
    dropped_unformattable: int
    reconnects: int
    failures: int
    last_failure: Optional[str]
    sent: int
    resent: int
    acknowledged: int
    refused: int
    spooled: int
    spool_bytes: int
    damaged: int
    failovers: int


class LoghogHandler(logging.Handler):
    """Sends what is logged to a LogHog server.

    app_name
        The application, as the server's facilities.conf lists it.
    host, port
        The server: a name or an address; IPv6 with or without brackets. For TLS
        the server listens on port 5577 unless configured otherwise.
    stream
        True: one connection (TCP, or TLS with ssl_info). False: UDP, a datagram
        for each message.
    secret
        Shared with the server; signs every message. str means its UTF-8. Empty
        or None: messages are not signed.
    compression
        Whether messages are compressed: True or 'zlib', each by itself, in
        protocol 2 many together; 'zstd' in protocol 2 alone, faster and
        shorter (protocol 1 uses zlib then).
    hostname
        The host name that the messages carry; the machine's when empty or None.
    ssl_info
        Files for TLS: {'pemfile': our key and certificate, 'cacert': the
        certificate of the CA}. The server's certificate must be for `host`;
        'server_hostname' gives another name, 'check_hostname': False has only
        the CA checked. Empty or None: no TLS.
    max_buffer_size
        How many messages are kept while the server cannot be reached. Beyond,
        the oldest are dropped and counted. Not with `spool_dir`: memory takes
        what does not fit there, 16 MiB or more.
    print_debug
        Whether errors are printed to stdout, with the message that follows
        them or at the end; otherwise they are only counted, see stats().
    protocol
        1: no acknowledgements; every server understands it. 2: messages are
        kept until the server has them safe on its disk, and carry level,
        thread, process, exception and fields. 'auto': 2, or 1 for a server that
        knows nothing else. Unless given, it is 'auto' with `spool_dir`, `hosts`,
        `fields` or `level_field`, and 1 without.
    spool_dir
        A folder that keeps messages until the server has acknowledged them.
        They outlast the program; the next one of this app_name with the same
        folder sends them. Any number of processes may share it. Never protocol 1.
    spool_bytes
        How many bytes each process may keep there; 1 GiB unless given.
    hosts
        Servers in order of preference, 'host' or 'host:port', instead of
        `host`; `port` is for those that do not say theirs.
    fields
        What each message carries in protocol 2 besides what `extra` says: a
        dict, or a callable without arguments that returns one, asked with each
        message in the thread that logs. A contextvars.ContextVar as a value of
        the dict stands for what it holds there; nothing while it is not set.
    level_field
        A field that has the level's name, such as 'severity': the name as
        logging knows it, also of a program's own levels.
    """

    flush_timeout: float = _FLUSH_SECONDS
    """How many seconds flush() waits unless told otherwise, and close()."""

    def __init__(
        self,
        app_name: str,
        host: str = "localhost",
        port: int = 5566,
        stream: bool = True,
        secret: Optional[Union[str, bytes]] = None,
        compression: Compression = False,
        hostname: Optional[str] = None,
        ssl_info: Optional[Union[SslInfo, Mapping[str, Any]]] = None,
        max_buffer_size: int = 1024,
        print_debug: bool = False,
        *,
        protocol: Optional[Protocol] = None,
        spool_dir: Optional[Path] = None,
        spool_bytes: Optional[int] = None,
        hosts: Optional[Sequence[str]] = None,
        fields: Optional[FieldSource] = None,
        level_field: Optional[str] = None,
    ) -> None:
        self.print_debug = print_debug
        self._unformattable = 0
        self._gave_up = float("-inf")
        # An empty path or name asks for nothing, as an unset variable gives it.
        richer = {
            "spool_dir": spool_dir or None,
            "fields": fields,
            "level_field": level_field or None,
        }
        spoken = checked_protocol(protocol, stream, hosts, richer)
        self._fields = None if spoken == "1" else Fields(fields, level_field)
        self._has_spool = bool(spool_dir)
        self._client = Client(
            checked_name(app_name),
            checked_hosts(host, hosts),
            checked_port(port),
            transport=transport(stream, ssl_info),
            protocol=spoken,
            secret=secret.encode() if isinstance(secret, str) else secret,
            compression=checked_compression(compression),
            hostname=hostname or socket.gethostname(),
            max_buffer_size=checked_size("max_buffer_size", max_buffer_size),
            spool_dir=spool_dir or None,
            spool_bytes=None if spool_bytes is None else checked_size("spool_bytes", spool_bytes),
            **checked_ssl(ssl_info),
        )
        self._log = self._client.log
        self._has_own_fields = self._fields is not None and self._fields.has_own
        # Whether nobody has put something of his own into the way of a record.
        kind = type(self)
        self._is_plain = kind.filter is logging.Handler.filter and kind.emit is LoghogHandler.emit
        self._formats_itself = kind.format is not logging.Handler.format
        # A formatter, and what the native client can do of its work; both at
        # once, since another thread may look.
        self._learned: tuple[object, Optional[Template]] = (_NOTHING, None)
        # The parent's socket, where a fork was noticed before the hook ran.
        self._inherited: Optional[int] = None
        self._pid = os.getpid()
        # The same; None between close() and the next message.
        self._open_in: Optional[int] = self._pid
        # What the clients before the last close() had counted.
        self._before: dict[str, int] = {}
        # Only now: logging flushes at the end whatever has passed this.
        super().__init__()
        _remember(self)
        _end_like_a_child_of_multiprocessing()

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        # A method that somebody puts into this one handler is asked as well.
        if name == "filter":
            self._is_plain = False
        elif name == "format":
            self._formats_itself = True
            self._learned = (_NOTHING, None)

    def handle(self, record: logging.LogRecord) -> bool:
        if self._is_plain and not self.filters:
            # Without the handler's lock: `emit` takes it where there is need.
            self.emit(record)
            return True
        return super().handle(record)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # Hooks of other modules may log in a child before ours has run, and
            # not every fork runs hooks. The record knows its process already.
            if record.process != self._open_in:
                self._look_around()
            formatter, template = self._learned
            if formatter is not self.formatter:
                template = self._learn_format()
            if template is None or not self._log(
                record, template, self._fields, self._has_own_fields
            ):
                self._format_and_send(record)
            if self.print_debug:
                self._print_failures()
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Counts a message that could not be formatted; says so when
        print_debug is set. Never raises."""
        self.acquire()
        self._unformattable += 1
        self.release()
        if self.print_debug:
            try:
                _print(f"a message of {record.name!r} cannot be sent: {sys.exc_info()[1]!r}")
            except Exception:
                _print("a message cannot be sent, and its error not be printed")

    # logging's own flush() returns nothing; nobody can mind an answer.
    def flush(self, timeout: Optional[float] = None) -> bool:  # type: ignore[override]
        """Waits until all that was logged before is in the kernel's hands, in
        protocol 2 until the server has it safe on its disk. False when that
        takes longer than `timeout` seconds."""
        limit = self.flush_timeout if timeout is None else timeout
        self._notice_fork()
        return self._flush(limit, limit)

    def close(self) -> None:
        """Flushes and disconnects, within flush_timeout; a server that cannot be
        reached gets a second. What is left stays in the spool for the next
        program; without one it is lost and counted. The next message opens the
        handler again, until the program ends: dictConfig() closes handlers that
        loggers still have."""
        self._notice_fork()
        # logging.shutdown() flushes before it closes: no need to wait twice.
        just_gave_up = time.monotonic() - self._gave_up < _UNREACHABLE_SECONDS
        limit = 0.0 if just_gave_up else self.flush_timeout
        goodbye = _GOODBYE_SECONDS if self._has_spool else 0.0
        try:
            if self._flush(limit, _UNREACHABLE_SECONDS):
                goodbye = _GOODBYE_SECONDS
        finally:
            self._client.close(goodbye)
            self._open_in = None
            _handlers.pop(id(self), None)
            super().close()
            if self.print_debug:
                self._print_failures()

    def stats(self) -> Stats:
        """What became of the messages so far."""
        self._notice_fork()
        stats = self._counted()
        stats["enqueued"] += self._unformattable
        stats["dropped_unformattable"] = self._unformattable
        return cast(Stats, stats)

    def _learn_format(self) -> Optional[Template]:
        formatter = self.formatter
        template = None if self._formats_itself else template_of(formatter)
        self._learned = (formatter, template)
        return template

    def _format_and_send(self, record: logging.LogRecord) -> None:
        # Formatters may count on it that they are called one at a time.
        self.acquire()
        try:
            # First: formatting makes exc_text.
            body = self.format(record)
        finally:
            self.release()
        if self._fields is None:
            self._client.send(record.name, record.created, record.msecs, body)
            return
        self._client.send_record(
            record.name,
            record.created,
            record.levelno,
            record.threadName or "",
            record.process,
            body,
            record.exc_text or None,
            self._fields.of(record),
        )

    def _flush(self, limit: float, unreachable_limit: float) -> bool:
        full = limit >= self.flush_timeout
        ending = _ending
        if ending is not None:
            limit, unreachable_limit = ending.left(limit, unreachable_limit)
        done = False
        try:
            done = self._client.flush(limit, unreachable_limit)
        finally:
            # A shorter wait than close() grants proves nothing.
            if not done and full:
                self._gave_up = time.monotonic()
            if self.print_debug:
                self._print_failures()
        return done

    def _print_failures(self) -> None:
        for failure in self._client.take_failures():
            _print(failure)

    def _look_around(self) -> None:
        """A record is not of the process that this handler is open in. It may
        just come from another one, through a queue."""
        self.acquire()
        try:
            self._notice_fork()
            if self._open_in is None and _ending is None:
                self._open_again()
        finally:
            self.release()

    def _open_again(self) -> None:
        before = self._counted()
        left = before.pop("queued")
        if self._has_spool:
            # The spool's now, like what an earlier program has left there.
            before["enqueued"] -= left
        else:
            # Its thread is just giving them up.
            before["dropped_closed"] += left
        del before["spool_bytes"], before["last_failure"]
        self._before = before
        self._renew()

    def _counted(self) -> dict[str, Any]:
        stats = self._client.stats()
        for name, count in self._before.items():
            stats[name] += count
        return stats

    def _notice_fork(self) -> None:
        if os.getpid() != self._pid:
            self._inherited = self._begin_in_child()

    def _begin_in_child(self) -> Optional[int]:
        """For a child; returns the parent's socket. The old client is left
        alone: its lock may be held by a thread that is not here."""
        self._unformattable = 0
        self._before = {}
        return self._renew()

    def _renew(self) -> Optional[int]:
        self._client, inherited = self._client.inherited()
        self._log = self._client.log
        self._pid = self._open_in = os.getpid()
        _remember(self)
        return inherited


def _print(failure: str) -> None:
    try:
        print(f"loghog: {failure}", flush=True)
    except Exception:
        # No stdout, or a closed one: then nobody wants to know.
        pass


# The handlers that are open; those of a child are renewed after a fork, and all
# are flushed together at the end. No WeakSet: list() takes the values of a dict
# in one step, whatever other threads do meanwhile, also without the GIL.
_handlers: dict[int, weakref.ref[LoghogHandler]] = {}


def _remember(handler: LoghogHandler) -> None:
    key, forget = id(handler), _handlers.pop
    _handlers[key] = weakref.ref(handler, lambda _: forget(key, None))


def _open_handlers() -> list[LoghogHandler]:
    maybe = [reference() for reference in list(_handlers.values())]
    return [handler for handler in maybe if handler is not None]


class _Ending:
    """The end of the program: one time limit for all handlers together."""

    def __init__(self) -> None:
        now = time.monotonic()
        self._deadline = now + _FLUSH_SECONDS
        self._unreachable_deadline = now + _UNREACHABLE_SECONDS

    def left(self, limit: float, unreachable_limit: float) -> tuple[float, float]:
        now = time.monotonic()
        return (
            min(limit, self._deadline - now),
            min(unreachable_limit, self._unreachable_deadline - now),
        )

    def hurry(self) -> None:
        self._deadline = self._unreachable_deadline = time.monotonic()


_ending: Optional[_Ending] = None


def _flush_at_exit() -> None:
    """Runs before logging.shutdown(), which waits for one handler after the
    other."""
    global _ending
    _ending = ending = _Ending()
    try:
        for handler in _open_handlers():
            handler.flush()
    except BaseException:
        # Ctrl-C: whoever waits for the end has waited enough.
        ending.hurry()
        raise


def _begin_in_child() -> None:
    global _ending
    _ending = None
    for handler in _open_handlers():
        if handler._pid == os.getpid():
            # It has noticed by itself, and may be connected already.
            inherited, handler._inherited = handler._inherited, None
        else:
            inherited = handler._begin_in_child()
        if inherited is not None:
            try:
                os.close(inherited)
            except OSError:
                pass
    _ask_children_to_flush()


def _ask_children_to_flush() -> None:
    """A child of multiprocessing ends without the hooks of atexit. It forgets
    hooks of its own kind when it begins, and then runs those that are asked for
    here, which it has from its parent or from importing the main module."""
    global _asked
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not _asked:
        _asked = True
        util.register_after_fork(_flush_at_exit, _finalize)


def _finalize(at_exit: Any) -> None:
    from multiprocessing.util import Finalize

    global _finalized
    _finalized = os.getpid()
    # A low priority: after everything that may still log.
    Finalize(None, at_exit, exitpriority=-100)


def _end_like_a_child_of_multiprocessing() -> None:
    """For a handler that is made in a child of multiprocessing, or before."""
    _ask_children_to_flush()
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None or _finalized == os.getpid():
        return
    _finalize(_flush_at_exit)


_asked = False
_finalized: Optional[int] = None

atexit.register(_flush_at_exit)
if hasattr(os, "register_at_fork"):
    # Only in the child: the parent need not stop for a fork, since nothing that
    # a fork may catch half done is looked at in the child.
    os.register_at_fork(after_in_child=_begin_in_child)
