"""What a component learns of its device from its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sam3edge_simulator.profiles import Profile
from sam3edge_simulator.recipes.recipe import Recipe

TOKEN_EXCHANGE = "aws.greengrass.TokenExchangeService"
_INHERITED = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TMPDIR", "USER")


@dataclass(frozen=True, slots=True)
class Device:
    """One simulated core device.

    Attributes:
        root: the nucleus's root folder, absolute.
        socket: its IPC socket.
        profile: its nucleus.
        thing: name of the thing.
        region: AWS region that components are told.
        root_ca: file with the certificates of Amazon's (here: the broker's) authority; None without one.
        credentials_url: where components get AWS credentials; empty without a token exchange service.
        extra: further variables for every component, ``PYTHONPATH`` for one.
    """

    root: Path
    socket: Path
    profile: Profile
    thing: str
    region: str
    root_ca: Path | None = None
    credentials_url: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)

    def environment(self, recipe: Recipe, token: str) -> Mapping[str, str]:
        """Environment of one component's steps, before the recipe's ``Setenv``.

        Source: developer guide, *Component environment variable reference*.
        """
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environment |= self.extra
        environment |= {
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT": str(self.socket),
            "AWS_IOT_THING_NAME": self.thing,
            "AWS_REGION": self.region,
            "GGC_VERSION": self.profile.version,
            "GG_ROOT_CA_PATH": str(self.root_ca or ""),
            "SVCUID": token,
        }
        # Nucleus lite sets the address only for components that depend on the service.
        if self.credentials_url and (not self.profile.needs_runtime or TOKEN_EXCHANGE in recipe.dependencies):
            environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = self.credentials_url
        return environment
