"""The segmenter again and again: with new parts whenever the configuration needs others, until it is stopped."""

from __future__ import annotations

import logging
import threading

from sam3edge.core.errors import SettingsError
from sam3edge.core.messages.errors import component_error
from sam3edge.core.messages.topics import topics_of
from sam3edge.greengrass.nucleus import Nucleus
from sam3edge.outbox.once import deliver_once
from sam3edge.publishers.greengrass import GreengrassPublisher
from sam3edge.segmenter.component import DRAIN_SECONDS, Component, Outcome
from sam3edge.segmenter.context import ComponentContext
from sam3edge.segmenter.last_configuration import LastConfiguration
from sam3edge.segmenter.settings import Settings, read_settings

logger = logging.getLogger(__name__)


def serve(nucleus: Nucleus, where: ComponentContext, stop: threading.Event) -> None:
    """Run the component until it is stopped or its source ends, with new parts whenever that is needed.

    A configuration that cannot be carried out gives way to the last one that could, of this run or of one before.

    Raises:
        SettingsError: there was none that could; it is reported.
        EngineError: the model cannot run.
        ConnectionLost: the nucleus is gone.
    """
    last = LastConfiguration(where.work / "last-configuration.json")
    configuration = nucleus.configuration()
    refusal: SettingsError | None = None
    try:
        settings = read_settings(configuration)
    except SettingsError as error:
        settings, refusal = _last_or_raise(last, error, nucleus, where), error
    outcome: Outcome = "rebuild"
    while outcome == "rebuild":
        logging.getLogger().setLevel(settings.log_level)
        component = Component(nucleus, settings, where, stop, last, refusal)
        try:
            outcome, settings = component.run()
            refusal = None
            logger.info("%s", outcome)
        except SettingsError as error:
            if component.is_built:
                raise
            working = _last_or_raise(last, error, nucleus, where)
            if refusal is not None and working == settings:  # that was the last one already
                raise
            settings, refusal = working, error


def _last_or_raise(
    last: LastConfiguration, error: SettingsError, nucleus: Nucleus, where: ComponentContext
) -> Settings:
    settings = last.read()
    if settings is None:
        report = component_error(where.device, error, topics_of(where.device).errors)
        deliver_once(where.work, GreengrassPublisher(nucleus), report, DRAIN_SECONDS)
        raise error
    logger.error("the configuration is refused, the last one that worked is used instead: %s", error)
    return settings
