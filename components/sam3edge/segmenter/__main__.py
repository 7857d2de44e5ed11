"""The segmenter component: ``python -m sam3edge.segmenter``, started by the nucleus.

Exit status: 0 stopped or the source has ended; 3 the connection to the nucleus is lost; 4 the model cannot run; 5 the
configuration is refused; 7 a thread has died. The nucleus restarts on any but 0.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sam3edge.greengrass.program import DONE, Program, run_program
from sam3edge.greengrass.restarts import WINDOW_SECONDS, RestartBudget
from sam3edge.segmenter.context import ComponentContext, NucleusLimits
from sam3edge.segmenter.serve import serve


def main() -> int:
    """Read the command line, connect to the nucleus, and work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="this component's work folder")
    parser.add_argument("--store", type=Path, required=True, help="the model component's store of bundles")
    parser.add_argument("--max-payload", type=int, required=True, help="bytes of a message that this nucleus carries")
    parser.add_argument("--in-flight", type=int, required=True, help="messages that this nucleus takes at once")
    parser.add_argument("--in-flight-bytes", type=int, required=True, help="bytes of them")
    parser.add_argument("--replay", type=int, required=True, help="accepted messages that it may lose in a breakdown")
    parser.add_argument("--probe-seconds", type=float, default=0.0, help="how often subscriptions are probed; 0: never")
    parser.add_argument(
        "--failure-window", type=float, default=WINDOW_SECONDS, help="seconds in which the nucleus counts failures"
    )
    given = parser.parse_args()
    restarts = RestartBudget(given.work / "starts.json", given.failure_window)

    def work(program: Program) -> int:
        limits = NucleusLimits(
            given.max_payload, given.in_flight, given.in_flight_bytes, given.replay, given.probe_seconds
        )
        where = ComponentContext(program.device, given.work, given.store, limits, restarts)
        serve(program.nucleus, where, program.stop)
        return DONE

    return run_program(work, restarts)


if __name__ == "__main__":
    sys.exit(main())
