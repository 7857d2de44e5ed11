"""The cost table of docs/deployment.md.

    python -m sam3edge_infra.costs [--stage dev] [--devices 100]

With a stage, its items; without, a table of all stages.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from sam3edge.core.errors import SettingsError
from sam3edge_infra.command_line import parser_of
from sam3edge_infra.costs.estimate import FOLDER, GROUPS, Item, Price, cost, items_of, read_prices, read_usage
from sam3edge_infra.stages.files import read_stage, stage_names


def table(stages: Mapping[str, Sequence[Item]], prices: Mapping[str, Price]) -> str:
    """USD a month by group and stage, as Markdown."""
    rows = ["| USD a month | " + " | ".join(f"`{name}`" for name in stages) + " |", "|---|" + "---:|" * len(stages)]
    sums = {name: _sums(items, prices) for name, items in stages.items()}
    for group in GROUPS:
        if any(group in of_stage for of_stage in sums.values()):
            cells = [f"{of_stage[group]:.0f}" if group in of_stage else "" for of_stage in sums.values()]
            rows.append(f"| {group} | " + " | ".join(cells) + " |")
    totals = [f"**{sum(of_stage.values()):.0f}**" for of_stage in sums.values()]
    return "\n".join([*rows, "| **all** | " + " | ".join(totals) + " |"])


def details(items: Sequence[Item], prices: Mapping[str, Price]) -> str:
    """Every item of one stage, as Markdown."""
    rows = ["| for | what | quantity | USD each | USD a month | price seen |", "|---|---|---:|---:|---:|---|"]
    for item in items:
        price = prices[item.price]
        seen = price.seen or "recalled, to be checked"
        rows.append(
            f"| {item.group} | {item.price} | {item.quantity:,.2f} {price.per} | {price.usd:.8g} | "
            f"{cost(item, prices):.2f} | {seen} |"
        )
    return "\n".join(rows)


def assumptions() -> str:
    """What is assumed, as Markdown."""
    used = json.loads((FOLDER / "usage.json").read_text())
    return "\n".join(f"- {one['value']:,} {one['unit']}" for one in used.values())


def _sums(items: Sequence[Item], prices: Mapping[str, Price]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for item in items:
        sums[item.group] = sums.get(item.group, 0.0) + cost(item, prices)
    return sums


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = parser_of("sam3edge_infra.costs", __doc__)
    parser.add_argument("--stage", help="name of a file in infra/stages; by default all")
    parser.add_argument("--devices", type=int, help="instead of what usage.json says")
    given = parser.parse_args(arguments)
    if given.devices is not None and given.devices < 0:
        parser.error(f"argument --devices: expected 0 or more, got {given.devices}")
    prices, usage = read_prices(), read_usage()
    if given.devices is not None:
        usage["devices"] = float(given.devices)
    try:
        if given.stage is not None:
            sys.stdout.write(details(items_of(read_stage(given.stage), usage), prices) + "\n")
        else:
            stages = {name: items_of(read_stage(name), usage) for name in stage_names()}
            sys.stdout.write(f"{table(stages, prices)}\n\n{assumptions()}\n")
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
