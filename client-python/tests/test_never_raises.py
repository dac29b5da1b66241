"""Whatever is logged, the program goes on and the next message arrives."""

import logging

import pytest
from harness import Server, Unprintable, eventually, signature


class Endless:
    def __str__(self):
        return str(self)


class Greedy:
    def __str__(self):
        raise MemoryError


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("%d", ("text",)),
        ("%s %s", ("one",)),
        ("%(name)s", ({"other": 1},)),
        ("%s", (Unprintable(),)),
        (Unprintable(), ()),
        ("%s", (Endless(),)),
        ("%s", (Greedy(),)),
    ],
)
def test_a_message_that_cannot_be_formatted_is_counted(
    server, logger_for, capfd, message, arguments
):
    logger = logger_for(server)
    logger.info(message, *arguments)
    logger.info("next")
    assert [m["body"] for m in server.wait_for(1)] == ["next"]
    stats = logger.handlers[0].stats()
    assert (stats["dropped_unformattable"], stats["enqueued"]) == (1, 2)
    assert capfd.readouterr() == ("", ""), "silent, as the original was"


def test_an_extra_that_no_formatter_can_write_is_counted(server, logger_for):
    logger = logger_for(server)
    logger.handlers[0].setFormatter(logging.Formatter("%(user)s %(message)s"))
    logger.info("a", extra={"user": Unprintable()})
    logger.info("b")
    logger.info("c", extra={"user": "ada"})
    assert [m["body"] for m in server.wait_for(1)] == ["ada c"]
    assert logger.handlers[0].stats()["dropped_unformattable"] == 2


def test_an_extra_that_nobody_formats_does_no_harm(server, logger_for):
    logger_for(server).info("hello", extra={"socket": object(), "self": Unprintable()})
    server.wait_for(1)


@pytest.mark.parametrize("attribute", ["name", "created", "msecs", "process", "msg"])
@pytest.mark.parametrize("value", [None, "text", object(), Unprintable(), [], 10**400])
def test_a_record_with_anything_in_it_never_raises(server, logger_for, attribute, value):
    logger = logger_for(server)
    record = logging.makeLogRecord({"name": "web", "msg": "odd"})
    setattr(record, attribute, value)
    logger.handlers[0].handle(record)
    logger.info("next")
    server.wait_until(lambda received: received and received[-1]["body"] == "next")


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("lone \udc80 end", "lone \ufffd end"),
        ("\ud800\ud800", "\ufffd\ufffd"),
        ("\udc00\ud800", "\ufffd\ufffd"),
        ("pair \ud83d\ude00", "pair \U0001f600"),
        ("\udcff\U0001f600é", "\ufffd\U0001f600é"),
    ],
)
def test_surrogates_become_what_the_daemon_makes_of_them(server, logger_for, text, mended):
    logger = logger_for(server, name=f"web.{text}", hostname=text, app_name=text, secret="s")
    logger.info(text)
    (received,) = server.wait_for(1)
    assert received["body"] == received["hostname"] == received["app_id"] == mended
    assert received["module"] == f"web.{mended}"
    assert received["signature"] == signature(b"s", received)


def test_a_traceback_is_part_of_the_body(server, logger_for):
    logger = logger_for(server)
    try:
        raise KeyError("missing")
    except KeyError:
        logger.exception("it failed")
    (received,) = server.wait_for(1)
    assert received["body"].startswith("it failed\nTraceback (most recent call last):\n")
    assert received["body"].endswith("KeyError: 'missing'")


def test_a_value_that_logs_while_it_is_formatted(server, logger_for):
    logger = logger_for(server)

    class Chatty:
        def __str__(self):
            logger.info("inner")
            return "outer"

    logger.info("%s", Chatty())
    assert [m["body"] for m in server.wait_for(2)] == ["inner", "outer"]


def test_stdout_may_be_gone(nobody, logger_for, monkeypatch):
    logger = logger_for(nobody, print_debug=True)
    handler = logger.handlers[0]
    monkeypatch.setattr("sys.stdout", None)
    logger.info("%d", "text")
    logger.info("hello")
    eventually("an attempt failed", lambda: handler.stats()["failures"] >= 1)
    logger.info("hello")


def test_an_error_that_cannot_be_printed_does_no_harm(server, logger_for, capfd):
    class Broken(Exception):
        __repr__ = Unprintable.__str__

    class Breaking:
        def __str__(self):
            raise Broken

    logger = logger_for(server, print_debug=True)
    logger.info("%s", Breaking())
    logger.info("next")
    assert [m["body"] for m in server.wait_for(1)] == ["next"]
    assert "a message cannot be sent" in capfd.readouterr().out


def test_a_server_that_does_not_read_blocks_nobody(logger_for):
    with Server(read=False) as server:
        logger = logger_for(server, max_buffer_size=5)
        handler = logger.handlers[0]
        body = "x" * 100_000
        # The kernel's buffers take a few megabytes, the queue 16 more.
        while handler.stats()["dropped_queue_full"] == 0:
            logger.info(body)
        assert not handler.flush(0.2)
        handler.flush_timeout = 0.2
        handler.close()
        eventually("the rest is counted", lambda: handler.stats()["queued"] == 0)
        assert handler.stats()["dropped_closed"] > 0
