"""The kinds of publishers: what each is configured with, and how it is built.

To add one, write its settings with ``build``, and enter them in ``PUBLISHERS``.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Literal

from sam3edge.core.ports import Publisher
from sam3edge.greengrass.nucleus import Nucleus
from sam3edge.greengrass.settings import SettingsModel
from sam3edge.publishers.files import FilesPublisher
from sam3edge.publishers.greengrass import GreengrassPublisher


class PublisherSettings(SettingsModel):
    """A publisher; ``Type`` says which kind."""

    type: str

    @abstractmethod
    def build(self, nucleus: Nucleus, max_payload: int) -> Publisher:
        """The publisher.

        Args:
            max_payload: bytes of a message that the nucleus carries.

        Raises:
            SettingsError: it cannot be built like this.
        """
        raise NotImplementedError


class GreengrassSettings(PublisherSettings):
    """To AWS IoT Core, by way of the nucleus."""

    type: Literal["greengrass"] = "greengrass"

    def build(self, nucleus: Nucleus, max_payload: int) -> Publisher:
        """See ``PublisherSettings``."""
        return GreengrassPublisher(nucleus, largest_payload=max_payload)


class FilesSettings(PublisherSettings):
    """Every message a file below ``Folder``."""

    type: Literal["files"]
    folder: Path

    def build(self, nucleus: Nucleus, max_payload: int) -> Publisher:
        """See ``PublisherSettings``."""
        return FilesPublisher(self.folder)


PUBLISHERS: dict[str, type[PublisherSettings]] = {"greengrass": GreengrassSettings, "files": FilesSettings}
"""By ``Publisher.Type``."""
