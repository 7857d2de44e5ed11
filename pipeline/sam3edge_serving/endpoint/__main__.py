"""The serving container: ``python -m sam3edge_serving.endpoint``, settings from the environment.

It listens only after the model's files were checked; ``/ping`` answers 503 until the model is loaded and warm. SIGTERM
lets it finish the requests in progress. Exit status: 0 stopped; 4 the model is missing, refused or cannot run; 5 the
settings are refused.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import warnings

import uvicorn
from rasterio.errors import NotGeoreferencedWarning

from sam3edge.core.errors import Sam3EdgeError, SettingsError
from sam3edge.logs import configure_logs
from sam3edge_serving.endpoint.app import create_app
from sam3edge_serving.endpoint.connections import allow_many, timed
from sam3edge_serving.endpoint.loading import examine
from sam3edge_serving.endpoint.settings import Settings
from sam3edge_serving.environment import read_settings

logger = logging.getLogger("sam3edge_serving.endpoint")

KEEP_ALIVE = 75
"""Seconds that an idle connection stays open: longer than load balancers keep theirs, so that they never send into one
that is being closed."""


def main() -> int:
    """Check settings and model, then serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", choices=["serve"], help="what SageMaker starts containers with")
    parser.parse_args()
    configure_logs("INFO")
    try:
        settings = read_settings(Settings)
        configure_logs(settings.log_level)
        load = examine(settings)
    except SettingsError as error:
        logger.error("the settings are refused: %s", error)
        return 5
    except Sam3EdgeError as error:
        logger.error("the model is refused: %s", error)
        return 4
    # most images in requests are not located on the globe
    warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)
    failures: list[Exception] = []

    def failed(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    allow_many()
    server = uvicorn.Server(_configuration(settings, create_app(settings, load, failed)))
    # the server drains on it and raises it again at the end, which must not kill this process with a signal's status
    signal.signal(signal.SIGTERM, lambda *_: None)
    server.run()
    if failures:
        known = isinstance(failures[0], Sam3EdgeError)
        logger.error("the model cannot run: %s", failures[0], exc_info=None if known else failures[0])
        return 4
    return 0


def _configuration(settings: Settings, app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=timed(settings.header_time, settings.body_time),  # type: ignore[arg-type]  # it is called, no more
        host=settings.host,
        port=settings.port,
        log_config=None,  # ours
        access_log=False,  # ours has request ids
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=settings.drain,
    )


if __name__ == "__main__":
    sys.exit(main())
