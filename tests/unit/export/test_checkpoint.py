"""Checkpoints of both layouts are read whole, and what is not a checkpoint is refused with a reason."""

from __future__ import annotations

import copy
import json
import pickle
import re
import shutil
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Sam3Config, Sam3VideoConfig
from transformers.models.sam3.modeling_sam3 import Sam3Model
from transformers.models.sam3_tracker.modeling_sam3_tracker import Sam3TrackerModel
from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoModel

from sam3edge.bundle.manifest import sha256_of
from sam3edge_export.checkpoint import (
    Checkpoint,
    CheckpointError,
    FetchRecord,
    published_config,
    read_checkpoint,
    read_config,
    tracker_config,
    with_input_size,
)
from sam3edge_export.checkpoint.load import content_digest
from sam3edge_export.checkpoint.record import record_path, write_record
from sam3edge_export.sam3.exemplars import ExemplarGraph
from sam3edge_export.sam3.graphs import Decoded, DecoderGraph, MaskGraph, TextGraph, VisionFeatures, VisionGraph
from sam3edge_export.sam3.interactive import InteractiveGraph, InteractiveVisionGraph
from support.meta_layout import meta_layout, multiplex_layout, small_config, small_entries

pytestmark = pytest.mark.xdist_group("checkpoint")

DATA = Path(__file__).parent / "data"

# what Meta's code was asked in data/meta_answers.py
SIDE = 64
IDS = torch.tensor([[62, 5, 9, 63, 0, 0, 0, 0], [62, 17, 63, 0, 0, 0, 0, 0], [62, 1, 2, 3, 4, 5, 6, 63]])
BOXES = torch.tensor([[[0.4, 0.5, 0.3, 0.2], [0.7, 0.2, 0.25, 0.3]]])
CLICKS = torch.tensor([[[20.0, 30.0], [50.0, 9.0]]])
FRAME = torch.tensor([[[8.0, 12.0], [40.0, 52.0]]])


@pytest.fixture(scope="module")
def entries() -> dict[str, Tensor]:
    """A small ``sam3.pt``, not yet written. Tests change copies."""
    return small_entries(SIDE)


@pytest.fixture(scope="module")
def published(entries: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, written."""
    path = tmp_path_factory.mktemp("meta") / "sam3.pt"
    torch.save(entries, path)
    return path


@pytest.fixture(scope="module")
def checkpoint(published: Path) -> Checkpoint:
    """The same, read."""
    return read_checkpoint(published, small_config(SIDE)[0])


@pytest.fixture(scope="module")
def answers() -> dict[str, Tensor]:
    """What Meta's own code answers with these weights."""
    with np.load(DATA / "meta_answers.npz") as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    """The image that Meta's code was shown."""
    return torch.from_numpy(np.random.RandomState(7).uniform(-1, 1, (1, 3, SIDE, SIDE)).astype(np.float32))


def test_the_layout_of_these_tests_is_that_of_the_published_file() -> None:
    config = published_config()
    with torch.device("meta"):
        ours = meta_layout(Sam3Model(config), Sam3TrackerModel(tracker_config(config)))
    described = {name: f"{value.dtype} {list(value.shape)}".removeprefix("torch.") for name, value in ours.items()}
    assert described == meta_keys()


def meta_keys() -> dict[str, str]:
    """Entries of Meta's file and what they are, as ``data/meta_keys.py`` wrote them."""
    found: dict[str, str] = {}
    for line in (DATA / "meta_keys.txt").read_text().splitlines():
        name, what = line.split(" ", 1)
        span = re.search(r"\{(\d+)-(\d+)\}", name)
        numbers = range(int(span[1]), int(span[2]) + 1) if span else (None,)
        found.update({name if n is None else re.sub(r"\{.*\}", str(n), name): what for n in numbers})
    return found


@torch.no_grad()
def test_what_is_read_answers_phrases_as_metas_code_does(
    checkpoint: Checkpoint, answers: dict[str, Tensor], pixels: Tensor
) -> None:
    model = checkpoint.model
    features, text, mask = VisionGraph(model)(pixels), TextGraph(model)(IDS), IDS != 0
    same = torch.zeros(len(IDS), dtype=torch.long)
    decoded = DecoderGraph(model)(features.coarse, features.geometry, same, text, mask)
    masks = all_masks(model, features, decoded, mask)
    for i in range(len(IDS)):
        agree(decoded, masks, answers, f"phrase{i}", i)


@torch.no_grad()
def test_what_is_read_answers_boxes_as_metas_code_does(
    checkpoint: Checkpoint, answers: dict[str, Tensor], pixels: Tensor
) -> None:
    model = checkpoint.model
    features, text, first = VisionGraph(model)(pixels), TextGraph(model)(IDS[:1]), torch.zeros(1, dtype=torch.long)
    shown = ExemplarGraph(model)(features.coarse, first, BOXES, torch.tensor([[1, 0]]), text, IDS[:1] != 0)
    decoded = DecoderGraph(model)(features.coarse, shown.geometry, first, shown.text, shown.text_mask, first)
    agree(decoded, all_masks(model, features, decoded, shown.text_mask), answers, "boxes", 0)


@torch.no_grad()
@pytest.mark.parametrize(("name", "points", "labels"), [("clicks", CLICKS, [[1, 0]]), ("frame", FRAME, [[2, 3]])])
def test_what_is_read_answers_clicks_as_metas_code_does(
    checkpoint: Checkpoint,
    answers: dict[str, Tensor],
    pixels: Tensor,
    name: str,
    points: Tensor,
    labels: list[list[int]],
) -> None:
    tracker = checkpoint.tracker
    assert tracker is not None
    seen = InteractiveVisionGraph(tracker)(VisionGraph(checkpoint.model).tokens(pixels))
    first, before = torch.zeros(1, dtype=torch.long), torch.zeros(1, 1, SIDE // 2, SIDE // 2)
    outlined = InteractiveGraph(tracker, SIDE // 8, SIDE)(
        *seen, first, points / SIDE, torch.tensor(labels), before, torch.tensor([False])
    )
    torch.testing.assert_close(outlined.masks[0, 1:], answers[f"{name}_true_masks"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(outlined.quality[0, 1:], answers[f"{name}_true_quality"], atol=1e-5, rtol=1e-5)
    single = int(outlined.single[0])
    torch.testing.assert_close(outlined.masks[0, single], answers[f"{name}_false_masks"][0], atol=1e-4, rtol=1e-4)


def all_masks(model: Sam3Model, features: VisionFeatures, decoded: Decoded, text_mask: Tensor) -> Tensor:
    """Mask logits [N, Q, H, W] of every query, for N phrases asked of one image."""
    pairs, queries = decoded.logits.shape
    every, same = torch.arange(queries).expand(pairs, -1), torch.zeros(pairs, dtype=torch.long)
    masks: Tensor = MaskGraph(model)(
        features.fine, features.medium, decoded.encoded, decoded.prompt, text_mask, decoded.queries,
        same, torch.arange(pairs), every, torch.arange(pairs * queries),
    )  # fmt: skip
    return masks.unflatten(0, (pairs, queries))


def agree(decoded: Decoded, masks: Tensor, answers: dict[str, Tensor], name: str, pair: int) -> None:
    """Measured differences are below 1e-5 throughout."""
    torch.testing.assert_close(decoded.logits[pair], answers[f"{name}_logits"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(decoded.presence[pair], answers[f"{name}_presence"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(decoded.boxes[pair], answers[f"{name}_boxes"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(masks[pair], answers[f"{name}_masks"], atol=1e-4, rtol=1e-4)


def test_the_digest_is_the_files_and_leftovers_are_what_no_graph_uses(checkpoint: Checkpoint, published: Path) -> None:
    assert checkpoint.kind == "meta"
    assert checkpoint.sha256 == sha256_of(published)
    groups = {
        re.split(r"[.#]\d", name)[0].removeprefix("detector.").removeprefix("tracker.")
        for name in checkpoint.unexpected_keys
    }
    assert "backbone.vision_backbone.trunk.blocks" in groups  # rotary frequencies
    assert "geometry_encoder.points_pool_project.weight" in groups
    assert "transformer.encoder.layers" in groups  # the tracker's memory
    assert len(checkpoint.unexpected_keys) == 170


def test_the_tracker_stands_on_the_detectors_trunk_and_nothing_is_held_twice(checkpoint: Checkpoint) -> None:
    tracker, model = checkpoint.tracker, checkpoint.model
    assert tracker is not None
    assert tracker.vision_encoder.backbone is model.vision_encoder.backbone
    assert tracker.vision_encoder.neck is not model.vision_encoder.neck
    fused = [model.vision_encoder.backbone.layers[0].attention.get_submodule(f"{third}_proj") for third in "qkv"]
    storages = {projection.weight.untyped_storage().data_ptr() for projection in fused}
    assert len(storages) == 1  # three views of the one mapped entry
    assert not model.training
    assert not tracker.training


def test_a_state_dict_may_stand_under_model_and_be_in_half_precision(
    entries: dict[str, Tensor], checkpoint: Checkpoint, tmp_path: Path
) -> None:
    half = {name: value.half() if value.is_floating_point() else value for name, value in entries.items()}
    torch.save({"model": half, "epoch": 3}, tmp_path / "sam3.pt")
    read = read_checkpoint(tmp_path / "sam3.pt", small_config(SIDE)[0])
    assert {p.dtype for p in read.model.parameters()} == {torch.float32}
    weight = read.model.text_projection.weight
    torch.testing.assert_close(weight, checkpoint.model.text_projection.weight, atol=1e-3, rtol=1e-3)


def test_the_image_model_alone_is_read_too(entries: dict[str, Tensor], checkpoint: Checkpoint, tmp_path: Path) -> None:
    """As Meta's training code saves it: no ``detector.``, and no tracker where it was not built."""
    alone = {n.removeprefix("detector."): v for n, v in entries.items() if n.startswith("detector.")}
    torch.save({n: v for n, v in alone.items() if "sam2_convs" not in n}, tmp_path / "last.pt")
    read = read_checkpoint(tmp_path / "last.pt", small_config(SIDE)[0])
    assert read.tracker is None
    assert same(read.model, checkpoint.model)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    """Whether two models have the same parameters."""
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def multiplex(entries: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as a small ``sam3.1_multiplex.pt``."""
    path = tmp_path_factory.mktemp("multiplex") / "sam3.1_multiplex.pt"
    torch.save(multiplex_layout(entries), path)
    return path


@torch.no_grad()
def test_sam_3_1_answers_phrases_boxes_and_clicks_from_its_own_entries(
    multiplex: Path, answers: dict[str, Tensor], pixels: Tensor
) -> None:
    """Held against what Meta's code answered with these weights, so that no entry of another purpose is taken."""
    read = read_checkpoint(multiplex, small_config(SIDE)[0])
    assert (read.kind, read.family) == ("meta", "sam3.1")
    test_what_is_read_answers_phrases_as_metas_code_does(read, answers, pixels)
    test_what_is_read_answers_boxes_as_metas_code_does(read, answers, pixels)
    test_what_is_read_answers_clicks_as_metas_code_does(read, answers, pixels, "clicks", CLICKS, [[1, 0]])
    test_what_is_read_answers_clicks_as_metas_code_does(read, answers, pixels, "frame", FRAME, [[2, 3]])
    assert {name for name in read.unexpected_keys if "propagation_convs" in name}
    assert not {name for name in read.unexpected_keys if "interactive_sam" in name or "interactive_convs" in name}


def test_the_level_that_sam_3_1_lacks_is_zero_and_transformers_own_forward_drops_it(
    multiplex: Path, checkpoint: Checkpoint, pixels: Tensor
) -> None:
    model = read_checkpoint(multiplex, small_config(SIDE)[0]).model
    assert not model.vision_encoder.neck.fpn_layers[3].proj2.weight.any()
    asked = {"pixel_values": pixels, "input_ids": IDS[:1], "attention_mask": (IDS[:1] != 0).long()}
    with torch.no_grad():
        theirs, ours = checkpoint.model(**asked), model(**asked)
    for name in ("pred_masks", "pred_boxes", "pred_logits", "presence_logits"):
        torch.testing.assert_close(ours[name], theirs[name])


def test_metas_internal_names_are_read_for_both_families(
    entries: dict[str, Tensor], checkpoint: Checkpoint, tmp_path: Path
) -> None:
    for name, layout, inner in (("sam3", entries, "model."), ("sam3.1", multiplex_layout(entries), "")):
        internal = {
            key.replace("detector.", "sam3_model.", 1) if key.startswith("detector.")
            else key.replace("tracker.", "sam2_predictor." + inner, 1): value
            for key, value in layout.items()
        }  # fmt: skip
        torch.save(internal, tmp_path / f"{name}.pt")
        read = read_checkpoint(tmp_path / f"{name}.pt", small_config(SIDE)[0])
        assert read.family == name
        assert read.tracker is not None
        assert checkpoint.tracker is not None
        tables = [tracker.prompt_encoder.point_embed.weight for tracker in (read.tracker, checkpoint.tracker)]
        torch.testing.assert_close(*tables)


@pytest.mark.parametrize(
    "lost",
    [
        "tracker.model.interactivity_no_mem_embed",
        "tracker.model.interactive_sam_mask_decoder.iou_token.weight",
        "tracker.model.interactive_sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        "detector.backbone.vision_backbone.interactive_convs.2.conv_3x3.weight",
        "detector.backbone.vision_backbone.convs.2.conv_1x1.bias",
        "detector.transformer.decoder.presence_token.weight",
    ],
)
def test_what_sam_3_1_lacks_is_named(entries: dict[str, Tensor], tmp_path: Path, lost: str) -> None:
    kept = multiplex_layout(entries)
    del kept[lost]
    torch.save(kept, tmp_path / "sam3.1.pt")
    refuse(tmp_path / "sam3.1.pt", f"not a whole SAM 3.1 checkpoint: 1 entries are missing, such as {re.escape(lost)}")


def test_sam_3_1_without_what_answers_clicks_is_its_detector(entries: dict[str, Tensor], tmp_path: Path) -> None:
    kept = {name: value for name, value in multiplex_layout(entries).items() if "tracker.model.interactiv" not in name}
    torch.save(kept, tmp_path / "sam3.1.pt")
    read = read_checkpoint(tmp_path / "sam3.1.pt", small_config(SIDE)[0])
    assert (read.family, read.tracker) == ("sam3.1", None)


@pytest.mark.parametrize("layout", [dict, multiplex_layout])
def test_entries_of_the_detector_that_have_no_place_are_refused(
    entries: dict[str, Tensor], tmp_path: Path, layout: Callable[[dict[str, Tensor]], dict[str, Tensor]]
) -> None:
    """A detector with more parts than these would answer otherwise than what is read of it."""
    more = layout(entries) | {"detector.transformer.decoder.instance_bbox_embed.layers.0.weight": torch.zeros(4, 4)}
    torch.save(more, tmp_path / "more.pt")
    refuse(tmp_path / "more.pt", "1 of its entries have no place in the model, such as detector.*instance_bbox_embed")


def test_a_folder_of_the_video_model_is_read(tmp_path: Path) -> None:
    """As transformers writes it, in shards, and with the names of ``facebook/sam3`` on the Hub."""
    video, written, hub = video_model(), tmp_path / "written", tmp_path / "hub"
    video.save_pretrained(written, max_shard_size="3MB")
    assert (written / "model.safetensors.index.json").exists()
    hub.mkdir()
    shutil.copy(written / "config.json", hub)
    save_file({name: value.clone() for name, value in video.state_dict().items()}, hub / "model.safetensors")
    for folder in (written, hub):
        read = read_checkpoint(folder)
        assert read.kind == "transformers"
        assert same(read.model, video.detector_model)
        assert read.tracker is not None
        for part in ("mask_decoder", "prompt_encoder", "shared_image_embedding"):
            assert same(read.tracker.get_submodule(part), video.tracker_model.get_submodule(part))
        assert same(read.tracker.vision_encoder.neck, video.tracker_neck)
        assert all(name.startswith("tracker_model.") for name in read.unexpected_keys)
    # transformers' own way in gives the same detector
    assert same(read.model, Sam3Model.from_pretrained(hub, config=read_config(hub), local_files_only=True))


def video_model() -> Sam3VideoModel:
    """A small video model with random weights."""
    torch.manual_seed(0)
    config, interactive = small_config(SIDE)
    detector, tracker = config.to_dict(), interactive.to_dict()
    fields = ("vision_config", "prompt_encoder_config", "mask_decoder_config")
    sizes = {"image_size": SIDE, "memory_attention_hidden_size": 32, "memory_encoder_hidden_size": 32}
    widths = {"mask_downsampler_embed_dim": 32, "memory_fuser_embed_dim": 32}
    stated = {"model_type": "sam3_tracker_video", **{f: tracker[f] for f in fields}, **sizes, **widths}
    return Sam3VideoModel(Sam3VideoConfig(detector_config=detector, tracker_config=stated))


def test_a_folder_of_the_detector_alone_is_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Sam3Model(small_config(SIDE)[0])
    model.save_pretrained(tmp_path)
    read = read_checkpoint(tmp_path)
    assert read.tracker is None
    assert read.unexpected_keys == ()
    assert same(read.model, model)
    assert read.sha256 == sha256_of(tmp_path / "model.safetensors")


def test_another_input_size_changes_tables_and_no_weight(published: Path, checkpoint: Checkpoint) -> None:
    config = with_input_size(small_config(SIDE)[0], 96)
    read = read_checkpoint(published, config)
    assert same(read.model, checkpoint.model)
    with torch.no_grad():
        features = VisionGraph(read.model)(torch.zeros(1, 3, 96, 96))
    assert features.coarse.shape[-2:] == (12, 12)
    assert features.fine.shape[-2:] == (48, 48)
    assert read.tracker is not None
    assert read.tracker.prompt_encoder.image_embedding_size == (12, 12)


@pytest.mark.parametrize("side", [0, -336, 1000, 1009])
def test_an_input_size_that_windows_do_not_fill_is_refused(side: int) -> None:
    with pytest.raises(CheckpointError, match=r"not a multiple of 336 pixels.*use \d+ or \d+"):
        with_input_size(published_config(), side)


def refuse(path: Path, reason: str, config: Sam3Config | None = None) -> None:
    """Reading must fail with that reason, which is a regular expression."""
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(path, config or small_config(SIDE)[0])


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path / "sam3.pt", r"sam3\.pt is not there")
    with pytest.raises(CheckpointError, match="is not there"):
        read_config(tmp_path / "sam3.pt")


def test_a_folder_without_configuration_or_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sam3.pt").touch()
    refuse(tmp_path, r"has no config\.json \(it holds sam3\.pt\)")
    (tmp_path / "config.json").write_text("{")
    refuse(tmp_path, "is not JSON")
    (tmp_path / "config.json").write_text('{"model_type": "sam2"}')
    refuse(tmp_path, r"is of the model 'sam2'; expected 'sam3' or 'sam3_video'")
    (tmp_path / "config.json").write_text('{"model_type": "sam3"}')
    refuse(tmp_path, r"neither model\.safetensors nor")
    index = {"weight_map": {"a": "model-1.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    refuse(tmp_path, r"of which model-1\.safetensors are missing")
    (tmp_path / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    refuse(tmp_path, "truncated or no safetensors file")


def test_a_truncated_file_is_refused(published: Path, tmp_path: Path) -> None:
    for kept in (0.5, 0.999):
        content = published.read_bytes()
        (tmp_path / "sam3.pt").write_bytes(content[: int(len(content) * kept)])
        refuse(tmp_path / "sam3.pt", "truncated or damaged; fetch it again")


class RunsCode:
    """Would write a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.target,)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    victim = tmp_path / "touched"
    torch.save({"detector": RunsCode(victim)}, tmp_path / "sam3.pt")
    refuse(tmp_path / "sam3.pt", "Python objects other than tensors")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(RunsCode(victim)))
    refuse(tmp_path / "bare.pt", "a bare pickle, which may run code")
    assert not victim.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3450000000\n",
            "git-LFS pointer.*git lfs pull",
        ),
        (b"<!doctype html><html>Access to model facebook/sam3 is restricted", "a web page"),
        (b"Access to model facebook/sam3 is restricted", r"not a file of torch\.save: expected .*, got b'Access"),
        (b"", r"not a file of torch\.save"),
    ],
)
def test_another_file_under_the_name_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "sam3.pt").write_bytes(content)
    refuse(tmp_path / "sam3.pt", reason)


def test_a_checkpoint_of_another_model_is_refused(entries: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "sam3.pt"
    torch.save({"image_encoder.trunk.weight": torch.zeros(3)}, path)
    refuse(
        path, r"not a whole SAM 3 checkpoint: \d+ entries are missing, such as detector\..* and \d+ more; it has 1 ent"
    )
    torch.save([torch.zeros(3)], path)
    refuse(path, "holds a list, expected a state dict")
    short = {n: v for n, v in entries.items() if "sam2_convs.0" not in n}
    torch.save(short, path)
    refuse(path, r"sam2_convs\.0\.dconv_2x2_0\.weight")


def test_wrong_shapes_and_types_are_refused(entries: dict[str, Tensor], published: Path, tmp_path: Path) -> None:
    qkv = "detector.backbone.vision_backbone.trunk.blocks.0.attn.qkv.weight"
    path = tmp_path / "sam3.pt"
    torch.save({**entries, qkv: torch.zeros(90, 32)}, path)
    refuse(path, r"blocks\.0\.attn\.qkv\.weight is \[90, 32\], which makes \[30, 32\]; expected \[32, 32\]")
    torch.save({**entries, qkv: torch.zeros(96, 32, dtype=torch.int8)}, path)
    refuse(path, r"qkv\.weight is torch\.int8, expected floating point")
    more = copy.deepcopy(small_config(SIDE)[0])
    more.detr_decoder_config.num_queries = 10
    refuse(published, r"SAM 3 with other sizes: .*query_embed.weight is \[9, 32\].*expected \[10, 32\]", more)


def test_a_file_that_changed_since_it_was_fetched_is_refused(published: Path, tmp_path: Path) -> None:
    path = tmp_path / "sam3.pt"
    path.write_bytes(published.read_bytes())
    now = datetime.now(timezone.utc)
    record = FetchRecord(source="s3://mine/sam3.pt", size=1, sha256=sha256_of(path), fetched_at=now)
    write_record(path, record)
    assert content_digest([path]) == record.sha256
    write_record(path, record.model_copy(update={"sha256": "0" * 64}))
    refuse(path, "has changed since it was fetched")
    record_path(path).write_text("{}")
    refuse(path, "is not the record of a fetched file")


def test_shards_have_one_digest_that_any_change_changes(tmp_path: Path) -> None:
    shards = [tmp_path / "model-1.safetensors", tmp_path / "model-2.safetensors"]
    for shard in shards:
        shard.write_bytes(b"weights")
    first = content_digest(shards)
    assert content_digest(shards[::-1]) == first
    shards[1].write_bytes(b"weightz")
    assert content_digest(shards) != first
    assert content_digest(shards[:1]) == sha256_of(shards[0])
