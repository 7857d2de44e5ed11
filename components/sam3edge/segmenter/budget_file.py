"""What was spent, on disk: the budget outlives a restart."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict
from pathlib import Path

from sam3edge.core.errors import EndpointError
from sam3edge.core.fallback.budget import Spent

logger = logging.getLogger(__name__)


class BudgetFile:
    """One small file, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Spent:
        """What was written last; nothing when there is no file, or none that can be read."""
        try:
            entries = json.loads(self._path.read_bytes())
            spent = Spent(**{name: int(entries[name]) for name in asdict(Spent())})
        except FileNotFoundError:
            return Spent()
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.error("%s cannot be read, the budget begins anew: %s", self._path, error)
            return Spent()
        return spent

    def write(self, spent: Spent) -> None:
        """On the medium when this returns.

        Raises:
            EndpointError: it cannot be written; what cannot be counted must not be spent.
        """
        draft = self._path.with_name(self._path.name + ".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("w", encoding="utf-8") as file:
                json.dump(asdict(spent), file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            raise EndpointError(f"{self._path} cannot be written: {error.strerror}") from error
