"""Whatever is logged, in whatever format: the text that arrives is the one that
logging's own formatter makes, and what cannot be formatted is counted."""

import copy
import logging
import random
import sys
import time

import pytest
from harness import bodies

from loghog import LoghogHandler

CASES = 3000

NAMES = ["web", "web.ünï", "", "a\ud83d"]
TEXTS = [
    *("plain", "", "wörld \U0001f600", "two\nlines\x00", "\ud83d", "\ude00 behind", "100 %", "%"),
]


class OwnText(str):
    """A text that shows itself as another."""

    def __str__(self):
        return "shown otherwise"

    __repr__ = __str__


class OwnNumber(int):
    def __str__(self):
        return "a number of its own"


class Raising:
    def __init__(self, error):
        self.error = error

    def __str__(self):
        raise self.error

    __repr__ = __str__


class Taking(OwnText):
    """Decides itself what becomes of a text that it is put into."""

    def __rmod__(self, text):
        return self


class Empty(tuple):
    def __bool__(self):
        raise RuntimeError("neither true nor false")


class OwnRecord(logging.LogRecord):
    def getMessage(self):
        return f"<{self.msg!s}>"


class Busybody:
    """Alters the record while it is formatted into it."""

    def __init__(self, record, name, value):
        self.record, self.name, self.value = record, name, value

    def __str__(self):
        setattr(self.record, self.name, self.value)
        return "altered"

    def __repr__(self):
        return "a busybody"


def value(chance):
    if chance.random() < 0.03:
        return Raising(chance.choice([ValueError("no"), RecursionError()]))
    return chance.choice([
        *TEXTS, None, True, 0, -7, 2**70, 1.5, float("nan"), b"bytes", [1, "a"], {"k": 1}, {}, (),
        (1,), OwnText("own"), OwnNumber(3), ValueError("wörong"), object,
    ])  # fmt: skip


def conversion(chance, key=""):
    if chance.random() < 0.6:
        return f"%{key}s"
    flags = "".join(chance.sample("-+ #0", chance.choice([0, 0, 0, 1, 2])))
    width = chance.choice([*[""] * 9, *["8"] * 3, "*"])
    precision = chance.choice([*[""] * 9, *[".2", "."] * 2, ".*"])
    kind = chance.choice("s" * 20 + "rrrraadiuxXofFeEgGc%qz")
    return "%" + key + flags + width + precision + kind


def message(chance):
    """A text of a record, and its arguments."""
    kind = chance.randrange(10)
    if kind == 0:
        return value(chance), ()
    if kind == 1:
        keys = [chance.choice(["(a)", "(b)", "(a(b))", "()"]) for _ in range(2)]
        keyed = "".join(conversion(chance, key) for key in keys)
        return keyed, ({"a": value(chance), "b": value(chance), "a(b)": 1},)
    if kind == 2:
        text = chance.choice(["%s", "%s", "%s", "%d", "%", "%%", "no place", "%(a)s"])
        return text, chance.choice([
            (None,), ((1,),), ((),), ({},), ({"a": 1},), ([],), (), None, 0, 7, "text", ["a"],
            {"a": 2},
        ])  # fmt: skip
    if kind == 3:
        return "%s", chance.choice([Taking("a"), Empty(), OwnText("own"), OwnNumber(4)])
    if kind < 7:
        return chance.choice(TEXTS) + "%s %s", (value(chance), value(chance))
    count = chance.randrange(4)
    text = chance.choice(TEXTS) + " ".join(conversion(chance) for _ in range(count))
    return text, tuple(value(chance) for _ in range(chance.choice([*[count] * 9, count + 1])))


ATTRIBUTES = [
    *("message", "message", "message", "levelname", "name", "threadName", "processName"),
    *("funcName", "message", "message", "asctime", "asctime", "msecs", "lineno", "created"),
    *("user", "absent", "a.b"),
]


def percent(chance):
    if chance.random() < 0.6:
        # What the native client may do.
        keys = [f"%({chance.choice(ATTRIBUTES[:8])})s" for _ in range(3)]
        return "".join(key + chance.choice(["", "", " - ", "ü", ")s", "("]) for key in keys)
    keys = [conversion(chance, f"({chance.choice(ATTRIBUTES)})") for _ in range(2)]
    return chance.choice([*["", "100%% ", "%(message)s"] * 4, "%s", "%("]).join(["", *keys, ""])


def braces(chance):
    key = chance.choice(ATTRIBUTES)
    tail = chance.choice([*["", "!r", "!s", ":>12"] * 3, ":08.3f", ":d", ".real", "[0]"])
    return chance.choice([*["{message}", "{{}} ", ""] * 3, "{"]) + "{" + key + tail + "}"


def dollars(chance):
    keys = [chance.choice(["${%s}", "$%s"]) % chance.choice(ATTRIBUTES) for _ in range(2)]
    return chance.choice([*["$$", " ", "$message"] * 3, "$"]).join(keys)


def formatter(chance):
    style, text = chance.choice([
        *[("%", percent(chance))] * 6, ("%", None), ("{", braces(chance)), ("$", dollars(chance)),
    ])  # fmt: skip
    options = {"datefmt": chance.choice([None, None, "%H:%M:%S", "%d.%m.%Y %z ü", ""])}
    if sys.version_info >= (3, 10) and chance.random() < 0.2:
        options["defaults"] = {"user": "nobody", "absent": OwnText("x")}
    made = logging.Formatter(text, style=style, validate=False, **options)
    if chance.random() < 0.1:
        made.default_msec_format = chance.choice([None, "%s.%03d", "%s"])
    if chance.random() < 0.1:
        made.converter = time.gmtime
    return made


def raised():
    try:
        raise KeyError("a traceback \ud800 ü")
    except KeyError:
        return sys.exc_info()


def made_record(chance):
    text, arguments = message(chance)
    kind = OwnRecord if chance.random() < 0.05 else logging.LogRecord
    name, level = chance.choice(NAMES), chance.choice([0, 20, 40, 55])
    try:
        record = kind(name, level, __file__, 1, text, arguments, None, "f")
    except Exception:
        # A record cannot be made of everything.
        record = kind(name, level, __file__, 1, text, (), None, "f")
        record.args = arguments
    record.created, record.msecs = 1_795_176_000.25, 250.0
    if chance.random() < 0.3:
        for key in chance.sample(["user", "a.b", "message", "asctime", "absent"], 2):
            setattr(record, key, value(chance))
    if chance.random() < 0.2:
        key = chance.choice(["levelname", "threadName", "processName", "name"])
        setattr(record, key, value(chance))
    if chance.random() < 0.1:
        delattr(record, chance.choice(["lineno", "processName", "levelname", "msg", "args"]))
    if chance.random() < 0.15:
        record.exc_info = chance.choice([raised(), (None, None, None), (), False])
    if chance.random() < 0.1:
        record.exc_text = chance.choice(["an older traceback", "", OwnText("own")])
    if chance.random() < 0.1:
        record.stack_info = chance.choice(["Stack (most recent call last):", "", 7])
    if chance.random() < 0.02:
        record.args = (Busybody(record, "levelname", chance.choice(["NEW", 7, OwnText("own")])),)
        record.msg = "%s"
    return record


def as_sent(text):
    """What becomes of surrogates."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def logging_makes(formatter, record):
    """The text, or None; the record is left as the formatter leaves it."""
    try:
        text = formatter.format(record)
        # The name is sent as well.
        str(record.name)
        return as_sent(text)
    except Exception:
        return None


def twin(record):
    """A record like it, of which a Busybody alters that one."""
    made = copy.copy(record)
    if isinstance(made.__dict__.get("args"), tuple):
        made.args = type(made.args)(
            Busybody(made, part.name, part.value) if isinstance(part, Busybody) else part
            for part in made.args
        )
    return made


def left(record):
    """What a record holds; what is made anew for each compares by its text."""
    made = {"message", "asctime", "exc_text", "args"}
    held = {key: id(value) for key, value in record.__dict__.items() if key not in made}
    texts = {key: record.__dict__.get(key) for key in made if type(record.__dict__.get(key)) is str}
    return held, texts


def test_texts_are_those_that_logging_makes(server):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    handler = LoghogHandler("app", server.host, server.port)
    expected, lost = [], 0
    for _ in range(CASES):
        handler.setFormatter(chance.choice([None, *[formatter(chance)] * 9]))
        record = made_record(chance)
        judged = twin(record)
        text = logging_makes(handler.formatter or logging.Formatter(), judged)
        handler.handle(record)
        case = (handler.formatter and handler.formatter._style._fmt, record.__dict__)
        lost_before, lost = lost, handler.stats()["dropped_unformattable"]
        assert lost - lost_before == (text is None), (case, text)
        assert left(record) == left(judged), case
        expected += [] if text is None else [(text, case)]
    assert handler.flush()
    handler.close()
    # Enough of those that can be formatted, and of those that cannot.
    assert CASES / 3 < len(expected) < CASES * 2 / 3
    for text, (wanted, case) in zip(bodies(server.wait_for(len(expected))), expected):
        assert text == wanted, case


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        # Halves of a character, each in another text.
        ("\ude00 behind", (), "a\U0001f600 behind"),
        ("%s", Taking("a"), "a\ufffdshown otherwise"),
        ("%s", OwnText("a"), "a\ufffdshown otherwise"),
    ],
)
def test_odd_texts_are_put_together_by_python(server, logger_for, text, arguments, expected):
    (handler,) = logger_for(server).handlers
    handler.setFormatter(logging.Formatter("%(name)s%(message)s"))
    record = logging.LogRecord("a\ud83d", 20, __file__, 1, text, (), None)
    record.args = arguments
    handler.handle(record)
    assert bodies(server.wait_for(1)) == [expected]
