"""The endpoint under load, against another checkout of it: ``python -m benchmarks.endpoint_load`` in ``tests``.

For 1, 8 and 32 clients, an image each: answers a second and latencies. With ``--before PATH`` the checkout at PATH is
measured in turn with this one, several rounds, so that both see the same machine; ``--threads`` adds a round with
another number of threads.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support import endpoint_clients
from support.endpoint_server import launch

ASSETS = Path(__file__).parents[2] / "assets"
FOLDERS = ("components", "pipeline", "export")
CLIENTS = (1, 8, 32)


@dataclass(frozen=True, slots=True)
class Variant:
    """One endpoint that is measured: what it is called, where its code is, and its environment."""

    name: str
    code: Path
    variables: dict[str, str]


def answered(variant: Variant, bundle: Path, clients: int, seconds: int) -> list[float]:
    """Seconds of every answer."""
    path = ":".join(str(variant.code / folder) for folder in FOLDERS)
    server = launch(bundle, CONFIDENCE_THRESHOLD="0.5", PYTHONPATH=path, **variant.variables)
    try:
        server.wait_until_ready()
        command = [sys.executable, endpoint_clients.__file__, server.url]
        command += [str(v) for v in (clients, seconds, clients, 10, ASSETS / "scenes")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 120)
        seen = json.loads(done.stdout)
        assert set(seen["statuses"]) <= {"200", "429"}, seen["statuses"]
        return list(seen["answered"])
    finally:
        assert server.stop() == 0


def main() -> None:
    """Read the command line, measure, and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="another checkout")
    parser.add_argument("--bundle", type=Path, default=ASSETS / "demo-bundle", help="one that both read")
    parser.add_argument(
        "--threads", type=int, action="append", default=[], help="SAM3EDGE_THREADS, in a round of its own"
    )
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    here = Path(__file__).parents[2]
    variants = [Variant("now", here, {})]
    variants += [Variant(f"now, {n} threads", here, {"SAM3EDGE_THREADS": str(n)}) for n in given.threads]
    if given.before:
        variants.insert(0, Variant("before", given.before, {}))
    sys.stdout.write("clients  variant           answers/s  of the first  median ms  p95 ms\n")
    for clients in CLIENTS:
        rates: dict[str, list[float]] = {variant.name: [] for variant in variants}
        seconds: dict[str, list[float]] = {variant.name: [] for variant in variants}
        for _ in range(given.rounds):
            for variant in variants:
                taken = answered(variant, given.bundle, clients, given.seconds)
                rates[variant.name].append(len(taken) / given.seconds)
                seconds[variant.name] += taken
        first = statistics.median(rates[variants[0].name])
        for name, values in rates.items():
            rate, spent = statistics.median(values), sorted(seconds[name])
            median, late = statistics.median(spent) * 1000, spent[int(len(spent) * 0.95)] * 1000
            sys.stdout.write(
                f"{clients:7d}  {name:16s}  {rate:9.1f}  {rate / first:12.2f}  {median:9.0f}  {late:6.0f}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
