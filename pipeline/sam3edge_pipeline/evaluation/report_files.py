"""A report as files: ``report.json`` for machines and ``index.html`` for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from sam3edge.durable import make_folder, write_file

JSON, PAGE = "report.json", "index.html"

TEMPLATES = [Path(__file__).parent, Path(__file__).parent / "vector"]


def write_report_files(folder: Path, template: str, shown: Mapping[str, Any], document: Mapping[str, Any]) -> None:
    """Write both.

    Args:
        folder: made when it is not there.
        template: name of the page's template.
        shown: what it shows, by its names, beside ``report``, which is the document, and ``css``, which makes
            one of a color.

    Raises:
        OSError: they could not be written.
    """
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = pages.get_template(template).render(report=document, css="rgb({},{},{})".format, **shown)
    make_folder(folder)
    write_file(folder / PAGE, page.encode())
    write_file(folder / JSON, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())
