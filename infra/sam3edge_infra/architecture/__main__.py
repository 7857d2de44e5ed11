"""The architecture picture.

python -m sam3edge_infra.architecture --assembly build/cdk --stage dev --out docs/architecture.svg
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from sam3edge_infra.architecture.drawing import draw
from sam3edge_infra.architecture.graph import read_graph
from sam3edge_infra.command_line import parser_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = parser_of("sam3edge_infra.architecture", __doc__)
    parser.add_argument("--assembly", type=Path, required=True, help="folder of the cloud assembly")
    parser.add_argument("--stage", default="dev", help="whose it is")
    parser.add_argument("--out", type=Path, required=True, help="the picture, SVG")
    given = parser.parse_args(arguments)
    try:
        graph = read_graph(given.assembly, given.stage)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    given.out.write_text(draw(graph), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
