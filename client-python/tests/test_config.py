"""The handler in the ways in which programs configure logging."""

import logging.config

import pytest
from harness import program, succeeded

from loghog import LoghogHandler

DICT_CONFIG = """
import logging.config, sys
logging.config.dictConfig({
    "version": 1,
    "formatters": {"simple": {"format": "%(levelname)s - %(message)s"}},
    "handlers": {"loghog": {
        "class": "loghog.LoghogHandler",
        "app_name": "app",
        "host": "127.0.0.1",
        "port": int(sys.argv[1]),
        "secret": "s3cret",
        "formatter": "simple",
        "level": "INFO",
    }},
    "root": {"handlers": ["loghog"], "level": "DEBUG"},
})
logging.getLogger("web").debug("hidden")
logging.getLogger("web").warning("hello %s", "world")
"""

FILE_CONFIG = """
[loggers]
keys=root
[handlers]
keys=loghog
[formatters]
keys=simple
[logger_root]
level=INFO
handlers=loghog
[handler_loghog]
class=loghog.LoghogHandler
args=("app", "127.0.0.1", %d)
formatter=simple
[formatter_simple]
format=%%(levelname)s - %%(message)s
"""

DJANGO = """
import logging, sys
import django
from django.conf import settings

settings.configure(
    LOGGING={
        "version": 1,
        "disable_existing_loggers": True,
        "formatters": {"simple": {"format": "%(levelname)s - %(message)s"}},
        "handlers": {"root": {
            "level": "DEBUG",
            "class": "loghog.LoghogHandler",
            "app_name": "my-first-app",
            "port": int(sys.argv[1]),
            "formatter": "simple",
        }},
        "loggers": {
            "django": {"handlers": ["root"], "propagate": False, "level": "INFO"},
            "django.request": {"handlers": ["root"], "propagate": False, "level": "INFO"},
        },
    },
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF="__main__",
    SECRET_KEY="x",
)
django.setup()

from django.http import HttpResponse
from django.test import RequestFactory
from django.core.handlers.wsgi import WSGIHandler
from django.urls import path

def view(request):
    logging.getLogger("django").info("Hello world")
    raise RuntimeError("broken view")

urlpatterns = [path("", view)]
application = WSGIHandler()
status = []
application(RequestFactory().get("/").environ, lambda code, headers: status.append(code))
print(status)
"""


def test_dict_config(server):
    succeeded(program(DICT_CONFIG, server.port))
    (received,) = server.wait_for(1)
    assert received["body"] == "WARNING - hello world"
    assert received["module"] == "web"


def test_file_config(server, tmp_path):
    (tmp_path / "logging.ini").write_text(FILE_CONFIG % server.port)
    succeeded(
        program(
            """
            import logging.config, sys
            logging.config.fileConfig(sys.argv[1])
            logging.getLogger("web").warning("hello")
            """,
            tmp_path / "logging.ini",
        )
    )
    assert server.wait_for(1)[0]["body"] == "WARNING - hello"


def test_django(server):
    pytest.importorskip("django")
    done = succeeded(program(DJANGO, server.port))
    assert "500" in done.stdout, done.stdout + done.stderr
    received = server.wait_for(2)
    assert received[0]["body"] == "INFO - Hello world"
    assert received[0]["app_id"] == "my-first-app"
    assert received[1]["module"] == "django.request"
    assert "RuntimeError: broken view" in received[1]["body"]


def test_configuring_again_closes_the_handlers_before(server):
    succeeded(
        program(
            DICT_CONFIG
            + """
first = logging.getLogger().handlers[0]
logging.config.dictConfig({"version": 1})
logging.getLogger("web").warning("nowhere")
assert first.stats()["written"] == 1 and first.stats()["queued"] == 0
""",
            server.port,
        )
    )
    assert len(server.wait_for(1)) == 1


def test_a_mistake_in_the_configuration_is_named():
    with pytest.raises(ValueError, match="loghog") as caught:
        logging.config.dictConfig(
            {
                "version": 1,
                "handlers": {
                    "loghog": {
                        "class": "loghog.LoghogHandler",
                        "app_name": "app",
                        "ssl_info": {"pemfile": "x", "ca_cert": "x"},
                    }
                },
            }
        )
    assert "ca_cert" in str(caught.value.__cause__)


def test_it_is_a_handler_like_others():
    assert issubclass(LoghogHandler, logging.Handler)
    handler = LoghogHandler("app", max_buffer_size=5)
    assert repr(handler) == "<LoghogHandler (NOTSET)>"
    handler.close()
