"""A small LogHog server for the tests, and ways to run programs against it.

It is written from the protocol's description with Python's own struct, json,
hmac and zlib, so that it judges the client by other code than the client's.
"""

import contextlib
import hashlib
import hmac
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import textwrap
import threading
import time
import zlib

# Nothing that works takes this long, however busy the machine.
PATIENCE = 60.0

HEADER = struct.Struct("!LL")
SIGNED_FIELDS = ("app_id", "module", "stamp", "nsecs", "body")


class Received(dict):
    """One message as the server got it: the JSON object, and its frame's flags."""

    flags: int

    @property
    def body(self):
        return self["body"]


def decode(frame):
    size, flags = HEADER.unpack(frame[: HEADER.size])
    payload = frame[HEADER.size :]
    assert len(payload) == size, "a frame's size is that of its payload"
    if flags & 1:
        payload = zlib.decompress(payload)
    received = Received(json.loads(payload.decode("utf-8")))
    received.flags = flags
    return received


def signature(secret, received):
    signed = "".join(str(received[field]) for field in SIGNED_FIELDS)
    return hmac.new(secret, signed.encode("utf-8"), hashlib.md5).hexdigest()


class Server:
    """Listens on loopback and keeps all messages. A context manager."""

    def __init__(self, tls=None, udp=False, port=0, family=socket.AF_INET, read=True):
        self._tls = tls
        self._read = read
        self._received = []
        self._arrival = threading.Condition()
        self._connections = []
        self._threads = []
        self.accepted = 0
        self.errors = []
        kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
        self._socket = socket.socket(family, kind)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if udp:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        self._socket.bind((self.host, port))
        self.port = self._socket.getsockname()[1]
        self._udp = udp
        if udp:
            self._start(self._receive)
        else:
            self._socket.listen(128)
            self._start(self._accept)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._closing = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._udp:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
                waker.sendto(b"", (self.host, self.port))
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        for connection in self._connections:
            connection.close()
        self._socket.close()

    _closing = False

    def _start(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while not self._closing:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            self._connections.append(connection)
            if self._read:
                self._start(self._serve, connection)

    def _serve(self, connection):
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._connections.append(connection)
            unread = b""
            while True:
                chunk = connection.recv(1 << 16)
                if not chunk:
                    return
                unread = self._cut(unread + chunk)
        except (OSError, ValueError) as error:
            self.errors.append(error)

    def _cut(self, data):
        start = 0
        while len(data) - start >= HEADER.size:
            end = start + HEADER.size + HEADER.unpack_from(data, start)[0]
            if len(data) < end:
                break
            self._keep(data[start:end])
            start = end
        return data[start:]

    def _receive(self):
        while True:
            frame = self._socket.recv(1 << 16)
            if self._closing:
                return
            self._keep(frame)

    def _keep(self, frame):
        received = decode(frame)
        with self._arrival:
            self._received.append(received)
            self._arrival.notify_all()

    def received(self):
        with self._arrival:
            return list(self._received)

    def wait_for(self, count):
        """All messages, once there are `count`."""
        with self._arrival:
            come = self._arrival.wait_for(lambda: len(self._received) >= count, PATIENCE)
            assert come, f"{len(self._received)} of {count} messages came; {self.errors}"
            return list(self._received)

    def wait_until(self, holds):
        """All messages, once something holds of them."""
        with self._arrival:
            come = self._arrival.wait_for(lambda: holds(self._received), PATIENCE)
            assert come, f"not after {len(self._received)} messages; {self.errors}"
            return list(self._received)


class Nobody:
    """A loopback port where nobody listens, and nobody else can begin to."""

    def __enter__(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind(("127.0.0.1", 0))
        self.host, self.port = self._socket.getsockname()
        return self

    def __exit__(self, *_):
        self.leave()

    def leave(self):
        """Now somebody can begin to listen there."""
        self._socket.close()


class Swallowing:
    """An address that neither accepts nor refuses, as one behind a firewall: as
    many wait for the listener as it has places."""

    def __enter__(self):
        with contextlib.ExitStack() as sockets:
            listener = sockets.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            with contextlib.suppress(socket.timeout):
                while True:
                    waiting = sockets.enter_context(socket.socket())
                    waiting.settimeout(0.1)
                    waiting.connect(listener.getsockname())
            self.host, self.port = listener.getsockname()
            self._sockets = sockets.pop_all()
        return self

    def __exit__(self, *_):
        self._sockets.close()


def bodies(received):
    return [message["body"] for message in received]


def eventually(what, holds):
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.002)


def flushed(logger):
    """The counters of a logger's handler, once all that was logged is safe."""
    (handler,) = logger.handlers
    assert handler.flush(PATIENCE), handler.stats()
    return handler.stats()


class Unprintable:
    def __str__(self):
        raise RuntimeError("no")

    __repr__ = __str__


def program(source, *arguments, timeout=PATIENCE):
    """Runs a Python program and the processes that it forks to their end; its
    source may be indented."""
    return run_to_end([sys.executable, "-c", textwrap.dedent(source), *arguments], timeout)


def run_to_end(command, timeout=PATIENCE):
    running = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        # Ends when all that inherited the pipes have ended, children too.
        out, err = running.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        raise
    return subprocess.CompletedProcess(command, running.returncode, out, err)


def succeeded(done):
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done


def server_context(certificates, name="server"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / f"{name}.pem")
    context.load_verify_locations(certificates / "ca.cert")
    context.verify_mode = ssl.CERT_REQUIRED
    return context
