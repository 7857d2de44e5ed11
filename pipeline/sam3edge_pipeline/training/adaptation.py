"""Which weights of a SAM 3 learn, and how fast."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from peft.utils import ModulesToSaveWrapper
from torch import nn
from transformers.models.sam3.modeling_sam3 import Sam3Model

from sam3edge_pipeline.training.recipe import Recipe

LORA_TARGETS = r".*\.(q_proj|k_proj|v_proj|o_proj)"
"""Every attention of the detector: ViT, text encoder, geometry encoder, DETR, mask decoder."""

LORA_HEADS = ("dot_product_scoring", "box_head", "presence_head", "mask_embedder", "instance_projection")
"""Small, and what a new concept is told by: learned as they are beside the low-rank additions."""

_LAYER = re.compile(r"vision_encoder\.backbone\.layers\.(\d+)\.")


def prepare(model: Sam3Model, recipe: Recipe) -> list[dict[str, Any]]:
    """Let learn what the recipe says, in place.

    Args:
        model: in float32.

    Returns:
        Parameter groups of an optimiser, each with its largest rate as ``lr`` and as ``base_lr``.
    """
    if recipe.adaptation == "lora":
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        inject_adapter_in_model(
            LoraConfig(r=recipe.rank, lora_alpha=2 * recipe.rank, target_modules=LORA_TARGETS), model
        )
        for name, module in model.named_modules():
            if name.rsplit(".", 1)[-1] in LORA_HEADS:
                module.requires_grad_(True)
        for name, parameter in model.named_parameters():
            if "token_embedding" in name:  # new words have no other place to be learned in
                parameter.requires_grad_(True)
    elif recipe.adaptation == "frozen-vision":
        model.vision_encoder.requires_grad_(False)
    if recipe.checkpoint_gradients:
        model.vision_encoder.backbone.gradient_checkpointing_enable()
    return groups(model, recipe)


def groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameters that learn, by rate and decay; vectors (biases, norms) are not decayed."""
    layers = 1 + max((int(m[1]) for n, _ in model.named_parameters() if (m := _LAYER.match(n))), default=0)
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
            found.setdefault((_rate(name, recipe, layers), decay), []).append(parameter)
    return [
        {"params": params, "lr": rate, "base_lr": rate, "weight_decay": decay}
        for (rate, decay), params in sorted(found.items(), key=lambda item: item[0])
    ]


def merge(model: Sam3Model) -> Sam3Model:
    """The model without its low-rank additions, which are added to its weights; of a model without any, itself.

    It changes in place, and is then what a checkpoint of SAM 3 holds.
    """
    for name, module in list(_adapted(model)):
        module.merge()
        owner, last = model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]
        setattr(owner, last, module.get_base_layer())
    return model


def _adapted(model: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, module in model.named_modules():
        if isinstance(module, ModulesToSaveWrapper):
            raise TypeError(f"{name} was wrapped by peft, which this code does not ask for")
        if isinstance(module, LoraLayer):
            yield name, module


def _rate(name: str, recipe: Recipe, layers: int) -> float:
    if name.startswith(("text_encoder.", "text_projection.")):
        return recipe.text_rate
    if not name.startswith("vision_encoder."):
        return recipe.transformer_rate
    layer = _LAYER.match(name)
    # patches come before the first layer, the feature pyramid follows the last one
    depth = int(layer[1]) if layer is not None else -1 if ".embeddings." in name else layers
    return float(recipe.vision_rate * recipe.layer_decay ** (layers - depth))
