"""What goes into the image of the Lambda functions, those of the API and the live page's authorizer: these sources, and
the packages of ``requirements.txt``.

Installing the whole project would bring OpenCV, shapely and numpy, which no function imports: as a zip it would come
near Lambda's limit of 250 MB unpacked.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import sam3edge
import sam3edge_serving

REQUIREMENTS = Path(__file__).with_name("requirements.txt")

_LIBRARY = (
    "__init__.py",
    "core/__init__.py",
    "core/backoff.py",
    "core/errors.py",
    "core/messages/__init__.py",
    "core/messages/topics.py",
    "core/phrases.py",
    "images/__init__.py",
    "validation.py",
    "images/headers",
    *(f"invocations/{name}.py" for name in ("__init__", "attributes", "request", "error_codes", "http", "sagemaker")),
)
_SERVING = (
    "__init__.py",
    "environment.py",
    "sentences.py",
    "http",
    "api",
    *(f"live_map/{name}.py" for name in ("__init__", "tokens", "authorizer")),  # of the page, which is elsewhere
)


def copy_sources(target: Path) -> None:
    """Copy the packages, as far as the functions import them, into an empty folder."""
    for package, names in ((sam3edge, _LIBRARY), (sam3edge_serving, _SERVING)):
        root = Path(package.__path__[0])
        for name in names:
            source, copy = root / name, target / root.name / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy)
