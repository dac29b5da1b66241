"""What is known of a message beside its text arrives beside it: `extra`, the
stack, contextvars, the level's name, and what holds for all messages."""

import asyncio
import contextvars
import datetime
import logging
import sys
import threading

import pytest
from harness import Unprintable, flushed, program, succeeded

from loghog import LoghogHandler

REQUEST = contextvars.ContextVar("request")


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (None, None),
        (True, True),
        (-5, -5),
        (2**63 - 1, 2**63 - 1),
        (2**63, 2**63),
        (0.5, 0.5),
        (float("nan"), "NaN"),
        ("ünï", "ünï"),
        ("lone \udc80", "lone \ufffd"),
        ([1, "ü", None], [1, "ü", None]),
        ((1, 2), [1, 2]),
        ({"a": {"b": [True]}}, {"a": {"b": [True]}}),
        ({"when": datetime.date(2026, 11, 20)}, {"when": "2026-11-20"}),
        (datetime.date(2026, 11, 20), "2026-11-20"),
        ([float("nan")], "[nan]"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (b"bytes", "b'bytes'"),
        (Unprintable(), "(a value that cannot be shown)"),
        ([Unprintable()], ["(a value that cannot be shown)"]),
        ("x" * 100_000, "x" * 65_536),
        (["x" * 100_000], '["' + "x" * 65_534),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_extra_arrives_as_what_it_is_or_as_text(daemon, logger_for, value, arrives):
    logger = logger_for(daemon, protocol=2)
    logger.info("hello", extra={"value": value})
    flushed(logger)
    (line,) = daemon.lines()
    assert line["fields"] == {"value": arrives}


def test_odd_extras_cost_neither_the_message_nor_the_program(daemon, logger_for):
    cycle = []
    cycle.append(cycle)
    logger = logger_for(daemon, protocol=2)
    logger.info("cycle", extra={"cycle": cycle, "number": 10**5_000})
    logger.info("many", extra={f"key {n}": n for n in range(1_000)})
    logger.info("large", extra={f"key {n}": "x" * 60_000 for n in range(100)})
    stats = flushed(logger)
    cycle, many, large = daemon.lines()
    assert cycle["fields"]["cycle"] == "[[...]]"
    assert len(many["fields"]) == 256
    assert len(large["fields"]) == 4
    assert stats["dropped_unformattable"] == stats["dropped_too_large"] == 0


def test_constant_fields_are_in_each_message_and_extras_come_first(daemon, logger_for):
    logger = logger_for(daemon, fields={"version": "1.2", "region": "eu"})
    logger.info("one")
    logger.info("two", extra={"region": "us"})
    flushed(logger)
    one, two = daemon.lines()
    assert one["fields"] == {"version": "1.2", "region": "eu"}
    assert two["fields"] == {"version": "1.2", "region": "us"}


def test_fields_may_be_asked_for_with_each_message(daemon, logger_for):
    request = contextvars.ContextVar("request", default=None)
    logger = logger_for(daemon, fields=lambda: {"request": request.get()})

    def serve(number):
        request.set(number)
        logger.info("%d", number)

    for number in range(3):
        contextvars.copy_context().run(serve, number)
    flushed(logger)
    assert [line["fields"]["request"] for line in daemon.lines()] == [0, 1, 2]


def test_what_a_record_factory_adds_is_a_field(daemon):
    succeeded(
        program(
            """
            import logging, sys
            plain = logging.getLogRecordFactory()
            def factory(*arguments, **more):
                record = plain(*arguments, **more)
                record.request = 7
                return record
            logging.setLogRecordFactory(factory)
            from loghog import LoghogHandler
            handler = LoghogHandler("app", "127.0.0.1", int(sys.argv[1]), protocol=2)
            handler.handle(logging.getLogger("web").makeRecord("web", 20, "", 0, "hello", (), None))
            """,
            daemon.port,
        )
    )
    (line,) = daemon.wait_for(1)
    assert line["fields"] == {"request": 7}


@pytest.mark.parametrize("formatted_before", [False, True])
def test_an_attribute_in_anothers_place_is_a_field(daemon, logger_for, formatted_before):
    """As many attributes as ever, and the last one is the one that is last in
    each record: that one alone says nothing."""
    logger = logger_for(daemon, protocol=2)
    record = logging.LogRecord("web", 20, __file__, 1, "hello", (), None)
    plain = logging.LogRecord("web", 20, __file__, 1, "plain", (), None)
    if formatted_before:
        for each in (record, plain):
            logging.Formatter("%(asctime)s %(message)s").format(each)
    last, value = list(logging.makeLogRecord({}).__dict__.items())[-1]
    del record.lineno, record.__dict__[last]
    record.host = "ada"
    setattr(record, last, value)
    for each in (record, plain):
        logger.handle(each)
    flushed(logger)
    hello, unchanged = daemon.lines()
    assert hello["fields"] == {"host": "ada"}
    assert "fields" not in unchanged


def test_a_question_for_fields_that_fails_or_logs_costs_no_message(daemon, logger_for):
    def ask():
        logger.info("asked")
        raise LookupError("no request")

    logger = logger_for(daemon, fields=ask)
    logger.info("hello")
    flushed(logger)
    inner, outer = daemon.lines()
    assert (inner["message"], "fields" in inner) == ("asked", False)
    assert (outer["message"], outer["fields"]) == ("hello", {"fields_error": "no request"})


def test_a_contextvar_stands_for_what_it_holds_where_the_message_is_logged(daemon, logger_for):
    user = contextvars.ContextVar("user", default="nobody")
    logger = logger_for(daemon, fields={"request": REQUEST, "user": user, "version": "1.2"})

    async def serve(number):
        REQUEST.set(number)
        await asyncio.sleep(0)
        logger.info("task %d", number)

    async def serve_all():
        await asyncio.gather(*(serve(number) for number in range(20)))
        user.set("ada")
        await asyncio.get_running_loop().run_in_executor(None, logger.info, "elsewhere")
        logger.info("unset")

    asyncio.run(serve_all())
    flushed(logger)
    *tasks, elsewhere, unset = daemon.lines()
    for line in tasks:
        number = int(line["message"].split()[1])
        assert line["fields"] == {"request": number, "user": "nobody", "version": "1.2"}
    # A thread of the free-threaded Python begins with the context of the one that starts it.
    others = "ada" if getattr(sys.flags, "thread_inherit_context", 0) else "nobody"
    assert elsewhere["fields"] == {"user": others, "version": "1.2"}, "another thread's context"
    assert unset["fields"] == {"user": "ada", "version": "1.2"}


def test_dict_config_may_name_a_contextvar(daemon):
    succeeded(
        program(
            """
            import contextvars, logging.config, sys
            request = contextvars.ContextVar("request")
            logging.config.dictConfig({
                "version": 1,
                "handlers": {"loghog": {
                    "class": "loghog.LoghogHandler",
                    "app_name": "app",
                    "host": "127.0.0.1",
                    "port": int(sys.argv[1]),
                    "fields": {"version": "1.2", "request": "ext://__main__.request"},
                    "level_field": "severity",
                }},
                "root": {"handlers": ["loghog"]},
            })
            logging.warning("outside")
            request.set(7)
            logging.warning("inside")
            """,
            daemon.port,
        )
    )
    outside, inside = daemon.wait_for(2)
    assert outside["fields"] == {"version": "1.2", "severity": "WARNING"}
    assert inside["fields"] == {"version": "1.2", "request": 7, "severity": "WARNING"}


def test_the_stack_is_a_field_and_stays_in_the_text(daemon, logger_for):
    logger = logger_for(daemon, protocol=2)
    logger.warning("here", stack_info=True)
    try:
        raise KeyError("missing")
    except KeyError:
        logger.exception("both", stack_info=True)
    flushed(logger)
    here, both = daemon.lines()
    for line in (here, both):
        stack = line["fields"]["stack_info"]
        assert stack.startswith("Stack (most recent call last):\n")
        assert "test_the_stack_is_a_field" in stack
    assert here["message"] == "here\n" + here["fields"]["stack_info"]
    assert both["message"].rstrip("\n") == "both"
    assert both["exception"].startswith("Traceback (most recent call last):\n")
    assert both["exception"].endswith("'missing'\n" + both["fields"]["stack_info"])


def test_the_levels_name_may_be_a_field(daemon, logger_for):
    logging.addLevelName(25, "NOTICE")
    try:
        logger = logger_for(daemon, level_field="severity", fields={"severity": "fixed"})
        logger.log(25, "own level")
        logger.log(26, "no name")
        logger.error("named in extra", extra={"severity": "page somebody"})
        flushed(logger)
    finally:
        logging._levelToName.pop(25)
        logging._nameToLevel.pop("NOTICE")
    assert [line["fields"]["severity"] for line in daemon.lines()] == [
        *("NOTICE", "Level 26", "page somebody")
    ]


def test_a_level_field_of_no_name_is_none(daemon, logger_for):
    logger = logger_for(daemon, protocol=2, level_field="")
    logger.info("hello")
    flushed(logger)
    assert "fields" not in daemon.lines()[0]


def test_a_field_that_logs_through_the_same_logger(daemon, logger_for):
    logger = logger_for(daemon, protocol=2)

    class Chatty:
        def __str__(self):
            logger.info("inner")
            return "shown"

    logger.info("outer", extra={"value": Chatty(), "values": [Chatty()]})
    flushed(logger)
    first, second, outer = daemon.lines()
    assert first["message"] == second["message"] == "inner"
    assert outer["fields"] == {"value": "shown", "values": ["shown"]}


def test_a_field_that_logs_itself_without_end_ends(daemon, logger_for):
    logger = logger_for(daemon, protocol=2)

    class Endless:
        def __str__(self):
            logger.info("inner", extra={"value": self})
            return "shown"

    logger.info("outer", extra={"value": Endless()})
    logger.info("next")
    stats = flushed(logger)
    messages = daemon.messages()
    assert messages[-1] == "next" and set(messages) <= {"inner", "outer", "next"}
    # The innermost found no room on the stack; it is counted like any other.
    assert stats["enqueued"] == len(messages) + stats["dropped_unformattable"]


def test_threads_ask_for_fields_each_for_itself(daemon, logger_for):
    """What one thread's question logs is not asked for again; another thread's
    message meanwhile is. `emit` is called as it is by handlers that pass records
    on, without the handler's lock."""
    asking, go_on = threading.Event(), threading.Event()

    def ask():
        if threading.current_thread() is slow:
            asking.set()
            go_on.wait()
        return {"asked": True}

    handler = logger_for(daemon, fields=ask).handlers[0]
    slow = threading.Thread(target=handler.emit, args=(logging.makeLogRecord({"msg": "slow"}),))
    slow.start()
    asking.wait()
    handler.emit(logging.makeLogRecord({"msg": "fast"}))
    go_on.set()
    slow.join()
    daemon.wait_for(2)
    assert {line["message"]: line["fields"]["asked"] for line in daemon.lines()} == {
        **{"slow": True, "fast": True}
    }


def test_a_fork_in_the_middle_of_a_question_asks_on_in_the_child(daemon):
    succeeded(
        program(
            """
            import logging, os, sys, threading
            from loghog import LoghogHandler

            asking, go_on = threading.Event(), threading.Event()

            def ask():
                if threading.current_thread() is not threading.main_thread():
                    asking.set()
                    go_on.wait()
                return {"process": os.getpid()}

            handler = LoghogHandler("app", "127.0.0.1", int(sys.argv[1]), protocol=2, fields=ask)
            logger = logging.getLogger("web")
            logger.addHandler(handler)
            slow = threading.Thread(target=logger.warning, args=("parent",))
            slow.start()
            asking.wait()
            pid = os.fork()
            if pid == 0:
                logger.warning("child")
                os._exit(0 if handler.flush(30) else 1)
            go_on.set()
            slow.join()
            assert os.waitpid(pid, 0)[1] == 0
            """,
            daemon.port,
        )
    )
    lines = daemon.wait_for(2)
    assert sorted(line["message"] for line in lines) == ["child", "parent"]
    assert all(line["fields"]["process"] == line["process"] for line in lines)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"fields": 5}, TypeError),
        ({"level_field": 5}, TypeError),
        ({"fields": {"a": 1}, "stream": False}, ValueError),
        ({"level_field": "severity", "stream": False}, ValueError),
        ({"level_field": "severity", "protocol": 1}, ValueError),
    ],
)
def test_fields_that_cannot_be_are_refused(arguments, error):
    with pytest.raises(error):
        LoghogHandler("app", **arguments)
