"""``sam3edge-export`` as people call it: the demo checkpoint in, a bundle, a report and an exit status out.

Tracing the graphs takes most of an export's time, so it is done once here, and the commands get copies of what it gave.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from click.testing import Result
from transformers.models.sam3.modeling_sam3 import Sam3Model
from transformers.models.sam3_tracker.modeling_sam3_tracker import Sam3TrackerModel
from typer.testing import CliRunner

from sam3edge.bundle.golden import run_golden
from sam3edge.bundle.manifest import Manifest, read_manifest
from sam3edge.bundle.signature import read_public_keys
from sam3edge.bundle.verify import model_files, verify
from sam3edge.core.types import PointPrompt, VisualPrompt
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions
from sam3edge_export import build
from sam3edge_export.checkpoint import read_checkpoint
from sam3edge_export.cli import app
from sam3edge_export.onnx import graphs
from sam3edge_export.onnx.precision.graph import read_graph, write_graph
from sam3edge_export.onnx.precision.storage import widen_stored
from sam3edge_export.parity.fixtures import read_phrases
from sam3edge_export.sam3.graphs import TextGraph, VisionGraph
from sam3edge_export.sam3.interactive import InteractiveGraph, InteractiveVisionGraph
from sam3edge_export.sam3.tokenizer import read_tokenizer, token_ids
from sam3edge_export.torch_engine.preprocess import normalise, to_square
from support.made_once import made_once
from support.meta_layout import fill, meta_layout, multiplex_layout, small_config
from support.samples import frame, red_square

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]  # the first to come exports the graphs

ASSETS = Path(__file__).parents[2] / "assets"
CHECKPOINT, PROMPTS, SCENES = ASSETS / "demo-checkpoint", ASSETS / "demo-prompts.txt", ASSETS / "scenes"
CPU = OnnxOptions(providers=("CPUExecutionProvider",), threads=1)

Command = Callable[..., Result]


@pytest.fixture
def command() -> Command:
    def run(*arguments: str | Path) -> Result:
        result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(a) for a in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def export(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Export the demo checkpoint with graphs that were traced before."""
    traced = made_once(tmp_path_factory, "demo-graphs", graphs_in_float32)

    def copy(model: Any, folder: Path, tracker: Any, optional: Collection[str], progress: Any) -> None:
        for name in ["vision", "decoder", "masks", *(n for n in ("text",) if n in optional)]:
            shutil.copy(traced / f"{name}.onnx", folder)

    monkeypatch.setattr(build, "export_graphs", copy)
    given = ("--checkpoint", CHECKPOINT, "--prompts", PROMPTS, "--image-limit", "2", "--no-exemplars")
    monkeypatch.chdir(ASSETS.parent)
    return lambda *arguments: command(*given, *arguments)


def graphs_in_float32(folder: Path) -> None:
    """The demo checkpoint's graphs as they were traced: those of its bundle before their weights were rounded, which
    changed none, and the text encoder."""
    for name in ("vision", "decoder", "masks"):
        graph = read_graph(ASSETS / "demo-bundle" / f"{name}.onnx")
        widen_stored(graph)
        write_graph(graph, folder / f"{name}.onnx")
    graphs._export_text(read_checkpoint(CHECKPOINT).model, folder)


def words(result: Result) -> str:
    """What was said, on one line."""
    return " ".join(result.output.split())


def released(command: Command, folder: Path) -> str:
    """A new key; its public half."""
    made = command("new-key", folder / "key.pem")
    assert made.exit_code == 0
    return made.stdout


def test_a_bundle_is_made_that_was_compared_signed_and_runs(export: Command, command: Command, tmp_path: Path) -> None:
    public = released(command, tmp_path)
    out = tmp_path / "bundles" / "demo-2.0.0"
    result = export("--precision", "fp16-weights", "--out", out, "--key", tmp_path / "key.pem")
    assert result.exit_code == 0, result.output
    assert f"passed: {out}" in words(result)
    manifest = verify(out, read_public_keys(public))
    assert (manifest.name, manifest.version, manifest.weights) == ("demo", "2.0.0", "fp16")
    assert manifest.parity is not None
    assert manifest.parity["objects"] > 5
    assert manifest.parity["worst_iou"] >= 0.995
    run_golden(out, OnnxEngine(model_files(out, manifest), CPU))
    golden = json.loads((out / "golden" / "expected.json").read_text())
    assert golden["instances"]
    report = tmp_path / "bundles" / "demo-2.0.0.report"
    assert json.loads((report / "parity.json").read_text())["passed"] is True
    assert "data:image" in (report / "index.html").read_text()
    assert sorted(p.name for p in out.parent.iterdir()) == [out.name, report.name]


@pytest.fixture
def export_of_wrong_masks(export: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The same export with graphs whose masks cover the whole frame: wrong on every processor."""
    copy = build.export_graphs

    def spoil(model: Any, folder: Path, *rest: Any) -> None:
        copy(model, folder, *rest)
        graph = onnx.load(folder / "masks.onnx")
        [masks] = graph.graph.output
        graph.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1000), "everywhere"))
        for node in graph.graph.node:
            node.output[:] = ["right_masks" if name == masks.name else name for name in node.output]
        graph.graph.node.append(onnx.helper.make_node("Add", ["right_masks", "everywhere"], [masks.name]))
        onnx.save(graph, folder / "masks.onnx")

    monkeypatch.setattr(build, "export_graphs", spoil)
    return export


def test_a_failing_gate_says_what_is_wrong_and_leaves_no_bundle(export_of_wrong_masks: Command, tmp_path: Path) -> None:
    out = tmp_path / "demo-2.0.0"
    result = export_of_wrong_masks("--precision", "fp32", "--out", out)
    assert result.exit_code == 1
    assert re.search(r"overlaps its mask with IoU 0\.\d+, expected 0\.995", words(result))
    assert "no bundle was written" in words(result)
    assert [p.name for p in tmp_path.iterdir()] == ["demo-2.0.0.report"]
    assert json.loads((tmp_path / "demo-2.0.0.report" / "parity.json").read_text())["passed"] is False


def test_a_failing_bundle_can_be_wanted_and_says_so(export_of_wrong_masks: Command, tmp_path: Path) -> None:
    out = tmp_path / "demo-2.0.0"
    result = export_of_wrong_masks("--precision", "fp32", "--out", out, "--keep-failing")
    assert result.exit_code == 1
    parity = verify(out, None).parity
    assert parity is not None
    assert parity["passed"] is False


def test_integers_are_exported_and_their_verdict_is_recorded(export: Command, tmp_path: Path) -> None:
    """Whether int8 passes depends on the processor's kernels, so only that the verdict and the status agree."""
    out = tmp_path / "demo-2.0.0"
    result = export("--precision", "int8", "--out", out, "--keep-failing")
    manifest = verify(out, None)
    assert manifest.precision == "int8"
    assert manifest.parity is not None
    assert manifest.parity["passed"] is (result.exit_code == 0)


def test_a_waiver_is_written_into_the_bundle(export: Command, command: Command, tmp_path: Path) -> None:
    out = tmp_path / "demo-2.0.0"
    result = export("--precision", "fp32", "--out", out, "--waive-iou", "0.8")
    assert result.exit_code == 0, result.output
    assert "waiver: masks may go down to IoU 0.8" in words(command("inspect", out))


def test_a_bundle_with_the_text_encoder_takes_any_phrase(export: Command, command: Command, tmp_path: Path) -> None:
    """Phrases are added with the bundle's own encoder or with the checkpoint's, and the graphs stay as they are."""
    bundle, more = tmp_path / "demo-2.0.0", tmp_path / "more.txt"
    assert export("--precision", "fp32", "--out", bundle, "--text-encoder").exit_code == 0
    more.write_text("# new\nmetal ship\nSHIP\n")
    own = command("add-phrases", bundle, "--prompts", more, "--out", tmp_path / "demo-2.1.0")
    assert own.exit_code == 0, own.output
    assert "knows 11 phrases" in words(own)
    theirs = command(
        "add-phrases", bundle, "--prompts", more, "--out", tmp_path / "demo-2.2.0", "--checkpoint", CHECKPOINT
    )
    assert theirs.exit_code == 0, theirs.output
    model, tokenizer = read_checkpoint(CHECKPOINT).model, read_tokenizer(CHECKPOINT, 8)
    with torch.no_grad():
        expected = TextGraph(model)(torch.from_numpy(token_ids(tokenizer, ["metal ship"])))[0].numpy()
    old, fresh = read_manifest(bundle), verify(tmp_path / "demo-2.1.0", None)
    changed = {name for name in fresh.files if fresh.files[name] != old.files[name]}
    assert changed == {"prompts.npz"}
    for version in ("2.1.0", "2.2.0"):
        with np.load(tmp_path / f"demo-{version}" / "prompts.npz") as stored:
            assert stored["phrases"].tolist() == [*old.vocabulary, "metal ship"]
            np.testing.assert_allclose(stored["features"][-1], expected, atol=1e-5)
    again = command("add-phrases", bundle, "--prompts", more, "--out", tmp_path / "x", "--version", "2.0.0")
    assert (again.exit_code, "2.0.0 is released already" in words(again)) == (2, True)


def test_without_images_what_the_sample_scenes_show_is_asked_for_too(export: Command, tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("ship\nmetal ship\n")
    out = tmp_path / "demo-2.0.0"
    assert export("--prompts", mine, "--precision", "fp32", "--out", out).exit_code == 0
    vocabulary = read_manifest(out).vocabulary
    assert vocabulary[:2] == ["ship", "metal ship"]
    assert sorted(vocabulary[2:]) == sorted(set(read_phrases(PROMPTS)) - {"ship"})


def test_phrases_of_another_checkpoint_are_refused(command: Command, closed_bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(CHECKPOINT, other)
    with (other / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    (tmp_path / "more.txt").write_text("metal ship")
    arguments = ("add-phrases", closed_bundle, "--prompts", tmp_path / "more.txt", "--out", tmp_path / "demo-3.0.0")
    without = command(*arguments)
    assert (without.exit_code, "carries no text encoder; give the checkpoint" in words(without)) == (2, True)
    result = command(*arguments, "--checkpoint", other)
    assert (result.exit_code, "features of another model mean nothing to it" in words(result)) == (2, True)
    assert not (tmp_path / "demo-3.0.0").exists()


def test_inspect_shows_what_is_in_a_bundle_and_refuses_a_damaged_one(
    command: Command, demo_bundle: Path, bundle: Path
) -> None:
    said = words(command("inspect", demo_bundle))
    manifest: Manifest = read_manifest(demo_bundle)
    for expected in (manifest.digest(), "metal tag", "128 x 128 pixels", "weights in fp16", "golden run", "passed"):
        assert expected in said
    with (bundle / "masks.onnx").open("r+b") as file:
        file.write(b"\x00")
    refused = command("inspect", bundle)
    assert (refused.exit_code, "masks.onnx" in words(refused)) == (2, True)


def test_signing_exchanges_the_manifest_only(command: Command, bundle: Path, tmp_path: Path) -> None:
    before = read_manifest(bundle)
    public = released(command, tmp_path)
    result = command("sign", bundle, "--key", tmp_path / "key.pem")
    assert (result.exit_code, result.stdout) == (0, public)
    assert verify(bundle, read_public_keys(public)).digest() == before.digest()
    neither = command("sign", bundle)
    assert (neither.exit_code, "--key or --kms-key" in words(neither)) == (2, True)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"--checkpoint": "nowhere.pt"}, "nowhere.pt is not there; expected Meta's sam3.pt or sam3.1_multiplex.pt, "),
        ({"--prompts": "nowhere.txt"}, "expected a text file in UTF-8, a phrase a line; nowhere.txt cannot be read"),
        ({"--precision": "fp8"}, "no precision is called 'fp8'; there are fp32"),
        ({"--precision": "bf16"}, "bf16 graphs run on none of CUDAExecutionProvider, CPUExecutionProvider"),
        ({"--images": "nowhere"}, "expected a folder of images to try the export on, nowhere is not a folder"),
        ({"--out": "sam3"}, "what is the bundle called? give --name and --version"),
        ({"--out": str(ASSETS / "demo-bundle"), "--name": "a", "--version": "1.0.0"}, "already exists"),
        ({"--license": "nowhere"}, "the licence of the weights must travel with them"),
        ({"--key": "nowhere.pem"}, "nowhere.pem"),
        ({"--input-size": "100"}, "100"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    options = {"--checkpoint": CHECKPOINT, "--prompts": PROMPTS, "--images": SCENES, "--out": Path("demo-2.0.0")}
    given = [str(word) for pair in {**options, "--precision": "fp32", **changed}.items() for word in pair]
    result = command(*given, "--no-exemplars")
    assert (result.exit_code, said in words(result)) == (2, True), result.output
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "layout", "family"), [("sam3.pt", dict, "SAM 3"), ("sam3.1_multiplex.pt", multiplex_layout, "SAM 3.1")]
)
def test_a_checkpoint_in_metas_layout_without_learned_weights(
    command: Command,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    layout: Callable[[Any], dict[str, torch.Tensor]],
    family: str,
) -> None:
    """From Meta's file through everything; its sizes are not those of SAM 3, so they are stated.

    Both files hold the same weights, so one tracing does for both: what is read of either is compared with its graphs.
    """
    config, interactive = small_config()
    config.text_config.vocab_size = 49408  # CLIP's, which Meta's tokenizer has
    config.save_pretrained(tmp_path)
    with torch.device("meta"):
        entries = meta_layout(Sam3Model(config), Sam3TrackerModel(interactive))
    torch.save(layout(fill(entries)), tmp_path / file)
    trace = build.export_graphs

    def traced_once(model: Any, folder: Path, *rest: Any) -> None:
        graphs_of_either = made_once(tmp_path_factory, "meta-graphs", lambda made: trace(model, made, *rest))
        shutil.copytree(graphs_of_either, folder, dirs_exist_ok=True)

    monkeypatch.setattr(build, "export_graphs", traced_once)
    (tmp_path / "LICENSE").write_text("SAM License\n")
    (tmp_path / "prompts.txt").write_text("car\nnaïve café\n")
    given = ("--checkpoint", tmp_path / file, "--config", tmp_path / "config.json", "--untrained")
    asked = ("--prompts", tmp_path / "prompts.txt", "--images", SCENES, "--image-limit", "2")
    out = tmp_path / "small-1.0.0"
    result = command(*given, *asked, "--precision", "fp32", "--no-exemplars", "--out", out)
    assert result.exit_code == 0, result.output
    assert "entries of the checkpoint are not used" in words(result)
    manifest = verify(out, None)
    assert manifest.vocabulary == ["car", "naïve café"]
    assert manifest.parity is not None
    assert manifest.parity["judged_by"] == "logits"
    assert manifest.parity["objects"] > 0
    assert manifest.parity["stages"]["decoder"]["score_rule"] < 1e-6
    assert (out / "LICENSE.txt").read_text() == "SAM License\n"
    assert f"{family}, scores sigmoid(logit)*sigmoid(presence)" in words(command("inspect", out))
    engine = OnnxEngine(model_files(out, manifest), CPU)
    run_golden(out, engine)
    click = VisualPrompt((PointPrompt(80.0, 120.0, True),), multimask_output=True)
    (answer,) = engine.interactive_segmenter().predict(frame(red_square()), [click])
    np.testing.assert_allclose(answer.masks, clicked(tmp_path / file, config), atol=1e-3)


def clicked(path: Path, config: Any) -> Any:
    """The masks that torch gives for a click at a quarter from the left and half way down the same frame."""
    read = read_checkpoint(path, config)
    assert read.tracker is not None
    side = config.vision_config.backbone_config.image_size
    with torch.no_grad():
        pixels = normalise(to_square(torch.from_numpy(red_square()), side))[None]
        seen = InteractiveVisionGraph(read.tracker)(VisionGraph(read.model).tokens(pixels))
        points, labels = torch.tensor([[[0.25, 0.5]]]), torch.tensor([[1]])
        none = torch.zeros(1, 1, side // 2, side // 2), torch.tensor([False])
        outlined = InteractiveGraph(read.tracker, side // 8, side)(*seen, torch.zeros(1).long(), points, labels, *none)
    return outlined.masks[0, 1:].numpy()
