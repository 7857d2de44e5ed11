"""The uploader component: ``python -m sam3edge.uploader``, started by the nucleus.

Exit status: 0 stopped; 3 the connection to the nucleus is lost; 5 the configuration is refused; 7 a thread has died.
The nucleus restarts on any but 0.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from sam3edge.greengrass.program import DONE, Program, run_program
from sam3edge.greengrass.restarts import WINDOW_SECONDS, RestartBudget
from sam3edge.uploader.component import UploaderContext, serve


def main() -> int:
    """Read the command line, connect to the nucleus, and work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="this component's work folder")
    parser.add_argument("--examples", type=Path, required=True, help="where the segmenter keeps hard examples")
    parser.add_argument(
        "--failure-window", type=float, default=WINDOW_SECONDS, help="seconds in which the nucleus counts failures"
    )
    given = parser.parse_args()

    def work(program: Program) -> int:
        where = UploaderContext(
            program.device,
            given.work,
            given.examples,
            os.environ.get("AWS_REGION", ""),
            os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", ""),
            os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", ""),
        )
        serve(program.nucleus, where, program.stop)
        return DONE

    return run_program(work, RestartBudget(given.work / "starts.json", given.failure_window))


if __name__ == "__main__":
    sys.exit(main())
