"""What is known of a message beside its text: the fields of protocol 2.

Plain values travel as they are, containers as JSON, everything else as what
`str()` makes of it. Nothing in here raises, whatever the values do.
"""

from __future__ import annotations

import json
import logging
import threading
from contextvars import ContextVar
from typing import Any, Callable, Final, Mapping, Optional, Union

Value = Union[None, bool, int, float, str, bytes]
"""bytes are JSON in UTF-8."""

FieldSource = Union[Mapping[str, object], Callable[[], Mapping[str, object]]]

# What each LogRecord has, and what formatting adds; the rest comes from `extra`,
# or from a factory of the program's own. What of these is not in the record of
# the protocol but in its text alone is a field as well: `stack_info`.
_PLAIN: Final = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {
    *("message", "asctime", "taskName"),
}

_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1

_UNSHOWABLE: Final = "(a value that cannot be shown)"


class _Asking(threading.local):
    """Whether this thread is asking. Of another thread nobody could say after a
    fork."""

    now = False


class Fields:
    """The fields that each message of a handler gets."""

    def __init__(
        self, source: Optional[FieldSource] = None, level_field: Optional[str] = None
    ) -> None:
        self._ask: Optional[Callable[[], Mapping[str, object]]] = None
        self._constant: dict[str, Value] = {}
        self._variables: list[tuple[str, ContextVar[Any]]] = []
        self._level_field = level_field
        self._asking = _Asking()
        if level_field is not None and not isinstance(level_field, str):
            raise TypeError(f"level_field must be a str, not {type(level_field).__name__}")
        if callable(source):
            self._ask = source
        elif isinstance(source, Mapping):
            # One by one: dictConfig resolves cfg:// and ext:// when a key is
            # asked for.
            for key in source:
                self._add_constant(key, source[key])
        elif source is not None:
            raise TypeError(f"fields must be a dict or a callable, not {type(source).__name__}")

    @property
    def has_own(self) -> bool:
        """Whether a message gets any that it does not bring along."""
        return bool(
            self._constant or self._variables or self._ask is not None or self._level_field
        )

    def of(self, record: logging.LogRecord) -> dict[str, Value]:
        """Those that hold for all, then those of the moment, then the record's
        own; the last value of a key counts."""
        fields = self.without_extra(record)
        # A copy: another thread may have the record too.
        for key, value in record.__dict__.copy().items():
            if key not in _PLAIN:
                fields[key] = as_value(value)
        return fields

    def without_extra(self, record: logging.LogRecord) -> dict[str, Value]:
        """The same of a record to which nobody has added anything."""
        fields = dict(self._constant)
        for key, variable in self._variables:
            try:
                fields[key] = as_value(variable.get())
            except LookupError:
                # Not set, here and now.
                pass
        if self._ask is not None:
            self._add_asked(fields, self._ask)
        if self._level_field:
            fields[self._level_field] = as_value(record.levelname)
        if record.stack_info:
            fields["stack_info"] = as_value(record.stack_info)
        return fields

    def _add_constant(self, key: str, value: object) -> None:
        if isinstance(value, ContextVar):
            self._variables.append((key, value))
        else:
            self._constant[key] = as_value(value)

    def _add_asked(
        self, fields: dict[str, Value], ask: Callable[[], Mapping[str, object]]
    ) -> None:
        # What it logs itself would ask it again, without end.
        if self._asking.now:
            return
        self._asking.now = True
        try:
            asked = ask()
            for key in asked:
                fields[key] = as_value(asked[key])
        except Exception as error:
            # The message counts more than what is known beside it.
            fields["fields_error"] = _shown(error)
        finally:
            self._asking.now = False


def as_value(value: object) -> Value:
    if value is None or isinstance(value, (bool, float, str)):
        return value
    if isinstance(value, int):
        return value if _INT_MIN <= value <= _INT_MAX else _as_json(value)
    if isinstance(value, (dict, list, tuple)):
        return _as_json(value)
    return _shown(value)


def _as_json(value: object) -> Value:
    try:
        text = json.dumps(value, default=_shown, ensure_ascii=False, allow_nan=False)
        # Lone surrogates have no UTF-8.
        return text.encode("utf-8", "replace")
    except Exception:
        # A cycle, a NaN, a key that JSON does not have.
        return _shown(value)


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return _UNSHOWABLE
