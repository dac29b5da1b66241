"""asyncio and uvicorn: tasks that log never wait, and each message has what the
contextvars of its task hold."""

import asyncio
import signal
import time

import pytest
from harness import eventually, flushed
from served import Served

APPLICATION = """
import asyncio, contextvars, logging, os, sys
from loghog import LoghogHandler

path = contextvars.ContextVar("path")
handler = LoghogHandler(
    "app", "127.0.0.1", int(os.environ["LOGHOG_PORT"]),
    protocol=2, spool_dir="spool", fields={"path": path},
)
logging.getLogger().addHandler(handler)
logger = logging.getLogger("web")
logger.setLevel(logging.INFO)

async def work(number):
    await asyncio.sleep(0)
    logger.info("%s part %d", path.get(), number)

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            logger.info(message["type"])
            if message["type"] == "lifespan.shutdown":
                # uvicorn ends by the signal that stopped it, without hooks.
                handler.flush()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    path.set(scope["path"])
    logger.info("%s begins", scope["path"])
    await asyncio.gather(*(work(number) for number in range(3)))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})

if __name__ == "__main__":
    import uvicorn
    uvicorn.run(application, host="127.0.0.1", port=0)
"""

# With several workers uvicorn does not say what port 0 has become.
WORKERS = """
import uvicorn

bind = uvicorn.Config.bind_socket

def bind_and_say(config):
    listener = bind(config)
    print("http://127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    return listener

if __name__ == "__main__":
    uvicorn.Config.bind_socket = bind_and_say
    uvicorn.run("application:application", host="127.0.0.1", port=0, workers=2)
"""

CLI = ("-m", "uvicorn", "application:application", "--host", "127.0.0.1", "--port", "0")


def log_from_tasks(logger, tasks, each):
    async def work(task):
        for number in range(each):
            logger.info("%d %d", task, number)
            await asyncio.sleep(0)

    async def work_all():
        await asyncio.gather(*(work(task) for task in range(tasks)))

    asyncio.run(work_all())


def test_tasks_do_not_wait_for_a_server_that_does_not_answer(swallowing, tmp_path, logger_for):
    logger = logger_for(swallowing, spool_dir=tmp_path / "spool")
    started = time.monotonic()
    log_from_tasks(logger, 100, 100)
    took = time.monotonic() - started
    # Did one in a thousand wait for one attempt to connect, it would be longer.
    assert took < 30, took
    eventually("all is kept", lambda: logger.handlers[0].stats()["spooled"] == 10_000)


def test_what_tasks_logged_while_the_server_was_away_arrives_once_in_order(
    daemon, tmp_path, logger_for
):
    daemon.stop()
    logger = logger_for(daemon, spool_dir=tmp_path / "spool")
    log_from_tasks(logger, 50, 100)
    daemon.start()
    flushed(logger)
    messages = [message.split() for message in daemon.messages()]
    assert len(messages) == 5_000
    for task in range(50):
        numbers = [int(number) for of, number in messages if of == str(task)]
        assert numbers == list(range(100))


@pytest.mark.parametrize(
    ("command", "workers", "stop"),
    [
        (CLI, 1, signal.SIGTERM),
        (("workers.py",), 2, signal.SIGTERM),
        # uvicorn.run() closes the handler: it configures logging once more.
        (("application.py",), 1, signal.SIGINT),
    ],
    ids=["command", "workers", "program"],
)
def test_requests_at_the_same_time(daemon, tmp_path, command, workers, stop):
    (tmp_path / "application.py").write_text(APPLICATION)
    (tmp_path / "workers.py").write_text(WORKERS)
    with Served(tmp_path, *command, LOGHOG_PORT=str(daemon.port)) as served:
        eventually(
            "all workers have started",
            lambda: daemon.messages().count("lifespan.startup") == workers,
        )
        eventually("one listens", lambda: served.get("/0") is not None)
        paths = [f"/{number}" for number in range(20)]
        processes = {int(served.get(path)) for path in paths[1:]}
        served.stop(stop)
    assert 1 <= len(processes) <= workers
    each = [" begins", " part 0", " part 1", " part 2"]
    expected = [path + what for path in paths for what in each]
    expected += ["lifespan.startup", "lifespan.shutdown"] * workers
    lines = daemon.wait_for(len(expected))
    assert sorted(line["message"] for line in lines) == sorted(expected)
    for line in lines:
        if "lifespan" not in line["message"]:
            assert line["fields"] == {"path": line["message"].split()[0]}
