"""The model component: ``python -m sam3edge.model``, run once by the nucleus for each version of a model.

Exit status: 0 the bundle is the current one; 3 the connection to the nucleus is lost; 5 the configuration is refused;
6 the bundle is refused and the one before stays active, which is published on the errors topic. Any but 0 fails the
deployment.
"""

from __future__ import annotations

import argparse
import logging
import sys
from functools import partial
from pathlib import Path

from sam3edge.bundle.artifacts import find_artifacts
from sam3edge.bundle.signature import read_public_keys
from sam3edge.bundle.store import Store
from sam3edge.core.errors import BundleError, ConnectionLost, SettingsError
from sam3edge.core.messages.errors import bundle_refused
from sam3edge.core.messages.status import model_activated
from sam3edge.core.messages.topics import topics_of
from sam3edge.engines.runtime import OnnxOptions
from sam3edge.greengrass.nucleus import Nucleus
from sam3edge.greengrass.program import BUNDLE_REFUSED, DONE, REFUSED, run_program
from sam3edge.model.activation import activate, activate_kept
from sam3edge.model.settings import read_settings
from sam3edge.outbox.once import deliver_once
from sam3edge.proven import open_on_this_machine
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
    given = parser.parse_args()
    store = Store(given.store)
    return run_program(lambda program: _activate(program.nucleus, program.device, given.artifacts, store, given.work))


def _activate(nucleus: Nucleus, device: str, artifacts: Path, store: Store, work: Path) -> int:
    publisher = GreengrassPublisher(nucleus)
    topics = topics_of(device)  # a configuration that is refused is reported where it would be by default
    try:
        settings = read_settings(nucleus.configuration())
        topics = topics_of(device, settings.topic_prefix)
        keys = read_public_keys(settings.public_key) if settings.public_key else None
        options = OnnxOptions(tuple(settings.providers), cache=store.engine_cache)
        prove = partial(open_on_this_machine, options=options, proofs=store.proofs)
        carried = find_artifacts(artifacts)
        if settings.bundle in ("", carried.manifest().digest()):
            activated = activate(carried, store, keys, prove)
        else:
            activated = activate_kept(settings.bundle, store, keys, prove)
    except (SettingsError, BundleError) as error:
        logger.error("refused: %s", error)
        deliver_once(work, publisher, bundle_refused(device, error, topics.errors), DELIVER_SECONDS)
        return BUNDLE_REFUSED if isinstance(error, BundleError) else REFUSED
    except ConnectionLost:
        raise
    except Exception as error:  # the program's supervisor: nobody may be left without a word
        logger.exception("the bundle is refused for an error that nobody expected")
        unexpected = BundleError(f"{type(error).__name__}: {error}")
        deliver_once(work, publisher, bundle_refused(device, unexpected, topics.errors), DELIVER_SECONDS)
        return BUNDLE_REFUSED
    report = model_activated(device, topics.model_status, activated.model, activated.passed_over)
    deliver_once(work, publisher, report, DELIVER_SECONDS)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
