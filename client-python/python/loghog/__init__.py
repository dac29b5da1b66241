"""LogHog's handler for Python's logging.

    import logging
    from loghog import LoghogHandler

    logging.getLogger().addHandler(LoghogHandler("my-app"))
"""

from ._loghog import VERSION as __version__
from .arguments import SslInfo
from .handler import LoghogHandler, Stats

__all__ = ["LoghogHandler", "SslInfo", "Stats", "__version__"]
