"""The native half; see client-python/src/lib.rs."""

import logging
import os
from typing import Any, Final, Optional, Union, final

from .fields import Fields

VERSION: Final[str]

@final
class Template:
    @staticmethod
    def of(
        formatter: logging.Formatter,
        record_type: type[logging.LogRecord],
        attributes: list[str],
    ) -> Optional[Template]: ...

@final
class Client:
    def __new__(
        cls,
        app: object,
        hosts: list[str],
        port: int,
        *,
        transport: str,
        protocol: str,
        secret: Optional[bytes],
        compression: str,
        hostname: object,
        max_buffer_size: int,
        spool_dir: Optional[Union[str, os.PathLike[str]]] = None,
        spool_bytes: Optional[int] = None,
        pemfile: Optional[Union[str, os.PathLike[str]]] = None,
        cacert: Optional[Union[str, os.PathLike[str]]] = None,
        server_hostname: Optional[str] = None,
        check_hostname: bool = True,
    ) -> Client: ...
    def send(self, module: object, created: float, msecs: float, body: object) -> None: ...
    def send_record(
        self,
        logger: object,
        created: float,
        level: object,
        thread: object,
        process: object,
        body: object,
        exception: Optional[object],
        fields: dict[str, Union[None, bool, int, float, str, bytes]],
    ) -> None: ...
    def log(
        self,
        record: logging.LogRecord,
        template: Template,
        fields: Optional[Fields],
        has_own: bool,
    ) -> bool: ...
    def flush(self, limit: float, unreachable_limit: float) -> bool: ...
    def close(self, limit: float) -> None: ...
    def stats(self) -> dict[str, Any]: ...
    def take_failures(self) -> list[str]: ...
    def inherited(self) -> tuple[Client, Optional[int]]: ...
