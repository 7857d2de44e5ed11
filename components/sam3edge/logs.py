"""Logs as the nucleus keeps them: one JSON object a line on standard error.

Give context by ``extra``: ``logger.info("answered", extra={"frame": frame.id})``. Payloads, images and secrets are
never given to a logger; what looks like a password in a text is hidden.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone

from sam3edge.core.redaction import redact

FIELDS = ("frame", "topic", "model", "request")
"""Members of ``extra`` that are written."""


class JsonLines(logging.Formatter):
    """Time (UTC), level, logger, message, and what ``FIELDS`` names."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        entry = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        entry |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            entry["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace").decode()


def configure_logs(level: str) -> None:
    """Send every log record to standard error as JSON; called once, by a program."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for talkative in ("awsiot", "urllib3", "botocore"):  # at DEBUG they write payloads, addresses and headers
        logging.getLogger(talkative).setLevel(logging.INFO)
