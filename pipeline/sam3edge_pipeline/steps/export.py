"""The candidate as a bundle that devices run, once it has proved to find the same objects as its checkpoint.

Inputs ``model`` and ``dataset``, whose validation images the comparison is made on; told ``bundle_name``,
``bundle_version``, ``precision`` and ``phrases``; outputs ``bundle`` and ``parity``.
"""

from __future__ import annotations

from collections.abc import Sequence

from sam3edge.core.errors import SettingsError
from sam3edge.core.types import Frame
from sam3edge.images.files import read_frame
from sam3edge_export.build import BuildError, BundleSpec, build_bundle, license_text_of
from sam3edge_export.checkpoint import read_checkpoint
from sam3edge_export.onnx.precision import precision_named
from sam3edge_export.parity.fixtures import Fixtures
from sam3edge_export.parity.gate import ByInstances
from sam3edge_export.parity.report import write_report
from sam3edge_export.sam3.tokenizer import tokenizer_of
from sam3edge_pipeline.datasets.examples import Example
from sam3edge_pipeline.datasets.store import open_dataset
from sam3edge_pipeline.steps.parameters import export_of
from sam3edge_pipeline.steps.places import Places, checkpoint_in, run_step, unpacked

MOST_IMAGES = 16


def export(places: Places) -> None:
    """Run the step."""
    wanted = export_of(places.told)
    dataset = open_dataset(places.given("dataset"))
    frames = fixtures_of([one for one in dataset.examples if one.split == "validation"], wanted.phrases)
    with unpacked(places.given("model")) as folder:
        path = checkpoint_in(folder)
        checkpoint = read_checkpoint(path)
        length = int(checkpoint.model.config.text_config.max_position_embeddings)
        tokenizer = tokenizer_of(path, length)
        spec = BundleSpec(
            wanted.name,
            wanted.version,
            wanted.phrases,
            precision_named(wanted.precision),
            frozenset({"text"}),
            license_text_of(path),
        )
        bundle = places.made("bundle") / f"{wanted.name}-{wanted.version}"
        built = build_bundle(checkpoint, tokenizer, spec, Fixtures(frames, wanted.phrases), ByInstances(), bundle)
    write_report(built.parity, [], places.made("parity"))
    if built.manifest is None:
        raise BuildError("the export does not find the same objects: " + "; ".join(built.parity.failures[:5]))


def fixtures_of(examples: Sequence[Example], phrases: Sequence[str]) -> tuple[Frame, ...]:
    """Images to compare on, those that show most different phrases first, and at least one of every phrase if there is.

    Raises:
        SettingsError: there are none.
    """
    left, chosen, shown = list(examples), list[Example](), set[str]()
    while left and len(chosen) < MOST_IMAGES:
        best = max(left, key=lambda one: (len({o.phrase for o in one.objects} - shown), len(one.objects)))
        left.remove(best)
        chosen.append(best)
        shown |= {o.phrase for o in best.objects}
    if not shown & set(phrases):
        raise SettingsError("the validation split shows none of the phrases: the export cannot be compared on it")
    return tuple(read_frame(one.image) for one in chosen)


if __name__ == "__main__":
    run_step(export, __doc__)
