"""A device under everyday trouble for hours: ``python -m support.soak --minutes 120`` in ``tests``.

Images arrive, two in a hundred are broken; every few minutes the network is cut, and once an hour the configuration
changes, which gives the segmenter a new process on lite. Printed every minute: which process it is, its memory, threads
and descriptors, and what has arrived. At the end every image must have arrived, or been reported.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from sam3edge_simulator.profiles import LITE
from sam3edge_simulator.states import State
from support.device_rig import SEGMENTER, Rig

CHANGE_SECONDS, CUT_SECONDS = 3600.0, 420.0


def _sample(pid: int) -> tuple[float, int, int]:
    """Resident MB, threads, descriptors."""
    process = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line)
    resident = int(status["VmRSS"].split()[0]) / 1024
    return resident, int(status["Threads"]), len(list((process / "fd").iterdir()))


def run(minutes: float, seed: int, rate: float) -> bool:
    """Whether nothing was lost and the device never ended.

    Args:
        rate: images a second.
    """
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="soak-") as root:
        rig = Rig(Path(root), Path(__file__).parents[2] / "assets" / "demo-bundle", LITE)
        try:
            rig.deploy_model()
            rig.deploy_segmenter(HeartbeatSeconds=5, Source={"UnfinishedSeconds": 5, "OnProcessed": "delete"})
            good, bad, pids = set[str](), set[str](), list[int]()
            begun = time.monotonic()
            change, cut, report = begun + CHANGE_SECONDS, begun + CUT_SECONDS, begun
            while (now := time.monotonic()) < begun + 60 * minutes:
                name = f"{len(good) + len(bad):06d}.png"
                if dice.random() < 0.02:
                    bad.add(name)
                    rig.put_bytes(name, b"\x89PNG\r\n\x1a\n" + dice.randbytes(200))
                else:
                    good.add(name)
                    rig.put(name)
                if now > change:
                    change = now + CHANGE_SECONDS
                    rig.nucleus.set_configuration(SEGMENTER, merge={"Threshold": round(dice.uniform(0.3, 0.7), 2)})
                if now > cut:
                    cut = now + CUT_SECONDS
                    rig.cable.cut()
                    time.sleep(dice.uniform(1, 20))
                    rig.cable.plug()
                if now > report:
                    report = now + 60
                    pid = rig.nucleus.component(SEGMENTER).pid or 0
                    resident, threads, descriptors = _sample(pid) if pid else (0.0, 0, 0)
                    pids += [pid] if pid not in pids else []
                    sys.stdout.write(
                        f"{(now - begun) / 60:6.1f} min  process {pids.index(pid) + 1}"
                        f"  {resident:6.1f} MB  {threads} threads  {descriptors} files"
                        f"  {len(rig.consumer.names())} of {len(good)} arrived  {len(rig.consumer.on('errors'))} told\n"
                    )
                    sys.stdout.flush()
                time.sleep(max(0.0, 1 / rate - (time.monotonic() - now)))
            rig.wait(lambda: set(rig.consumer.names()) == good, 300)
            told = {error["frame"]["name"] for error in rig.consumer.on("errors") if error["kind"] == "frame"}
            sends = sum(rig.consumer.times.values()) / len(rig.consumer.times)
            sys.stdout.write(f"{len(good)} arrived, {len(told)} of {len(bad)} reported, {sends:.2f} sends a message\n")
            return told == bad and rig.nucleus.component(SEGMENTER).state == State.RUNNING
        finally:
            rig.close()


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1.0, help="images a second")
    given = parser.parse_args()
    return 0 if run(given.minutes, given.seed, given.rate) else 1


if __name__ == "__main__":
    sys.exit(main())
