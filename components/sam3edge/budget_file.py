"""What was spent, on disk: the budget outlives a restart."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path

from sam3edge.core.fallback.budget import Spent
from sam3edge.durable import make_folder, write_file

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
            logger.error("%s cannot be read, the budget is reset: %s", self._path, error)
            return Spent()
        return spent

    def write(self, spent: Spent) -> None:
        """On the medium when this returns.

        Raises:
            OSError: it cannot be written; what cannot be counted must not be spent.
        """
        make_folder(self._path.parent)
        write_file(self._path, json.dumps(asdict(spent)).encode())
