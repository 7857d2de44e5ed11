"""The torch engine against the bundle's ONNX engine, its static form against its plain one, bf16 against fp32."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from torch import Tensor
from transformers.models.sam3.modeling_sam3 import Sam3Model

import contract.test_engine_contract as contract
from sam3edge.bundle.golden import golden_frame
from sam3edge.bundle.manifest import read_manifest
from sam3edge.bundle.verify import model_files
from sam3edge.core.errors import EngineError
from sam3edge.core.matching import mask_iou
from sam3edge.core.ports import Engine
from sam3edge.core.types import EngineOutput, Exemplar, Frame, Instance, Prompt
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions
from sam3edge.engines.ort import ort
from sam3edge_export.checkpoint import read_checkpoint
from sam3edge_export.torch_engine import Identity, TorchEngine, TorchOptions, attention, cloud_options, transfer
from sam3edge_export.torch_engine.compiling import compile_regions
from sam3edge_export.torch_engine.precision import NARROWED, SINGLE, SINGLE_MASKS
from sam3edge_export.torch_engine.preprocess import to_square, to_square_in_float
from sam3edge_export.torch_engine.stages import DecoderInputs
from sam3edge_export.torch_engine.static import sizes_up_to
from sam3edge_export.torch_engine.text_features import PhraseFeatures
from sam3edge_pipeline.training.model import word_tokenizer
from support import small_sam3
from support.samples import frame

pytestmark = pytest.mark.xdist_group("engine of torch")

STATIC = TorchOptions(launching="static", max_images=2, max_pairs=4)
IDENTITY = Identity("demo", "1.0.0", "sha256:" + "0" * 64)


@pytest.fixture(scope="module")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that can be exported, of a model with random weights."""
    return small_sam3.small_bundle(tmp_path_factory)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """So that tests beside these have the other cores, and sums are the same from run to run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def trained() -> Sam3Model:
    """The demo bundle's detector; to be copied, since an engine changes its model."""
    return read_checkpoint(Path(__file__).parents[3] / "assets" / "demo-checkpoint").model


def known_phrases(bundle: Path) -> PhraseFeatures:
    """The bundle's own features: its text encoder is not in it."""
    with np.load(bundle / "prompts.npz") as stored:
        known = {
            str(phrase): (torch.from_numpy(features.astype(np.float32)), torch.from_numpy(mask))
            for phrase, features, mask in zip(stored["phrases"], stored["features"], stored["mask"], strict=True)
        }

    def encode(phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        return torch.stack([known[p][0] for p in phrases]), torch.stack([known[p][1] for p in phrases])

    return PhraseFeatures(encode, 100)


@pytest.fixture
def make(trained: Sam3Model, demo_bundle: Path) -> Callable[..., TorchEngine]:
    """Makes engines of the trained detector."""

    def engine(options: TorchOptions | None = None) -> TorchEngine:
        made = TorchEngine(deepcopy(trained), word_tokenizer(), IDENTITY, options)
        made._phrases = known_phrases(demo_bundle)
        return made

    return engine


@pytest.fixture
def case(make: Callable[..., TorchEngine], demo_bundle: Path) -> Iterator[contract.Case]:
    """For the engine contract."""
    engine = make()
    yield contract.Case(engine, golden_frame(demo_bundle), "metal tag", "ship")
    engine.close()
    engine.close()


KEPT = [name for name in vars(contract) if name.startswith("test_") and "unknown" not in name]
"""Every test of the contract but those of unknown phrases: an engine with a text encoder knows them all."""

globals().update({name: getattr(contract, name) for name in KEPT})


def test_the_contract_is_tested_here() -> None:
    assert len(KEPT) >= 8


def counted(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each stage runs."""
    runs: Counter[str] = Counter()

    def count(stage: str, call: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object) -> object:
            runs[stage] += 1
            return call(*args)

        return run

    for stage in ("encode", "decode", "predict_masks"):
        monkeypatch.setattr(engine._runner, stage, count(stage, getattr(engine._runner, stage)))
    return runs


def assert_same(found: EngineOutput, expected: EngineOutput, mask_tolerance: float = 1e-3) -> None:
    assert len(found.instances) == len(expected.instances)
    for a, b in zip(found.instances, expected.instances, strict=True):
        assert a.prompt == b.prompt
        assert a.score == pytest.approx(b.score, abs=1e-4)
        assert a.box == pytest.approx(b.box, abs=0.05)
        np.testing.assert_allclose(a.mask, b.mask, atol=mask_tolerance)


def iou(a: Instance, b: Instance) -> float:
    return float(mask_iou([a.mask > 0], [b.mask > 0])[0, 0])


@pytest.mark.parametrize("launching", ["eager", "static"])
def test_it_finds_what_the_bundle_finds(make: Callable[..., TorchEngine], demo_bundle: Path, launching: str) -> None:
    manifest = read_manifest(demo_bundle)
    device = OnnxEngine(model_files(demo_bundle, manifest), OnnxOptions(("CPUExecutionProvider",), threads=1))
    prompts = [Prompt(phrase, 0.05) for phrase in manifest.vocabulary]
    expected = device.segment(golden_frame(demo_bundle), prompts)
    assert len(expected.instances) >= 2
    found = make(TorchOptions(launching=launching)).segment(golden_frame(demo_bundle), prompts)  # type: ignore[arg-type]
    assert_same(found, expected, mask_tolerance=0.02)  # a grey level of the resize, in the end


def test_many_frames_are_answered_as_one_by_one(make: Callable[..., TorchEngine], demo_bundle: Path) -> None:
    golden = golden_frame(demo_bundle)
    wide = frame(np.ascontiguousarray(golden.image[:, ::-1]))
    asked = [
        [Prompt("metal tag", 0.1), Prompt("hole", 0.02)],
        [],
        [Prompt("scratch", 0.02)],
        [Prompt("metal tag", 0.1)],
    ]
    frames = [golden, golden, wide, wide]
    plain, static = make(), make(TorchOptions(launching="static", max_images=2, max_pairs=3))
    together = static.segment_many(frames, asked)
    assert sum(len(s.instances) for s in together) >= 3
    assert together[1].instances == ()
    for one, prompts, found in zip(frames, asked, together, strict=True):
        assert_same(found, plain.segment(one, prompts) if prompts else EngineOutput((), {}))


@pytest.mark.parametrize("options", [TorchOptions(), STATIC])
def test_stages_run_once_for_everything_that_is_asked(
    make: Callable[..., TorchEngine], demo_bundle: Path, monkeypatch: pytest.MonkeyPatch, options: TorchOptions
) -> None:
    engine, golden = make(options), golden_frame(demo_bundle)
    runs = counted(engine, monkeypatch)
    engine.segment_many([golden] * 2, [[Prompt("metal tag", 0.1), Prompt("ship", 0.1)]] * 2)
    assert runs == {"encode": 1, "decode": 1, "predict_masks": 1}
    engine.segment(golden, [Prompt("ship", 1.0)])
    assert runs == {"encode": 2, "decode": 2, "predict_masks": 1}
    engine.segment(golden, [])
    assert runs == {"encode": 2, "decode": 2, "predict_masks": 1}


def test_what_was_left_of_an_earlier_run_changes_nothing(make: Callable[..., TorchEngine], demo_bundle: Path) -> None:
    engine, golden = make(STATIC), golden_frame(demo_bundle)
    prompts = [Prompt("metal tag", 0.1), Prompt("scratch", 0.02), Prompt("hole", 0.02)]
    before = engine.segment(golden, prompts)
    noise = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    engine.segment_many([frame(noise)] * 2, [[Prompt("tree", -1.0), Prompt("road", -1.0)]] * 2)
    assert_same(engine.segment(golden, prompts), before, mask_tolerance=1e-6)


def one_by_one(engine: Engine, golden: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
    """Every prompt asked alone."""
    found = [engine.segment(golden, [prompt]) for prompt in prompts]
    return EngineOutput(tuple(i for s in found for i in s.instances), {})


EXEMPLARS = (
    Prompt("some", 0.0, exemplars=(Exemplar((10, 10, 60, 40)), Exemplar((0, 0, 12.5, 60), positive=False))),
    Prompt("other", 0.0),
    Prompt("visual", 0.0, exemplars=(Exemplar((-10, 40, 30, 1000)),)),
)


@pytest.mark.timeout(400)  # where nobody has made the small bundle yet
@pytest.mark.parametrize("launching", ["eager", "static"])
def test_exemplars_are_answered_as_the_bundle_answers_them(small_bundle: Path, launching: str) -> None:
    side = small_sam3.SIDE  # so that nothing is resized: one grey level moves the masks of random weights by 4e-3
    picture = frame(np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8))
    device = OnnxEngine(small_sam3.model_files(small_bundle), OnnxOptions(("CPUExecutionProvider",), threads=1))
    options = TorchOptions(launching=launching, max_pairs=4, max_images=2)  # type: ignore[arg-type]
    engine = TorchEngine(small_sam3.small_model(), word_tokenizer(), IDENTITY, options)
    engine._phrases = known_phrases(small_bundle)
    expected = one_by_one(device, picture, EXEMPLARS)
    assert len(expected.instances) == 3 * small_sam3.QUERIES
    assert_same(engine.segment(picture, EXEMPLARS), expected)
    by_text = [replace(p, exemplars=()) for p in EXEMPLARS]
    without = engine.segment(picture, by_text)  # nothing of the boxes is left in the buffers
    assert_same(without, device.segment(picture, by_text))
    assert any(abs(a.score - b.score) > 1e-3 for a, b in zip(without.instances, expected.instances, strict=True))


def test_exemplars_that_cannot_be_used_are_named_and_the_rest_is_answered(
    make: Callable[..., TorchEngine], demo_bundle: Path
) -> None:
    golden = golden_frame(demo_bundle)
    beyond = Prompt("hole", exemplars=(Exemplar((-20, -20, -1, 5)),))
    too_many = Prompt("ship", exemplars=(Exemplar((0, 0, 9, 9)),) * 9)
    found = make(STATIC).segment(golden, [beyond, too_many, Prompt("metal tag")])
    assert {i.prompt.text for i in found.instances} == {"metal tag"}
    assert "covers nothing of the frame" in found.unsupported_prompts["hole"]
    assert "9 exemplars" in found.unsupported_prompts["ship"]
    assert make().segment(golden, [beyond]).instances == ()


def test_an_observer_sees_what_the_stages_give(
    trained: Sam3Model, make: Callable[..., TorchEngine], demo_bundle: Path
) -> None:
    seen: dict[str, dict[str, npt.NDArray[np.float32]]] = {}

    def observe(stage: str, tensors: Mapping[str, npt.NDArray[np.float32]]) -> None:
        seen[stage] = dict(tensors)

    options = TorchOptions(precision="bf16")
    engine = TorchEngine(deepcopy(trained), word_tokenizer(), IDENTITY, options, observe=observe)
    engine._phrases = known_phrases(demo_bundle)
    found = engine.segment(golden_frame(demo_bundle), [Prompt("metal tag", 0.3), Prompt("ship", 0.3)])
    assert {name: t.shape for name, t in seen["vision"].items()} == {
        "fine": (1, 96, 64, 64), "medium": (1, 96, 32, 32), "coarse": (1, 96, 16, 16), "geometry": (1, 1, 96)
    }  # fmt: skip
    shapes = {"logits": (2, 64), "presence": (2, 1), "scores": (2, 64), "boxes": (2, 64, 4)}
    assert {name: t.shape for name, t in seen["decoder"].items()} == shapes
    assert {t.dtype for tensors in seen.values() for t in tensors.values()} == {np.dtype(np.float32)}
    assert found.instances[0].score == seen["decoder"]["scores"][0].max()


def test_warming_up_records_every_size_and_nothing_is_recorded_later(
    make: Callable[..., TorchEngine], demo_bundle: Path
) -> None:
    engine = make(TorchOptions(launching="static", max_images=1, max_pairs=2))
    engine._phrases = PhraseFeatures(lambda p: (torch.zeros(len(p), 8, 96), torch.ones(len(p), 8).bool()), 10)
    engine.warm_up()
    recorded = dict(engine._runner._runs)  # type: ignore[union-attr]
    assert set(recorded) == {("vision", 1), *((s, size) for s in ("exemplars", "decoder", "masks") for size in (1, 2))}
    engine.segment_many([golden_frame(demo_bundle)] * 2, [[Prompt("hole", -1.0)] * 2] * 2)
    assert recorded == engine._runner._runs  # type: ignore[union-attr]


def test_static_features_of_another_runner_are_refused(make: Callable[..., TorchEngine]) -> None:
    one, other = make(STATIC)._runner, make(STATIC)._runner
    assert one is not None
    assert other is not None
    pixels = torch.zeros(1, 3, 128, 128)
    inputs = DecoderInputs(torch.zeros(1).long(), torch.zeros(1, 8, 96), torch.ones(1, 8).bool(), None)
    with torch.no_grad(), pytest.raises(ValueError, match="from elsewhere"):
        other.decode(one.encode(pixels), inputs)


def test_sizes() -> None:
    assert sizes_up_to(1) == (1,)
    assert sizes_up_to(16) == (1, 2, 4, 8, 16)
    assert sizes_up_to(12) == (1, 2, 4, 8, 12)


def test_half_precision_finds_the_same_objects(make: Callable[..., TorchEngine], demo_bundle: Path) -> None:
    prompts = [Prompt("metal tag", 0.3), Prompt("scratch", 0.3), Prompt("hole", 0.3)]
    golden = golden_frame(demo_bundle)
    single = make().segment(golden, prompts).instances
    half = make(TorchOptions(precision="bf16", launching="static")).segment(golden, prompts).instances
    assert [i.prompt for i in half] == [i.prompt for i in single]
    assert single
    for a, b in zip(half, single, strict=True):
        assert a.score == pytest.approx(b.score, abs=5e-3)
        assert a.box == pytest.approx(b.box, abs=1)
        assert iou(a, b) >= 0.995


def test_what_is_computed_from_coordinates_stays_in_single_precision(make: Callable[..., TorchEngine]) -> None:
    engine = make(TorchOptions(precision="bf16"))
    stages = engine._runner._stages  # type: ignore[union-attr]
    decoder, masks = stages.decoder.decoder, stages.masks.decoder
    wide = [*(getattr(decoder, name) for name in SINGLE), *(getattr(masks, name) for name in SINGLE_MASKS)]
    wide += [decoder.reference_points, stages.decoder.scoring]
    assert {p.dtype for module in wide for p in module.parameters()} == {torch.float32}
    products = [
        m for part in (decoder.layers, stages.vision.encoder) for m in part.modules() if isinstance(m, NARROWED)
    ]
    assert {p.dtype for module in products for p in module.parameters()} == {torch.bfloat16}
    assert {b.dtype for b in stages.vision.encoder.buffers()} == {torch.float32}  # rotary angles


def test_a_model_that_an_engine_has_taken_over_is_refused(trained: Sam3Model) -> None:
    model = deepcopy(trained)
    TorchEngine(model, word_tokenizer(), IDENTITY, TorchOptions(precision="bf16"))
    with pytest.raises(EngineError, match=r"expected weights in float32, got torch\.bfloat16"):
        TorchEngine(model, word_tokenizer(), IDENTITY)


@pytest.mark.long
def test_repeated_layers_share_compiled_programs_and_nothing_breaks_their_graphs(
    trained: Sam3Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a compiler that changes nothing: what is checked is that torch can trace every region whole."""
    monkeypatch.setattr(attention, "LONG", 100)  # so that the small model's attention takes cuDNN's way
    attending: list[int] = []

    def compiler(program: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        attending.append(sum("scaled_dot_product" in str(node.target) for node in program.graph.nodes))
        return program.forward

    model = deepcopy(trained)
    del model.detr_decoder.layers[2:]
    options = TorchOptions(launching="static", max_images=1, max_pairs=1)
    engine = TorchEngine(model, word_tokenizer(), IDENTITY, options)
    prompts = [Prompt("metal tag", -1.0)]
    expected = engine.segment(frame(), prompts)
    attention.prefer_cudnn(model)
    torch._dynamo.reset()
    compile_regions(model, engine._runner._stages.decoder, backend=compiler)  # type: ignore[union-attr]
    assert_same(engine.segment(frame(), prompts), expected)
    # five ViT layers are two programs, with windows and without (one attention each); the layer of the geometry encoder
    # is one (two attentions), those of the DETR encoder two, for the first reads the feature map as it lies, and the
    # two of the DETR decoder (three attentions) are one
    assert sorted(n for n in attending if n) == [1, 1, 2, 2, 2, 3]
    programs = len(attending)
    engine.segment(frame(), prompts)
    assert len(attending) == programs


def test_the_model_takes_the_other_attention_where_it_is_told_to(
    make: Callable[..., TorchEngine], demo_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "LONG", 100)
    wanted: list[tuple[object, ...]] = []
    original = attention.sdpa_kernel

    def kernel(backends: list[object], set_priority: bool) -> object:
        wanted.append((*backends, set_priority))
        return original(backends, set_priority)  # type: ignore[arg-type]

    monkeypatch.setattr(attention, "sdpa_kernel", kernel)
    engine, prompts = make(), [Prompt("metal tag", 0.1)]
    expected = engine.segment(golden_frame(demo_bundle), prompts)
    assert not wanted
    attention.prefer_cudnn(engine._runner._stages.model)  # type: ignore[union-attr]
    assert_same(engine.segment(golden_frame(demo_bundle), prompts), expected)
    assert set(wanted) == {(*attention.PREFERENCE, True)}


def test_phrases_are_encoded_once_and_the_oldest_leave() -> None:
    asked: list[list[str]] = []

    def encode(phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        asked.append(list(phrases))
        return torch.tensor([[[float(len(p))]] for p in phrases]), torch.ones(len(phrases), 1).bool()

    features = PhraseFeatures(encode, capacity=2)
    assert features.look_up(["a", "bb", "a"])[0].flatten().tolist() == [1, 2, 1]
    features.look_up(["a"])
    assert features.look_up(["ccc"])[0].flatten().tolist() == [3]
    features.look_up(["a"])
    features.look_up(["bb"])
    assert asked == [["a", "bb"], ["ccc"], ["bb"]]
    assert features.look_up(["x" * n for n in range(1, 6)])[0].flatten().tolist() == [1, 2, 3, 4, 5]


def test_its_own_text_encoder_reads_any_phrase(trained: Sam3Model) -> None:
    engine = TorchEngine(deepcopy(trained), word_tokenizer(), IDENTITY)
    found = engine.segment(frame(), [Prompt("xyzzy", 1.0), Prompt("metal tag", 1.0)])
    assert not found.unsupported_prompts


@pytest.mark.parametrize("size", [(1, 1), (127, 129), (300, 301), (500, 420)])
def test_every_resize_is_within_a_grey_level_of_pillow(size: tuple[int, int], demo_bundle: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = pillow(image, 128)
    integer, single = to_square(torch.from_numpy(image), 128), to_square_in_float(torch.from_numpy(image), 128)
    graph = resize_of(demo_bundle / "vision.onnx").run(None, {"image": image[None]})[0][0]
    for found, share in ((integer.numpy(), 0.01), (single.numpy(), 0.02), (graph, 0.01)):
        difference = np.abs(found.astype(int).transpose(1, 2, 0) - expected)
        assert difference.max() <= 1
        assert (difference > 0).mean() <= share


def pillow(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.int64]:
    """``Image.resize((side, side), BILINEAR)`` of Pillow: src/libImaging/Resample.c, with its 22 bits of fraction."""

    def along(levels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        scale = max(1.0, levels.shape[0] / side)
        centers = (np.arange(side) + 0.5) * levels.shape[0] / side
        rows = np.arange(levels.shape[0])
        first = np.clip((centers - scale + 0.5).astype(int), 0, None)[:, None]
        last = np.clip((centers + scale + 0.5).astype(int), None, levels.shape[0])[:, None]
        weights = np.clip(1 - np.abs((rows - centers[:, None] + 0.5) / scale), 0, None)
        weights *= (rows >= first) & (rows < last)
        integers = np.rint(weights / weights.sum(1, keepdims=True) * 2**22).astype(np.int64)
        return np.clip((np.tensordot(integers, levels, 1) + 2**21) >> 22, 0, 255)

    wide = along(image.astype(np.int64).transpose(1, 0, 2)).transpose(1, 0, 2)
    return along(wide)


def resize_of(path: Path) -> ort.InferenceSession:
    """The part of a vision graph that resizes."""
    model = onnx.load(path)
    levels = next(node.output[0] for node in model.graph.node if node.op_type == "Resize")
    model.graph.output.append(onnx.helper.make_tensor_value_info(levels, onnx.TensorProto.UINT8, None))
    part = onnx.utils.Extractor(model).extract_model(["image"], [levels])
    return ort.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])


def failing(engine: TorchEngine, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(_: Tensor) -> None:
        raise error

    monkeypatch.setattr(engine._runner, "encode", encode)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), r"no memory left .* lower max_images \(now 16\) or max_pairs"),
        (RuntimeError("an illegal address"), r"torch:cpu failed when segmenting frame f+: an illegal address"),
    ],
)
def test_what_torch_raises_becomes_an_engine_error(
    make: Callable[..., TorchEngine], monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    engine = make()
    failing(engine, error, monkeypatch)
    with pytest.raises(EngineError, match=message):
        engine.segment(frame(), [Prompt("hole")])


def test_a_closed_engine_says_so(make: Callable[..., TorchEngine]) -> None:
    engine = make()
    engine.close()
    with pytest.raises(EngineError, match="was closed"):
        engine.segment(frame(), [Prompt("hole")])


def test_prompts_are_needed_for_every_frame(make: Callable[..., TorchEngine]) -> None:
    with pytest.raises(ValueError, match="each of 2 frames, got 1"):
        make().segment_many([frame(), frame()], [[]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "cpu, cuda or cuda:N, not 'tpu'"),
        ({"launching": "cuda-graphs"}, "need a CUDA device"),
        ({"max_pairs": 0}, "max_pairs must be 1 or more"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        TorchOptions(**options)  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_without_a_gpu_the_cloud_options_say_what_is_missing() -> None:
    with pytest.raises(EngineError, match="sees no CUDA device"):
        cloud_options()


def test_laps_of_a_stage_add_up() -> None:
    clock = transfer.HostClock()
    for stage in ("decoder", "masks", "decoder"):
        clock.lap(stage)
    assert list(clock.read()) == ["decoder", "masks"]


@pytest.mark.gpu
@pytest.mark.timeout(900)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_cuda_graphs_find_what_the_cpu_finds(
    make: Callable[..., TorchEngine], demo_bundle: Path, precision: str
) -> None:
    """What only a GPU can show: recording, replaying, code compiled for it, copies through page-locked memory."""
    prompts = [Prompt(phrase, 0.3) for phrase in read_manifest(demo_bundle).vocabulary]
    golden = golden_frame(demo_bundle)
    expected = make().segment_many([golden] * 3, [prompts[:2], prompts, []])
    options = TorchOptions("cuda", precision, "default", "cuda-graphs", max_images=4)  # type: ignore[arg-type]
    engine = make(options)
    for _ in range(3):
        found = engine.segment_many([golden] * 3, [prompts[:2], prompts, []])
        for a, b in zip(found, expected, strict=True):
            assert [i.prompt for i in a.instances] == [i.prompt for i in b.instances]
            for one, other in zip(a.instances, b.instances, strict=True):
                assert one.score == pytest.approx(other.score, abs=1e-2)
                assert iou(one, other) >= 0.995
    engine.close()
