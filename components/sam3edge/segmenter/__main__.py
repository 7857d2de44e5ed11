"""The segmenter component: ``python -m sam3edge.segmenter``, started by the nucleus.

Exit status: 0 stopped or the source has ended; 3 the connection to the nucleus is lost; 4 the model cannot run; 5 the
configuration is refused. The nucleus restarts on any but 0.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from sam3edge.core.errors import ConnectionLost, EngineError, SettingsError
from sam3edge.core.messages.topics import topics_of
from sam3edge.greengrass.client import GreengrassClient
from sam3edge.logs import configure_logs
from sam3edge.segmenter.component import ComponentContext, serve

logger = logging.getLogger("sam3edge.segmenter")


def main() -> int:
    """Read the command line, connect to the nucleus, and work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="this component's work folder")
    parser.add_argument("--store", type=Path, required=True, help="the model component's store of bundles")
    parser.add_argument("--max-payload", type=int, required=True, help="bytes of a message that this nucleus carries")
    parser.add_argument("--in-flight", type=int, required=True, help="messages that this nucleus takes at once")
    arguments = parser.parse_args()
    configure_logs("INFO")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    device = os.environ.get("AWS_IOT_THING_NAME", "")
    where = ComponentContext(device, arguments.work, arguments.store, arguments.max_payload, arguments.in_flight)
    lost = threading.Event()

    def on_lost(error: ConnectionLost) -> None:
        logger.error("%s", error)
        lost.set()
        stop.set()

    try:
        topics_of(device)  # before anything is written or published
        nucleus = GreengrassClient(on_lost=on_lost)
        try:
            serve(nucleus, where, stop)
        finally:
            nucleus.close()
    except ConnectionLost as error:
        logger.error("the nucleus is gone: %s", error)
        return 3
    except EngineError as error:
        logger.error("the model cannot run: %s", error)
        return 4
    except SettingsError as error:
        logger.error("the configuration is refused: %s", error)
        return 5
    return 3 if lost.is_set() else 0


if __name__ == "__main__":
    sys.exit(main())
