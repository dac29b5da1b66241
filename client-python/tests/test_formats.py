"""The native client stands in for Python's formatters: whatever it does, the
text is theirs, and who has put something of his own in the way is asked."""

import copy
import logging
import os
import random
import threading

import pytest
from harness import bodies, flushed

from loghog import LoghogHandler
from loghog.formats import template_of

QUICK = [
    None,
    "%(message)s",
    "%(levelname)s - %(message)s",
    "[%(name)s] %(threadName)s: %(message)s (%(message)s)",
    "no message",
    "%(funcName)s %(user)s %(message)s",
]
SLOW = [
    "%(asctime)s %(message)s",
    "%(message)s:%(lineno)d",
    "%(levelname)-8s %(message)s",
    "100%% %(message)s",
    "%(a(b)c)s %(message)s",
    "%(message)r",
]
TEXTS = [
    ("plain", ()),
    ("100 %", ()),
    ("%s took %.3f ms of %d", ("wörld", 1.25, 7)),
    ("%(who)s", ({"who": "ada"},)),
    ("%s", (None,)),
    ("two\nlines \x00 \ud800 %s", ("\udc00 \U0001f600",)),
    (7, ()),
    (ValueError("an exception as a message"), ()),
    ("%d", ("not a number",)),
    ("%s %s", ("too few",)),
    ("", ()),
]


class ByItself(LoghogHandler):
    """Formats as logging does, whatever the native client could do."""

    def format(self, record):
        return super().format(record)

# What both protocols' lines tell of a record.
TOLD = [
    *("module", "stamp", "nsecs", "body"),
    *("logger", "sent", "level", "message", "thread", "process", "fields", "exception"),
]


def anything(chance):
    """A record with something of everything."""
    text, arguments = chance.choice(TEXTS)
    name = chance.choice(["web", "web.ünï", ""])
    level = chance.choice([10, 20, 25, 40])
    record = logging.LogRecord(name, level, __file__, 1, text, arguments, None, "f")
    record.created, record.msecs = 1_795_176_000.25, 250.0
    for key, value in [("user", "ada"), ("user", 7), ("tags", [1]), ("message", "older")]:
        if chance.random() < 0.3:
            setattr(record, key, value)
    if chance.random() < 0.2:
        record.exc_info = (ValueError, ValueError("oh"), None)
    if chance.random() < 0.1:
        record.exc_text = "an older traceback"
    if chance.random() < 0.1:
        record.stack_info = "Stack (most recent call last):"
    if chance.random() < 0.2:
        record.threadName = chance.choice([None, 0, ""])
    if chance.random() < 0.2:
        # As many attributes as before, and another one among them.
        del record.lineno
        record.host = "ada"
    return record


def formatter_of(text):
    return None if text is None else logging.Formatter(text, validate=False)


@pytest.mark.parametrize("text", QUICK)
def test_a_format_that_only_puts_texts_together_is_read(text):
    assert template_of(formatter_of(text)) is not None


@pytest.mark.parametrize("text", SLOW)
def test_every_other_format_is_left_to_the_formatter(text):
    assert template_of(formatter_of(text)) is None


def test_a_formatter_with_anything_of_its_own_is_left_alone(monkeypatch):
    class Own(logging.Formatter):
        pass

    assert template_of(Own()) is None
    assert template_of(logging.Formatter("{message}", style="{")) is None
    assert template_of(logging.Formatter("$message", style="$")) is None
    patched = logging.Formatter()
    patched.format = str
    assert template_of(patched) is None
    monkeypatch.setattr(logging.LogRecord, "getMessage", lambda record: "other")
    assert template_of(logging.Formatter()) is None


@pytest.mark.parametrize("protocol", [1, 2])
def test_texts_and_fields_are_those_that_logging_makes(protocol, request):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random()
    arrived = request.getfixturevalue("server" if protocol == 1 else "daemon")
    seen = {}
    for kind in (LoghogHandler, ByItself):
        chance.seed(seed)
        before = len(arrived.received() if protocol == 1 else arrived.lines())
        handler = kind("app", arrived.host, arrived.port, protocol=protocol)
        for _ in range(400):
            handler.setFormatter(formatter_of(chance.choice(QUICK + SLOW)))
            handler.handle(anything(chance))
        assert handler.flush()
        lost = handler.stats()["dropped_unformattable"]
        handler.close()
        got = arrived.wait_for(before + 400 - lost)[before:]
        seen[kind] = [{key: line.get(key) for key in TOLD} for line in got]
        assert lost > 0 and len(got) + lost == 400
    assert seen[LoghogHandler] == seen[ByItself]


def test_names_are_those_of_the_moment_however_many_there_are(daemon, logger_for):
    """The first few are remembered. Each one comes twice, then one that is equal."""
    logger = logger_for(daemon, protocol=2)
    logger.handlers[0].setFormatter(logging.Formatter("%(levelname)s %(name)s"))
    endings = [*map(str, range(20)), "ünï", "\ud800", "x" * 200, ""]
    told = []
    for _ in range(2):
        for ending in endings:
            record = logging.LogRecord("".join(["web", ending]), 20, __file__, 1, "", (), None)
            record.threadName, record.levelname = "".join(["t", ending]), "".join(["l", ending])
            for _ in range(2):
                logger.handle(record)
                told.append((record.name, record.threadName, f"{record.levelname} {record.name}"))
    flushed(logger)
    expected = [tuple(text.replace("\ud800", "\ufffd") for text in texts) for texts in told]
    seen = [(line["logger"], line["thread"], line["message"]) for line in daemon.lines()]
    assert seen == expected


def test_the_formatter_of_the_moment_counts(server, logger_for):
    logger = logger_for(server)
    (handler,) = logger.handlers
    logger.info("1")
    formatter = logging.Formatter("a %(message)s")
    handler.setFormatter(formatter)
    logger.info("2")
    formatter._style._fmt = "b %(message)s"
    logger.info("3")
    handler.setFormatter(logging.Formatter("c %(message)s"))
    logger.info("4")
    handler.formatter._style = logging.StrFormatStyle("d {message}")
    logger.info("5")
    handler.formatter.format = lambda record: "e"
    logger.info("6")
    handler.setFormatter(None)
    logger.info("7")
    handler.format = lambda record: "f"
    logger.info("8")
    expected = ["1", "a 2", "b 3", "c 4", "d 5", "e", "7", "f"]
    assert bodies(server.wait_for(8)) == expected


def test_a_filter_put_into_one_handler_is_asked(server, logger_for):
    logger = logger_for(server)
    logger.info("1")
    logger.handlers[0].filter = lambda record: record.getMessage() != "2"
    for text in ("2", "3"):
        logger.info(text)
    assert bodies(server.wait_for(2)) == ["1", "3"]


def test_a_record_is_left_as_a_formatter_leaves_it(server, logger_for):
    (handler,) = logger_for(server).handlers
    record = logging.LogRecord("web", 20, __file__, 1, "hello %s", ("ada",), None)
    expected = copy.copy(record)
    logging.Formatter().format(expected)
    handler.handle(record)
    assert record.__dict__ == expected.__dict__


def test_filters_and_methods_of_others_are_asked(server, logger_for, monkeypatch):
    logger = logger_for(server)
    (handler,) = logger.handlers
    handler.addFilter(lambda record: "secret" not in record.getMessage())
    logger.info("a secret")
    logger.info("no such thing")

    class Own(LoghogHandler):
        def filter(self, record):
            return record.levelno > 20

        def emit(self, record):
            record.msg = f"own {record.msg}"
            super().emit(record)

    own = Own("app", server.host, server.port)
    own.handle(logging.LogRecord("web", 20, __file__, 1, "filtered", (), None))
    own.handle(logging.LogRecord("web", 30, __file__, 1, "warning", (), None))
    own.close()
    got = []
    monkeypatch.setattr(LoghogHandler, "emit", lambda handler, record: got.append(record.msg))
    logger.info("for a test")
    assert got == ["for a test"]
    assert sorted(bodies(server.wait_for(2))) == ["no such thing", "own warning"]


def test_a_formatter_of_ones_own_is_called_one_at_a_time(server, logger_for):
    class Counting(logging.Formatter):
        inside = most = 0

        def format(self, record):
            Counting.inside += 1
            Counting.most = max(Counting.most, Counting.inside)
            os.sched_yield()
            Counting.inside -= 1
            return super().format(record)

    logger = logger_for(server)
    logger.handlers[0].setFormatter(Counting())
    threads = [
        threading.Thread(target=lambda: [logger.info("x") for _ in range(300)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    flushed(logger)
    assert (Counting.most, len(server.wait_for(1200))) == (1, 1200)
