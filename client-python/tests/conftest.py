"""What the tests share: servers, handlers that are closed, certificates."""

import itertools
import logging
import subprocess

import pytest
from daemon import Daemon
from harness import Nobody, Server, Swallowing, bodies

from loghog import LoghogHandler

_numbers = itertools.count()


@pytest.fixture
def server():
    with Server() as server:
        yield server


@pytest.fixture
def daemon(tmp_path):
    with Daemon(tmp_path / "daemon") as daemon:
        yield daemon


@pytest.fixture
def nobody():
    with Nobody() as nobody:
        yield nobody


@pytest.fixture
def swallowing():
    with Swallowing() as swallowing:
        yield swallowing


class Place:
    """Where messages come to, the same for both protocols."""

    def __init__(self, receiver, protocol, logger_for):
        self._receiver = receiver
        self._protocol = protocol
        self._logger_for = logger_for

    def logger(self, **options):
        return self._logger_for(self._receiver, protocol=self._protocol, **options)

    def bodies(self, count):
        """All texts, once there are `count`."""
        received = self._receiver.wait_for(count)
        return bodies(received) if self._protocol == 1 else self._receiver.messages()


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def place(request, logger_for):
    receiver = request.getfixturevalue("server" if request.param == 1 else "daemon")
    return Place(receiver, request.param, logger_for)


@pytest.fixture
def logger_for():
    """Makes a logger of its own with a handler for a server."""
    made = []

    def make(server, name="web", app_name="app", **options):
        options.setdefault("host", server.host)
        options.setdefault("port", server.port)
        handler = LoghogHandler(app_name, **options)
        logger = logging.Logger(name, logging.DEBUG)
        logger.addHandler(handler)
        made.append(handler)
        return logger

    yield make
    for handler in made:
        # What is left over in a test is not waited for.
        handler.flush_timeout = 0.0
        handler.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """ca.cert, server.pem (localhost, 127.0.0.1), other.pem (logs.example.org)
    and client.pem; ca2.cert and stranger.pem are of another CA; old.pem is of
    X.509 v1, as the original's scripts made them."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    def authority(name):
        openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN=Test {name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.cert"),
        )

    def leaf(ca, name, extensions):
        (folder / "extensions").write_text(extensions or "")
        openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN={name}", "-keyout", "leaf.key", "-out", "leaf.csr"),
        )
        openssl(
            *("x509", "-req", "-in", "leaf.csr", "-CA", f"{ca}.cert", "-CAkey", f"{ca}.key"),
            *("-set_serial", str(next(_numbers) + 1), "-days", "2"),
            *(("-extfile", "extensions") if extensions else ()),
            *("-out", "leaf.cert"),
        )
        key, certificate = (folder / "leaf.key").read_text(), (folder / "leaf.cert").read_text()
        (folder / f"{name}.pem").write_text(key + certificate)

    authority("ca")
    authority("ca2")
    server = "extendedKeyUsage=serverAuth\nsubjectAltName="
    leaf("ca", "server", server + "DNS:localhost,IP:127.0.0.1")
    leaf("ca", "other", server + "DNS:logs.example.org")
    leaf("ca", "client", "extendedKeyUsage=clientAuth")
    leaf("ca2", "stranger", "extendedKeyUsage=clientAuth")
    leaf("ca", "old", None)
    return folder
