"""Environment variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from sam3edge.core.errors import EngineError, SettingsError
from sam3edge.images.depth import Depth
from sam3edge_serving import endpoint
from sam3edge_serving.endpoint.settings import SAGEMAKER_MODEL, Settings
from sam3edge_serving.endpoint.torch_settings import torch_options
from sam3edge_serving.environment import read_settings


def test_defaults_are_osmls() -> None:
    settings = read_settings(Settings, {"PATH": "/bin", "HOME": "/root"})
    assert settings.checkpoint == SAGEMAKER_MODEL
    assert (settings.phrases, settings.threshold, settings.port) == (("objects",), 0.6, 8080)
    assert (settings.compile, settings.precision, settings.prewarm) == (None, None, None)
    assert settings.compile_mode == "reduce-overhead"
    assert settings.fetch_hosts == ""


def test_every_variable_of_osmls_readme_is_read() -> None:
    settings = read_settings(
        Settings,
        {
            "CHECKPOINT_PATH": "/opt/checkpoint/sam3.pt",
            "DEFAULT_TEXT_PROMPT": "red car| ship",
            "CONFIDENCE_THRESHOLD": "0.3",
            "ENABLE_TORCH_COMPILE": "false",
            "MIXED_PRECISION": "BF16",
            "TORCH_COMPILE_MODE": "max-autotune",
            "PREWARM_GPU": "true",
        },
    )
    assert settings.checkpoint == Path("/opt/checkpoint/sam3.pt")
    assert settings.phrases == ("red car", "ship")
    assert (settings.threshold, settings.compile, settings.precision) == (0.3, False, "bf16")
    assert (settings.compile_mode, settings.prewarm) == ("max-autotune", True)


def test_an_empty_variable_counts_as_not_set() -> None:
    assert (
        read_settings(Settings, {"CONFIDENCE_THRESHOLD": "", "SAM3EDGE_SIXTEEN_BIT": "min-max"}).depth is Depth.MIN_MAX
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONFIDENCE_THRESHOLD", "1.1"),
        ("CONFIDENCE_THRESHOLD", "nan"),
        ("MIXED_PRECISION", "int4"),
        ("DEFAULT_TEXT_PROMPT", " | "),
        ("SAGEMAKER_BIND_TO_PORT", "70000"),
        ("SAM3EDGE_MAX_BATCH", "0"),
        ("SAM3EDGE_FETCH_HOSTS", "https://images.example.org"),
    ],
)
def test_what_is_wrong_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read_settings(Settings, {name: value})


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings(Settings, {"CONFIDENCE_THRESHOLD": "7", "SAM3EDGE_DRAIN_SECONDS": "soon"})
    for name in ("CONFIDENCE_THRESHOLD", "SAM3EDGE_DRAIN_SECONDS"):
        assert name in str(refused.value)


def test_the_readme_lists_every_setting_with_its_default() -> None:
    text = (Path(endpoint.__file__).parent / "README.md").read_text()
    table = {line.split("`")[1]: line.split("|")[2].strip(" `") for line in text.splitlines() if line.startswith("| `")}
    for field in Settings.model_fields.values():
        default = field.default.value if isinstance(field.default, Depth) else field.default
        shown = "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        assert table[str(field.alias)] == shown, field.alias


def given(**variables: str) -> Settings:
    return read_settings(Settings, variables)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (given(), ("fp32", "none", "eager")),
        (given(ENABLE_TORCH_COMPILE="true"), ("fp32", "default", "static")),
        (given(ENABLE_TORCH_COMPILE="true", TORCH_COMPILE_MODE="default"), ("fp32", "default", "static")),
        (given(MIXED_PRECISION="fp16"), ("bf16", "none", "eager")),
    ],
)
def test_torch_on_the_cpu(settings: Settings, expected: tuple[str, str, str]) -> None:
    options = torch_options(settings, on_gpu=False)
    assert (options.device, options.max_images) == ("cpu", settings.max_batch)
    assert (options.precision, options.compilation, options.launching) == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (given(), ("bf16", "default", "cuda-graphs")),
        (given(TORCH_COMPILE_MODE="max-autotune"), ("bf16", "max-autotune-no-cudagraphs", "cuda-graphs")),
        (given(TORCH_COMPILE_MODE="default", MIXED_PRECISION="fp32"), ("fp32", "default", "static")),
        (given(ENABLE_TORCH_COMPILE="false"), ("bf16", "none", "eager")),
    ],
)
def test_torch_on_a_gpu(settings: Settings, expected: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match="CUDA"):  # here is none
        torch_options(settings, on_gpu=True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    options = torch_options(settings, on_gpu=True)
    assert (options.precision, options.compilation, options.launching) == expected


def test_foreign_variables_are_told_and_end_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM3EDGE_API_BUCKET", "of another program")
    assert read_settings(Settings, {"SAM3EDGE_MAXBATCH": "8"}).max_batch == 8
    for name in ("SAM3EDGE_API_BUCKET", "SAM3EDGE_MAXBATCH"):
        assert f"{name} is not a setting" in caplog.text


def test_a_laptop_listens_to_itself_and_containers_to_everybody() -> None:
    assert read_settings(Settings).host == "127.0.0.1"
    for name in ("cpu", "gpu"):
        dockerfile = (Path(endpoint.__file__).parent / "docker" / f"Dockerfile.{name}").read_text()
        assert "SAM3EDGE_BIND_TO_HOST=0.0.0.0" in dockerfile
