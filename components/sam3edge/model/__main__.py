"""The model component: ``python -m sam3edge.model``, run once by the nucleus for each version of a model.

Exit status: 0 the bundle is the current one; 3 the connection to the nucleus is lost; 5 the configuration is refused;
6 the bundle is refused and the one before stays, which is published on the errors topic. Any but 0 fails the
deployment.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from sam3edge.bundle.artifacts import find_artifacts
from sam3edge.bundle.signature import read_public_keys
from sam3edge.bundle.store import Store
from sam3edge.core.errors import BundleError, ConnectionLost, SettingsError
from sam3edge.core.messages.errors import bundle_refused
from sam3edge.core.messages.status import model_activated
from sam3edge.core.messages.topics import topics_of
from sam3edge.core.types import Message
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions
from sam3edge.greengrass.client import GreengrassClient
from sam3edge.greengrass.nucleus import Nucleus
from sam3edge.logs import configure_logs
from sam3edge.model.activation import activate
from sam3edge.model.settings import read_settings
from sam3edge.outbox.delivery import Delivery
from sam3edge.outbox.outbox import Outbox
from sam3edge.publishers.greengrass import GreengrassPublisher

logger = logging.getLogger("sam3edge.model")

DELIVER_SECONDS = 30.0
"""How long the report may take to leave; after that it waits in the outbox for this component's next start."""


def main() -> int:
    """Read the command line, connect to the nucleus, and activate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifacts", type=Path, required=True, help="this component's unpacked artifacts")
    parser.add_argument("--store", type=Path, required=True, help="this device's store of bundles")
    parser.add_argument("--work", type=Path, required=True, help="this component's work folder")
    arguments = parser.parse_args()
    configure_logs("INFO")
    device = os.environ.get("AWS_IOT_THING_NAME", "")
    try:
        topics_of(device)  # before anything is written or published
        nucleus = GreengrassClient(on_lost=lambda error: logger.error("%s", error))
        try:
            return _activate(nucleus, device, arguments.artifacts, Store(arguments.store), arguments.work)
        finally:
            nucleus.close()
    except ConnectionLost as error:
        logger.error("the nucleus is gone: %s", error)
        return 3
    except SettingsError as error:
        logger.error("refused: %s", error)
        return 5


def _activate(nucleus: Nucleus, device: str, artifacts: Path, store: Store, work: Path) -> int:
    topics = topics_of(device)  # a configuration that is refused is reported where it would be by default
    try:
        settings = read_settings(nucleus.configuration())
        topics = topics_of(device, settings.topic_prefix)
        keys = read_public_keys(settings.public_key) if settings.public_key else None
        options = OnnxOptions(tuple(settings.providers), cache=store.root / "engine-cache")
        info = activate(find_artifacts(artifacts), store, keys, lambda files: OnnxEngine(files, options))
    except (SettingsError, BundleError) as error:
        logger.error("refused: %s", error)
        _publish(nucleus, work, bundle_refused(device, error, topics.errors))
        return 6 if isinstance(error, BundleError) else 5
    _publish(nucleus, work, model_activated(device, topics.model_status, info))
    return 0


def _publish(nucleus: Nucleus, work: Path, report: Message) -> None:
    outbox = Outbox(work / "outbox.sqlite")
    delivery = Delivery(outbox, GreengrassPublisher(nucleus), on_lost=lambda error: logger.error("%s", error))
    delivery.start()
    outbox.put([report])
    if not delivery.drain(DELIVER_SECONDS):
        logger.warning("the report could not be delivered yet; it stays in the outbox", extra={"topic": report.topic})
    delivery.close()
    outbox.close()


if __name__ == "__main__":
    sys.exit(main())
