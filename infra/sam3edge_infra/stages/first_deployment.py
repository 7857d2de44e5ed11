"""What devices run until the first roll-out, as a stage says it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sam3edge_infra.stages.section import Section
from sam3edge_infra.stages.values import ComponentVersion, Phrase


class FirstNucleus(Section):
    """The nucleus that devices had on their first day; a newer one is a deployment of its own, see the roll-out."""

    kind: Literal["classic", "lite"]
    version: ComponentVersion


class FirstDeployment(Section):
    """What both thing groups run until the first roll-out. Everything of it is written down here and nothing is taken
    from the code or the rest of the stage: a change of any of it makes a new deployment, which replaces whatever a
    roll-out has deployed since. So it stays as it was on the first day, whatever else of the stage changes.

    Attributes:
        code: version of the segmenter and the uploader.
        model: version of the model component, which the template makes of a bundle in ``assets/``; of any other it must
            be there already. None where there is none yet: devices wait for the first roll-out.
        nucleus: None leaves the nucleus that a device was installed with.
        fallback: ``endpoint`` has devices ask the endpoint when they cannot answer; it must be one that answers at
            once, and ``fleet.endpoint_fallback`` must allow it.
        prompts: phrases that devices look for.
    """

    code: ComponentVersion
    model: ComponentVersion | None = None
    nucleus: FirstNucleus | None = None
    fallback: Literal["endpoint", "none"] = "none"
    prompts: tuple[Phrase, ...] = Field(min_length=1, max_length=50)
