"""What the processes of the service log, and how it looks: lines for people, or JSON for programs."""

import logging
from datetime import datetime
from typing import Any, TextIO

from pythonjsonlogger.orjson import OrjsonFormatter

from app.clock import SHANGHAI
from app.observability import current_request_id
from app.security.redaction import RedactingFormatter, redact
from app.settings import Settings

__all__ = ["JsonFormatter", "configure_logging"]


class JsonFormatter(OrjsonFormatter):
    """One JSON object a line, without secrets: the fields of every line, then those of its kind."""

    def __init__(self) -> None:
        """Name the fields."""
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - the library's is typed in part
            ["asctime", "levelname", "name", "message", "request_id"],
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger", "exc_info": "exception"},
        )
        # The server's own colours.
        self.reserved_attrs.add("color_message")
        self._skip_fields.add("color_message")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        """RFC 3339, as the answers of the API have it."""
        return datetime.fromtimestamp(record.created, SHANGHAI).isoformat(timespec="milliseconds")

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Leave out what is not there, and secrets: value by value, so that a line stays JSON whatever is taken out."""
        return {
            name: redact(value) if isinstance(value, str) else value
            for name, value in log_data.items()
            if value is not None
        }


def configure_logging(settings: Settings, stream: TextIO | None = None) -> None:
    """Log to ``stream`` (standard error) from the level of the settings on, in their format, without secrets."""
    handler = logging.StreamHandler(stream)
    handler.addFilter(_name_request)
    line = "%(asctime)s %(levelname)s %(name)s %(message)s %(request_id)s"
    handler.setFormatter(
        JsonFormatter() if settings.log_format == "json" else RedactingFormatter(line, defaults={"request_id": "-"})
    )
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _name_request(record: logging.LogRecord) -> bool:
    request = current_request_id()
    if request is not None:
        record.request_id = request
    return True
