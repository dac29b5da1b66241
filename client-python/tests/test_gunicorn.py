"""gunicorn forks its workers, kills and replaces them: every message of every
worker is in the file once."""

import signal

import gunicorn
import pytest
from harness import eventually
from served import Served, is_there

APPLICATION = """
import contextvars, logging, os, signal
from loghog import LoghogHandler

path = contextvars.ContextVar("path")
handler = LoghogHandler(
    "app", "127.0.0.1", int(os.environ["LOGHOG_PORT"]),
    protocol=2, spool_dir="spool", fields={"path": path},
)
logger = logging.getLogger("web")
logger.setLevel(logging.INFO)
logger.addHandler(handler)
logger.info("imported")

def application(environ, start_response):
    path.set(environ["PATH_INFO"])
    logger.info("request %s", environ["PATH_INFO"])
    if environ["PATH_INFO"] == "/die":
        die()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]

def die():
    for number in range(100):
        logger.info("last words %d", number)
    # What is not there yet a kill may take.
    while handler.stats()["spooled"] < handler.stats()["enqueued"]:
        pass
    os.kill(os.getpid(), signal.SIGKILL)
"""


# Newer ones make a socket in the user's home, one for all.
ALONE = ("--no-control-socket",) if gunicorn.version_info >= (25,) else ()


class Gunicorn(Served):
    def __init__(self, folder, daemon, *options, application="application:application"):
        super().__init__(
            folder,
            *("-m", "gunicorn", "--workers", "2", "--bind", "127.0.0.1:0"),
            *("--worker-tmp-dir", folder, *ALONE, *options, application),
            LOGHOG_PORT=str(daemon.port),
        )
        self.requests = []

    def request(self):
        """The worker's process id."""
        path = f"/{len(self.requests)}"
        self.requests.append(path)
        return int(self.get(path))

    def request_until(self, holds):
        """Asks until it holds of the workers seen since. One that has not
        answered yet may not have begun to look for signals."""
        seen = set()

        def asked():
            seen.add(self.request())
            return holds(seen)

        eventually("such workers answer", asked)
        return seen


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "application.py").write_text(APPLICATION)
    return tmp_path


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["", "preload"])
def test_workers_come_and_go_and_nothing_is_lost_or_twice(daemon, folder, options):
    with Gunicorn(folder, daemon, *options) as served:
        first = served.request_until(lambda seen: len(seen) == 2)
        # One is killed while the server is away, and replaced.
        daemon.stop()
        assert served.get("/die") is None
        second = served.request_until(lambda seen: len(seen) == 2 and seen != first)
        daemon.start()
        # All are replaced, by and by.
        served.send(signal.SIGHUP)
        eventually("the old workers end", lambda: not any(map(is_there, first | second)))
        served.request_until(lambda seen: len(seen) == 2)
        assert served.stop() == 0, served.said()

    expected = [f"request {path}" for path in [*served.requests, "/die"]]
    expected += [f"last words {number}" for number in range(100)]
    # Once by the master, or once by each worker: two, one more, and two.
    expected += ["imported"] * (1 if options else 5)
    lines = daemon.wait_for(len(expected))
    assert sorted(line["message"] for line in lines) == sorted(expected)
    for line in lines:
        if line["message"].startswith("request"):
            assert line["fields"] == {"path": line["message"].split()[1]}


DJANGO = """
import logging, os, sys
import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

def fields():
    return {"worker": os.getpid()}

settings.configure(
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"simple": {"format": "%(levelname)s - %(message)s"}},
        "handlers": {"loghog": {
            "class": "loghog.LoghogHandler",
            "app_name": "app",
            "hosts": ["127.0.0.1:" + os.environ["LOGHOG_PORT"]],
            "protocol": 2,
            "spool_dir": "spool",
            "fields": "ext://site_of_django.fields",
            "level_field": "severity",
            "formatter": "simple",
        }},
        "root": {"handlers": ["loghog"], "level": "INFO"},
    },
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="x",
)

def view(request, number):
    logging.getLogger("shop").info("sold %d", number, extra={"price": number * 10})
    return HttpResponse(str(os.getpid()))

def broken(request):
    raise RuntimeError("out of stock")

urlpatterns = [path("<int:number>", view), path("broken", broken)]
application = get_wsgi_application()
"""


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["", "preload"])
def test_django_under_gunicorn(daemon, tmp_path, options):
    (tmp_path / "site_of_django.py").write_text(DJANGO)
    with Gunicorn(
        tmp_path, daemon, *options, application="site_of_django:application"
    ) as served:
        served.request_until(lambda seen: len(seen) == 2)
        assert "Server Error (500)" in served.get("/broken")
        assert served.stop() == 0, served.said()

    requests = len(served.requests)
    lines = daemon.wait_for(requests + 1)
    sold = [line for line in lines if line["logger"] == "shop"]
    expected = [f"INFO - sold {number}" for number in range(requests)]
    assert sorted(line["message"] for line in sold) == sorted(expected)
    for line in sold:
        price = int(line["message"].split()[-1]) * 10
        assert line["fields"] == {
            **{"worker": line["process"], "severity": "INFO", "price": price}
        }
    (failed,) = (line for line in lines if line["logger"] == "django.request")
    assert failed["message"].startswith("ERROR - Internal Server Error: /broken")
    assert failed["exception"].endswith("RuntimeError: out of stock")
    assert (failed["fields"]["severity"], failed["fields"]["status_code"]) == ("ERROR", 500)

OWN_LOG = """
import os

logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {
        "loghog": {
            "class": "loghog.LoghogHandler",
            "app_name": "app",
            "port": int(os.environ["LOGHOG_PORT"]),
            "host": "127.0.0.1",
            "protocol": 2,
            "spool_dir": "spool",
        },
        "console": {"class": "logging.StreamHandler"},
    },
    "root": {"handlers": [], "level": "INFO"},
    "loggers": {
        name: {"handlers": ["loghog", "console"], "level": "INFO", "propagate": False}
        for name in ("gunicorn.error", "gunicorn.access")
    },
}
"""


def test_gunicorns_own_log(daemon, folder):
    """Its master logs too, before and after it forks, and configures logging
    again when it is told to."""
    (folder / "gunicorn.conf.py").write_text(OWN_LOG)
    with Gunicorn(folder, daemon, "--config", "gunicorn.conf.py") as served:
        first = served.request_until(lambda seen: len(seen) == 2)
        served.send(signal.SIGHUP)
        eventually("the old workers end", lambda: not any(map(is_there, first)))
        second = served.request_until(lambda seen: len(seen) == 2)
        assert served.stop() == 0, served.said()
    lines = [line for line in daemon.lines() if line["logger"].startswith("gunicorn")]
    messages = [line["message"] for line in lines]
    for pid in first | second:
        assert messages.count(f"Booting worker with pid: {pid}") == 1
        assert messages.count(f"Worker exiting (pid: {pid})") == 1
    assert messages.count("Handling signal: hup") == 1
    assert messages.count("Handling signal: term") == 1
    assert messages.count("Shutting down: Master") == 1
    requests = [line for line in lines if line["logger"] == "gunicorn.access"]
    assert len(requests) == len(served.requests)
