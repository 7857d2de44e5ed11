#!/usr/bin/env python3
"""Subscribes to the detections of all devices, drops repetitions, and puts the parts of each frame together.

    pip install "sam3edge[subscriber]"
    python infra/examples/subscriber.py --endpoint xxxx-ats.iot.eu-central-1.amazonaws.com \
        --certificate consumer.pem.crt --key consumer.pem.key --authority AmazonRootCA1.pem

A starting point for a consumer of your own; ``sam3edge listen`` (docs/subscribers.md) writes files without a program.
What messages say is in docs/messages.md. The certificate's policy needs ``iot:Connect`` for ``--client``,
``iot:Subscribe`` on the topic filter ``sam3edge/+/detections`` and ``iot:Receive`` on the topics
``sam3edge/*/detections``.

Delivery is at least once. The session outlives the connection (``--client`` must stay the same), so the broker keeps
what comes while this program is away: for an hour, by AWS IoT Core's default. A message is acknowledged once its frame
was handled or its part is kept; parts that wait are in memory.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sam3edge.core.errors import SettingsError, SubscriptionError
from sam3edge.subscriber.broker_url import Broker, BrokerUrl, TlsFiles
from sam3edge.subscriber.names import one_line
from sam3edge.subscriber.reading import DeviceMessage
from sam3edge.subscriber.subscriber import Subscriber


def show(frame: DeviceMessage) -> None:
    """Write a line about a frame."""
    labels = [f"{one['properties']['label']} {one['properties']['score']:.2f}" for one in frame["features"]]
    line = f"{frame['device']} {frame['frame']['name']}: {', '.join(labels) or 'nothing'}"
    sys.stdout.write(one_line(line, 500) + "\n")  # names are texts from outside, and may hold what moves the cursor
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True, help="aws iot describe-endpoint --endpoint-type iot:Data-ATS")
    parser.add_argument("--port", type=int, default=8883)
    parser.add_argument("--client", default="sam3edge-subscriber", help="id of the connection, one for each program")
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--authority", type=Path, required=True, help="Amazon's root certificate")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    tls = TlsFiles(given.authority, given.certificate, given.key)
    try:
        url = BrokerUrl.parse(f"mqtts://{given.endpoint}:{given.port}")
        subscriber = Subscriber(Broker(url, tls), given.client, show)
    except (ValueError, SettingsError) as error:
        parser.error(str(error))
    try:
        with suppress(KeyboardInterrupt):
            subscriber.run()
    except SubscriptionError as error:
        sys.exit(f"cannot go on: {error}")


if __name__ == "__main__":
    main()
