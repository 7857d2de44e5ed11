"""What an EC2 instance runs when it boots: a shell script, with what it is told before it."""

from __future__ import annotations

import base64
import shlex
from dataclasses import dataclass
from pathlib import Path

from sam3edge_infra.stages.stage import ClassicNucleus, LiteNucleus

FOLDER = Path(__file__).parent
MAX_BYTES = 16_384
"""Of user data, by EC2."""

CLASSIC_URL = "https://d2s8p88vqu9w66.cloudfront.net/releases/greengrass-{version}.zip"
PLUGIN_VERSION = "1.2.2"
PLUGIN_URL = (
    "https://d2s8p88vqu9w66.cloudfront.net/releases/aws-greengrass-FleetProvisioningByClaim/"
    f"fleetprovisioningbyclaim-{PLUGIN_VERSION}.jar"
)
LITE_URL = (
    "https://github.com/aws-greengrass/aws-greengrass-lite/releases/download/v{version}/"
    "aws-greengrass-lite-ubuntu-x86-64.zip"
)


@dataclass(frozen=True, slots=True)
class Device:
    """Who a simulator is.

    Attributes:
        template: name of the provisioning template.
        role_alias: name of the token exchange's role alias.
        serial: number that it is expected under.
        group: thing group that it joins.
        table: name of the table of expected devices.
        scenes: zip of images in S3, ``s3://...``.
        feed_seconds: between two images.
    """

    region: str
    template: str
    role_alias: str
    serial: str
    group: str
    table: str
    scenes: str
    feed_seconds: int = 30


def simulator_script(nucleus: ClassicNucleus | LiteNucleus, device: Device) -> str:
    """User data of a simulator.

    Raises:
        ValueError: the stage names no digest of what is to be installed, or the script is larger than EC2 takes.
    """
    if nucleus.sha256 is None:
        raise ValueError("expected nucleus.sha256, got none: nothing is installed whose digest is not known")
    settings = {
        "REGION": device.region,
        "NUCLEUS": nucleus.kind,
        "NUCLEUS_VERSION": nucleus.version,
        "NUCLEUS_URL": (CLASSIC_URL if nucleus.kind == "classic" else LITE_URL).format(version=nucleus.version),
        "NUCLEUS_SHA256": nucleus.sha256,
        "PLUGIN_URL": "",
        "PLUGIN_SHA256": "",
        "TEMPLATE": device.template,
        "ROLE_ALIAS": device.role_alias,
        "SERIAL": device.serial,
        "THING_GROUP": device.group,
        "DEVICES_TABLE": device.table,
        "SCENES": device.scenes,
        "FEED_SECONDS": str(device.feed_seconds),
        "FEED": base64.b64encode((FOLDER / "feed.sh").read_bytes()).decode(),
    }
    if isinstance(nucleus, ClassicNucleus):
        if nucleus.plugin_sha256 is None:
            raise ValueError("expected nucleus.plugin_sha256, got none: nothing is installed whose digest is not known")
        settings |= {"PLUGIN_URL": PLUGIN_URL, "PLUGIN_SHA256": nucleus.plugin_sha256}
    told = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in settings.items())
    script = f"#!/usr/bin/env bash\n{told}\n{(FOLDER / 'simulator.sh').read_text(encoding='utf-8')}"
    if len(script.encode()) > MAX_BYTES:
        raise ValueError(f"expected a script of at most {MAX_BYTES} bytes, got {len(script.encode())}")
    return script
