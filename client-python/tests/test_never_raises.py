"""Whatever is logged, the program goes on and the next message arrives."""

import logging
import signal

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
def test_a_message_that_cannot_be_formatted_is_counted(place, capfd, message, arguments):
    logger = place.logger()
    logger.info(message, *arguments)
    logger.info("next")
    assert place.bodies(1) == ["next"]
    stats = logger.handlers[0].stats()
    assert (stats["dropped_unformattable"], stats["enqueued"]) == (1, 2)
    assert capfd.readouterr() == ("", ""), "silent, as the original was"


def test_an_extra_that_no_formatter_can_write_is_counted(place):
    logger = place.logger()
    logger.handlers[0].setFormatter(logging.Formatter("%(user)s %(message)s"))
    logger.info("a", extra={"user": Unprintable()})
    logger.info("b")
    logger.info("c", extra={"user": "ada"})
    assert place.bodies(1) == ["ada c"]
    assert logger.handlers[0].stats()["dropped_unformattable"] == 2


def test_an_extra_that_nobody_formats_does_no_harm(place):
    place.logger().info("hello", extra={"socket": object(), "self": Unprintable()})
    assert place.bodies(1) == ["hello"]


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


def test_a_value_that_logs_while_it_is_formatted(place):
    logger = place.logger()

    class Chatty:
        def __str__(self):
            logger.info("inner")
            return "outer"

    logger.info("%s", Chatty())
    assert place.bodies(2) == ["inner", "outer"]


@pytest.mark.parametrize("protocol", [1, 2])
def test_stdout_may_be_gone(nobody, logger_for, monkeypatch, protocol):
    logger = logger_for(nobody, print_debug=True, protocol=protocol)
    handler = logger.handlers[0]
    monkeypatch.setattr("sys.stdout", None)
    logger.info("%d", "text")
    logger.info("hello")
    eventually("an attempt failed", lambda: handler.stats()["failures"] >= 1)
    logger.info("hello")


def test_stdout_may_lead_back_to_the_same_logger(place, monkeypatch):
    logger = place.logger(print_debug=True)

    class Logging:
        def write(self, text):
            if text.strip():
                logger.info(text)

        def flush(self):
            pass

    monkeypatch.setattr("sys.stdout", Logging())
    logger.info("%d", "text")
    logger.info("next")
    complaint, following = place.bodies(2)
    assert complaint.startswith("loghog: a message of 'web' cannot be sent")
    assert following == "next"


def test_a_signal_may_log_in_the_middle_of_logging(place):
    logger = place.logger(max_buffer_size=100_000)
    signals = 0

    class Value:
        def __str__(self):
            # Where a signal's function may run.
            return "value"

    def log_too(*_):
        nonlocal signals
        logger.info("signal %s", Value(), extra={"value": Value()})
        signals += 1

    before = signal.signal(signal.SIGALRM, log_too)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        logged = 0
        while signals < 100:
            logger.info("plain %s", Value(), extra={"value": Value()})
            logged += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    logger.info("last")
    texts = place.bodies(logged + signals + 1)
    assert texts.count("plain value") == logged
    assert texts.count("signal value") == signals


def test_an_error_that_cannot_be_printed_does_no_harm(place, capfd):
    class Broken(Exception):
        __repr__ = Unprintable.__str__

    class Breaking:
        def __str__(self):
            raise Broken

    logger = place.logger(print_debug=True)
    logger.info("%s", Breaking())
    logger.info("next")
    assert place.bodies(1) == ["next"]
    assert "a message cannot be sent" in capfd.readouterr().out


@pytest.mark.parametrize("protocol", [1, 2])
def test_a_server_that_does_not_read_blocks_nobody(logger_for, protocol):
    with Server(read=False) as server:
        logger = logger_for(server, max_buffer_size=5, protocol=protocol)
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
