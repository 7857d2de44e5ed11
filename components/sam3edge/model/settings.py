"""The configuration of the model component, as a deployment gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from sam3edge.greengrass.settings import ComponentSettings, validate_settings


class Settings(ComponentSettings):
    """``PublicKey`` is an Ed25519 key in PEM; with it, only bundles signed by its other half are activated.

    It may hold several keys, one after the other; a bundle is taken when any of them signed it. To change keys, add the
    new one, sign with it, and take the old one away when every device has a bundle that the new one signed.

    ``Bundle`` is the digest of a bundle that the device has kept and that is activated in place of the one that the
    component carries: the way back without a download. Empty for the one that it carries.
    """

    public_key: str = ""
    bundle: str = Field("", pattern=r"^(sha256:[0-9a-f]{64})?$")


def read_settings(configuration: Mapping[str, Any]) -> Settings:
    """Validate a component configuration; raises SettingsError that names every key that is wrong."""
    return validate_settings(Settings, configuration)
