"""Which formatters the native client can stand in for.

Most of what a message costs is Python's own formatting. A formatter of
`logging`'s own class that only puts texts together is read once; its records are
then formatted in one call. Everything else is left to the formatter.
"""

from __future__ import annotations

import logging
from types import FunctionType
from typing import Final, Optional

from ._loghog import Template

# What a formatter of `logging` has; more is somebody's own.
_ATTRIBUTES: Final = {"_style", "_fmt", "datefmt"}

# In the order in which a record gets them.
_RECORD_ATTRIBUTES: Final = list(logging.LogRecord("", 0, "", 0, "", None, None).__dict__)


def template_of(formatter: Optional[logging.Formatter]) -> Optional[Template]:
    """None: only the formatter itself knows what it does."""
    if formatter is None:
        # What logging uses then.
        formatter = logging._defaultFormatter  # type: ignore[attr-defined]
    style = getattr(formatter, "_style", None)
    if (
        type(formatter) is not logging.Formatter
        or set(vars(formatter)) != _ATTRIBUTES
        or type(style) is not logging.PercentStyle
        or getattr(style, "_defaults", None)
        or not _is_as_it_was()
    ):
        return None
    return Template.of(formatter, logging.LogRecord, _RECORD_ATTRIBUTES)


def _is_as_it_was() -> bool:
    """Whether nobody has put functions of his own into logging's classes."""
    functions = (
        logging.Handler.format,
        logging.Formatter.format,
        logging.Formatter.formatMessage,
        logging.Formatter.usesTime,
        logging.PercentStyle.format,
        logging.PercentStyle._format,  # type: ignore[attr-defined]
        logging.PercentStyle.usesTime,
        logging.LogRecord.getMessage,
    )
    return all(
        isinstance(function, FunctionType) and function.__globals__ is vars(logging)
        for function in functions
    )
