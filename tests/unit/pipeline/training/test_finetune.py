"""Fine-tuning learns, continues where it was, and is the same on several processes as on one."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers.models.sam3.modeling_sam3 import Sam3Model

from sam3edge.core.errors import SettingsError
from sam3edge_export.checkpoint import read_checkpoint
from sam3edge_export.sam3.tokenizer import read_tokenizer, token_ids
from sam3edge_export.torch_engine.text_features import TextEncoder
from sam3edge_pipeline.datasets.examples import Example
from sam3edge_pipeline.synthetic import PHRASES
from sam3edge_pipeline.synthetic.examples import write_examples
from sam3edge_pipeline.training.adaptation import groups, merge, prepare
from sam3edge_pipeline.training.finetune import METRICS, STATE, Trained, finetune
from sam3edge_pipeline.training.objective import Detector, losses_of
from sam3edge_pipeline.training.processes import processes
from sam3edge_pipeline.training.recipe import Recipe
from sam3edge_pipeline.training.samples import QuestionPlan, Samples
from sam3edge_pipeline.training.vocabulary import add_words

pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("fine-tuning")]

ASSETS = Path(__file__).parents[4] / "assets"
KNOWN = (*PHRASES, "tank")
RECIPE = Recipe(steps=6, batch=2, prompts=2, transformer_rate=1e-3, text_rate=1e-3, clip=1.0, mask_points=64, warm_up=0)


@pytest.fixture(scope="module")
def demo() -> tuple[Sam3Model, Tokenizer]:
    """The demo model with two of its layers; whoever trains it takes a copy."""
    folder = ASSETS / "demo-checkpoint"
    model = read_checkpoint(folder).model
    del model.detr_decoder.layers[2:]
    return model, read_tokenizer(folder, 8)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    return list(write_examples(range(2_000_000, 2_000_012), tmp_path_factory.mktemp("scenes"), "train", KNOWN))


def run(
    demo: tuple[Sam3Model, Tokenizer],
    examples: Sequence[Example],
    work: Path,
    recipe: Recipe = RECIPE,
    **more: Any,
) -> Trained:
    """Teach a copy of the demo model what a tank is."""
    return finetune(deepcopy(demo[0]), demo[1], examples, ("tank",), recipe, work, **more)


def weights(model: Sam3Model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_the_scenes_of_this_test_show_what_is_to_be_learned(examples: list[Example]) -> None:
    assert any(example.of("tank") for example in examples)
    assert any("tank" in example.absent for example in examples)


@pytest.mark.long
def test_losses_fall(demo: tuple[Sam3Model, Tokenizer], examples: list[Example], tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    trained = run(demo, examples, tmp_path, progress=lambda step, steps, loss: told.append((step, steps)))
    assert trained.words == ("tank",)
    assert told == [(i, 6) for i in range(1, 7)]
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 7))
    assert {"class", "presence", "l1", "giou", "mask", "dice", "total"} <= lines[0].keys()
    assert trained.losses[-1] < trained.losses[0]


@pytest.mark.long
def test_an_interrupted_run_has_the_same_losses_and_weights_as_one_that_was_not(
    demo: tuple[Sam3Model, Tokenizer], examples: list[Example], tmp_path: Path
) -> None:
    whole = run(demo, examples, tmp_path / "whole")
    first = run(demo, examples, tmp_path / "parts", stop_after=2)
    rest = run(demo, examples, tmp_path / "parts")
    assert len(first.losses) == 2
    assert [*first.losses, *rest.losses] == pytest.approx(whole.losses, rel=1e-5)
    assert torch.allclose(weights(rest.model), weights(whole.model), atol=1e-6)


@pytest.mark.long
def test_a_run_that_was_killed_continues_from_its_last_state(
    demo: tuple[Sam3Model, Tokenizer], examples: list[Example], tmp_path: Path
) -> None:
    class Killed(BaseException):
        """As a signal ends a process: nothing is saved on the way out."""

    def kill(step: int, steps: int, loss: float) -> None:
        if step == 5:
            raise Killed

    with pytest.raises(Killed):
        run(demo, examples, tmp_path / "killed", save_every=2, progress=kill)
    rest = run(demo, examples, tmp_path / "killed", save_every=2)
    assert len(rest.losses) == 2  # steps 5 and 6: step 4 was the last that was saved
    whole = run(demo, examples, tmp_path / "whole")
    assert rest.losses == pytest.approx(whole.losses[4:], rel=1e-5)


def test_a_state_of_another_run_is_refused(
    demo: tuple[Sam3Model, Tokenizer], examples: list[Example], tmp_path: Path
) -> None:
    run(demo, examples, tmp_path, stop_after=1)
    assert (tmp_path / STATE).exists()
    with pytest.raises(SettingsError, match="of a run with other examples, phrases or numbers"):
        run(demo, examples, tmp_path, replace(RECIPE, batch=3))


def detector_on(demo: tuple[Sam3Model, Tokenizer], phrases: tuple[str, ...] = KNOWN) -> Detector:
    model = deepcopy(demo[0])
    tokenizer, _ = add_words(model, demo[1], phrases)
    tokens = torch.from_numpy(token_ids(tokenizer, phrases))
    return Detector(model, phrases, tokens, vision_learns=False).eval()


def test_what_is_absent_has_a_loss_of_its_own(demo: tuple[Sam3Model, Tokenizer], examples: list[Example]) -> None:
    """Of images without any object, presence and every query still learn to be low."""
    empty = [replace(e, objects=()) for e in examples[:2]]
    plan = QuestionPlan(Samples([*examples, *empty], 128), ("tank",), RECIPE)
    questions = next(q for step in range(50) if float((q := plan.questions(step)).present.min()) == 0)
    nothing = replace(
        questions,
        present=torch.zeros_like(questions.present),
        pair=questions.pair[:0],
        boxes=questions.boxes[:0],
        masks=questions.masks[:0],
    )
    detector = detector_on(demo)
    losses = losses_of(detector, nothing, RECIPE, 0)
    assert float(losses["presence"].detach()) > 0
    assert float(losses["class"].detach()) > 0
    torch.stack(list(losses.values())).sum().backward()
    gradient = detector.model.detr_decoder.presence_head.layer3.weight.grad
    assert gradient is not None
    assert float(gradient.abs().sum()) > 0


def test_every_step_asks_for_something_new_something_known_and_something_absent(examples: list[Example]) -> None:
    samples = Samples(examples, 128)
    plan = QuestionPlan(samples, ("tank",), replace(RECIPE, batch=4, prompts=3))
    asked = [plan.questions(step) for step in range(20)]
    assert all("tank" in q.phrases for q in asked)
    assert all(0.0 in q.present.tolist() and 1.0 in q.present.tolist() for q in asked)
    assert len({p for q in asked for p in q.phrases}) > 5
    again = QuestionPlan(Samples(examples, 128), ("tank",), replace(RECIPE, batch=4, prompts=3)).questions(7)
    assert torch.equal(again.images, asked[7].images)
    assert (again.phrases, again.pair.tolist()) == (asked[7].phrases, asked[7].pair.tolist())


def test_where_a_new_phrase_is_known_to_be_absent_it_is_asked_for(examples: list[Example]) -> None:
    """Images that say nothing of it are drawn for what they know."""
    silent = [replace(e, exhaustive=PHRASES, id=e.id[::-1]) for e in examples]
    samples = Samples([*examples, *silent], 128)
    plan = QuestionPlan(samples, ("tank",), replace(RECIPE, batch=4, prompts=3))
    shows: set[str] = set()
    without: set[str] = set()
    retained: set[str] = set()
    for step in range(30):
        chosen = [samples.examples[i] for i in plan.images(step)]
        kinds = [
            "retained" if "tank" not in e.exhaustive else "without" if "tank" in e.absent else "shows" for e in chosen
        ]
        assert sorted(kinds) == ["retained", "shows", "shows", "without"]
        questions = plan.questions(step)
        for i, example in enumerate(chosen):
            asked = {
                p for p, owner in zip(questions.phrases, questions.image_index.tolist(), strict=True) if owner == i
            }
            assert ("tank" in asked) == ("tank" in example.exhaustive)
        for kind, example in zip(kinds, chosen, strict=True):
            {"shows": shows, "without": without, "retained": retained}[kind].add(example.id)
    assert len(shows) > 0
    assert len(without) > 1
    assert len(retained) > 1


def test_objects_are_where_the_examples_say(examples: list[Example]) -> None:
    plan = QuestionPlan(Samples(examples, 128), ("tank",), replace(RECIPE, flips=False))
    for step in range(4):
        questions = plan.questions(step)
        for mask, (cx, cy, w, h) in zip(questions.masks, questions.boxes.tolist(), strict=True):
            ys, xs = torch.nonzero(mask, as_tuple=True)
            assert xs.min() / 128 == pytest.approx(cx - w / 2, abs=1e-6)
            assert (ys.max() + 1) / 128 == pytest.approx(cy + h / 2, abs=1e-6)


def test_phrases_of_which_not_everything_is_known_are_not_asked(examples: list[Example]) -> None:
    partly = [replace(e, exhaustive=("tank", "ship")) for e in examples]
    plan = QuestionPlan(Samples(partly, 128), ("tank",), RECIPE)
    assert {p for step in range(20) for p in plan.questions(step).phrases} <= {"tank", "ship"}


def test_nothing_to_learn_and_nothing_absent_are_refused(examples: list[Example]) -> None:
    with pytest.raises(SettingsError, match="no example shows any of barrel"):
        QuestionPlan(Samples(examples, 128), ("barrel",), RECIPE)
    everything = [replace(e, exhaustive=tuple({o.phrase for o in e.objects})) for e in examples]
    with pytest.raises(SettingsError, match="says that a phrase is absent"):
        QuestionPlan(Samples(everything, 128), ("tank",), RECIPE)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"steps": 0}, "steps: expected 1"),
        ({"prompts": 1}, "prompts: expected 2"),
        ({"clip": float("nan")}, "clip: expected"),
        ({"adaptation": "half"}, "adaptation: expected one of frozen-vision, lora, full, got 'half'"),
    ],
)
def test_numbers_out_of_range_are_refused(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        replace(RECIPE, **change)  # type: ignore[arg-type]


def test_new_words_begin_as_the_unknown_word_and_old_phrases_mean_what_they_did(
    demo: tuple[Sam3Model, Tokenizer],
) -> None:
    model = deepcopy(demo[0])
    before = TextEncoder(model, demo[1])(["metal tag", "silo"])[0]
    tokenizer, words = add_words(model, demo[1], ["silo tag", "old silo"])
    assert words == ("old", "silo")
    after = TextEncoder(model, tokenizer)(["metal tag", "silo"])[0]
    assert torch.equal(before, after)
    assert tokenizer.encode("silo").ids != tokenizer.encode("old").ids
    assert add_words(model, tokenizer, ["silo"]) == (tokenizer, ())


def test_only_what_the_recipe_says_learns(demo: tuple[Sam3Model, Tokenizer]) -> None:
    frozen = deepcopy(demo[0])
    prepare(frozen, RECIPE)
    learns = {name.split(".")[0] for name, p in frozen.named_parameters() if p.requires_grad}
    assert "vision_encoder" not in learns
    assert {"detr_decoder", "mask_decoder", "text_encoder"} <= learns
    adapted = deepcopy(demo[0])
    prepare(adapted, replace(RECIPE, adaptation="lora"))
    heads = ("scoring", "box_head", "presence_head", "mask_embedder", "instance_projection", "token_embedding")
    plain = [n for n, p in adapted.named_parameters() if p.requires_grad and "lora_" not in n]
    assert all(any(head in n for head in heads) for n in plain)
    assert any("vision_encoder" in n and "lora_" in n for n, p in adapted.named_parameters() if p.requires_grad)


def test_rates_fall_with_depth_and_vectors_are_not_decayed(demo: tuple[Sam3Model, Tokenizer]) -> None:
    model = deepcopy(demo[0])
    found = groups(model, Recipe())
    rate = {id(p): (g["lr"], g["weight_decay"]) for g in found for p in g["params"]}
    assert len(rate) == sum(1 for _ in model.parameters())
    layers = model.vision_encoder.backbone.layers
    rates = [rate[id(layer.mlp.fc1.weight)][0] for layer in layers]
    assert rates == pytest.approx([2.5e-5 * 0.9**n for n in range(len(layers), 0, -1)])
    assert rate[id(model.detr_decoder.query_embed.weight)] == (8e-5, 0.1)
    assert rate[id(layers[0].mlp.fc1.bias)][1] == 0
    assert rate[id(model.text_projection.weight)][0] == 5e-6


@pytest.mark.long
def test_low_rank_additions_are_merged_into_the_weights_of_a_plain_model(
    demo: tuple[Sam3Model, Tokenizer], examples: list[Example], tmp_path: Path
) -> None:
    trained = run(demo, examples, tmp_path, replace(RECIPE, adaptation="lora", vision_rate=1e-2), stop_after=2)
    plain = deepcopy(demo[0])
    add_words(plain, demo[1], ["tank"])
    assert trained.model.state_dict().keys() == plain.state_dict().keys()
    q = "vision_encoder.backbone.layers.0.attention.q_proj.weight"
    assert not torch.equal(trained.model.state_dict()[q], plain.state_dict()[q])
    k = "vision_encoder.backbone.layers.0.mlp.fc1.weight"
    assert torch.equal(trained.model.state_dict()[k], plain.state_dict()[k])
    assert merge(trained.model) is trained.model


SECOND = """
import sys, torch, pickle
from pathlib import Path
from unit.pipeline.training.test_finetune import RECIPE, run
from sam3edge_pipeline.training.processes import processes
torch.set_num_threads(1)
demo, examples = pickle.loads(Path(sys.argv[1]).read_bytes())
with processes(torch.device("cpu")) as group:
    run(demo, examples, Path(sys.argv[2]), group=group, stop_after=2)
"""


@pytest.mark.long
def test_two_processes_learn_what_one_does(
    demo: tuple[Sam3Model, Tokenizer], examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process is the first of both."""
    alone = run(demo, examples, tmp_path / "alone", stop_after=2)
    (tmp_path / "given").write_bytes(pickle.dumps((demo, examples)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    environment = {**os.environ, **where, "RANK": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    second = subprocess.Popen(
        [sys.executable, "-c", SECOND, str(tmp_path / "given"), str(tmp_path / "both")], env=environment
    )
    for name, value in {**where, "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    try:
        with processes(torch.device("cpu")) as group:
            both = run(demo, examples, tmp_path / "both", group=group, stop_after=2)
        assert second.wait(300) == 0
    finally:
        second.kill()
    assert both.losses == pytest.approx(alone.losses, rel=1e-3)
    before = deepcopy(demo[0])
    add_words(before, demo[1], ["tank"])
    # as a whole: where a gradient is nothing but rounding, AdamW makes a whole step of its sign
    moved, apart = weights(alone.model) - weights(before), weights(both.model) - weights(alone.model)
    assert float(apart.norm()) < 0.1 * float(moved.norm())
