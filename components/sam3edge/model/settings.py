"""The configuration of the model component, as a deployment gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sam3edge.greengrass.settings import ComponentSettings, validate_settings


class Settings(ComponentSettings):
    """``PublicKey`` is an Ed25519 key in PEM; with it, only bundles signed by its other half are activated.

    It may hold several keys, one after the other; a bundle is taken when any of them signed it. To change keys, add the
    new one, sign with it, and take the old one away when every device has a bundle that the new one signed.
    """

    public_key: str = ""


def read_settings(configuration: Mapping[str, Any]) -> Settings:
    """Validate a component configuration; raises SettingsError that names every key that is wrong."""
    return validate_settings(Settings, configuration)
