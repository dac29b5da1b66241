"""The wheel's types, as a program's own check sees them."""

import subprocess
import sys

import pytest

SAMPLE = """
import contextvars
import logging
from pathlib import Path
from loghog import LoghogHandler, SslInfo, Stats

files: SslInfo = {"pemfile": Path("web.pem"), "cacert": "ca.cert", "check_hostname": False}
handler: logging.Handler = LoghogHandler("app")
other = LoghogHandler(
    "app", host="logs", port=5577, stream=True, secret=b"s", compression=True,
    hostname=None, ssl_info=files, max_buffer_size=10, print_debug=True,
)
spooled = LoghogHandler(
    "app", protocol="auto", spool_dir=Path("spool"), spool_bytes=1 << 26,
    hosts=["logs1", "logs2:5566"], fields={"region": "eu", "tags": [1]}, compression="zstd",
)
asking = LoghogHandler("app", protocol=2, fields=lambda: {"request": 7})
request = contextvars.ContextVar[int]("request")
everything = LoghogHandler(
    "app", "localhost", 5566, True, "secret", "zlib", "web01", None, 1024, False,
    protocol=2, spool_dir="spool", spool_bytes=1 << 26, hosts=("logs1",),
    fields={"request": request, "version": "1.2"}, level_field="severity",
)
stats: Stats = other.stats()
acknowledged: int = stats["acknowledged"] + stats["dropped_spool_full"]
lost: int = stats["dropped_queue_full"] + stats["dropped_unformattable"]
done: bool = other.flush(timeout=1.5)
logging.getLogger().addHandler(other)
other.close()
"""

WRONG = """
from loghog import LoghogHandler
LoghogHandler(5)
LoghogHandler("app", port="5566")
LoghogHandler("app").stats()["lost"]
LoghogHandler("app", protocol=3)
LoghogHandler("app", compression="lz4")
LoghogHandler("app", fields=["region"])
LoghogHandler("app", level_field=20)
"""


def mypy(path):
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=path.parent,
    )


def test_a_strict_check_passes_and_mistakes_are_found(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "sample.py").write_text(SAMPLE)
    right = mypy(tmp_path / "sample.py")
    assert right.returncode == 0, right.stdout
    (tmp_path / "wrong.py").write_text(WRONG)
    assert "Found 7 errors" in mypy(tmp_path / "wrong.py").stdout
