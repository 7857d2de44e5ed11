"""Settings, the entry point that reads them, and what the functions' zip must hold."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tomllib

from sam3edge.core.errors import SettingsError
from sam3edge_serving.api import handler
from sam3edge_serving.api.images import Image
from sam3edge_serving.api.lambda_package import REQUIREMENTS, copy_sources
from sam3edge_serving.api.model import DetectionQuery
from sam3edge_serving.api.settings import AuthorizerSettings, Settings
from sam3edge_serving.api.wiring import assemble
from sam3edge_serving.environment import read_settings
from sam3edge_serving.http.errors import BadRequest
from sam3edge_simulator.api_gateway.__main__ import main
from sam3edge_simulator.api_gateway.events import HttpRequest, to_event
from sam3edge_simulator.api_gateway.gateway import Context
from support.api_rig import Aws

ROOT = Path(__file__).parents[4]
ENDPOINT = {"SAM3EDGE_API_ENDPOINT_NAME": "my-endpoint"}


def test_defaults() -> None:
    settings = read_settings(Settings, {**ENDPOINT, "SAM3EDGE_API_BUCKET": "", "PATH": "/bin"})
    assert settings.endpoint == "my-endpoint"
    assert settings.model_seconds + settings.fetch_seconds < 29  # API Gateway's patience


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "SAM3EDGE_API_ENDPOINT_NAME"),
        ({**ENDPOINT, "SAM3EDGE_API_ENDPOINT_URL": "http://x"}, "one of"),
        ({"SAM3EDGE_API_ENDPOINT_URL": "ftp://x"}, "SAM3EDGE_API_ENDPOINT_URL"),
        ({**ENDPOINT, "SAM3EDGE_API_ASYNC_ENDPOINT_NAME": "x"}, "SAM3EDGE_API_BUCKET"),
        ({**ENDPOINT, "SAM3EDGE_API_MAX_PROMPTS": "many"}, "SAM3EDGE_API_MAX_PROMPTS"),
        ({**ENDPOINT, "SAM3EDGE_API_MODEL_ID": "a b"}, "SAM3EDGE_API_MODEL_ID"),
    ],
)
def test_wrong_settings_are_named(environment: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_settings(Settings, environment)


def test_an_api_of_uploads_only_refuses_images_in_requests_and_says_what_to_do(aws: Aws, bucket: str) -> None:
    environment = {"SAM3EDGE_API_ASYNC_ENDPOINT_NAME": "large", "SAM3EDGE_API_BUCKET": bucket}
    parts = assemble(read_settings(Settings, environment))
    assert parts.large is not None
    with pytest.raises(BadRequest, match="POST /v1/uploads") as refused:
        parts.model.ask(Image(b"x", "image/png"), DetectionQuery(("car",)))
    assert refused.value.code == "uploads_only"


def test_a_variable_that_may_be_misspelt_is_told_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    read_settings(Settings, {**ENDPOINT, "SAM3EDGE_API_MAX_PROMTS": "4"})
    assert "SAM3EDGE_API_MAX_PROMTS is not a setting" in caplog.text


def test_the_authorizer_needs_its_table() -> None:
    assert read_settings(AuthorizerSettings, {"SAM3EDGE_API_KEY_TABLE": "keys"}).key_table == "keys"
    with pytest.raises(SettingsError, match="SAM3EDGE_API_KEY_TABLE"):
        read_settings(AuthorizerSettings, {})


def test_the_readme_names_every_setting() -> None:
    readme = (ROOT / "pipeline/sam3edge_serving/api/README.md").read_text()
    named = set(re.findall(r"`(SAM3EDGE_API_\w+)`", readme))
    fields = [*Settings.model_fields.values(), *AuthorizerSettings.model_fields.values()]
    assert named == {field.alias for field in fields}


def test_the_handler_reads_the_environment(aws: Aws, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        **ENDPOINT,
        "SAM3EDGE_API_ASYNC_ENDPOINT_NAME": "my-async-endpoint",
        "SAM3EDGE_API_BUCKET": bucket,
        "SAM3EDGE_API_MODEL_ID": "my-model",
    }.items():
        monkeypatch.setenv(name, value)
    handler._application.cache_clear()
    event = to_event(HttpRequest("GET", "/v1/models", [], b"", "127.0.0.1"))
    event["requestContext"]["authorizer"] = {"keyId": "k"}
    answer = handler.handler(event, Context("api"))
    handler._application.cache_clear()
    assert answer["statusCode"] == 200
    assert '"my-model"' in answer["body"]


def test_the_zip_needs_what_the_extra_has_and_nothing_of_the_device(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    shared = [line for line in project["dependencies"] if line.startswith(("pydantic", "typing-extensions"))]
    wanted = {line.split("#")[0].strip() for line in REQUIREMENTS.read_text().splitlines()} - {""}
    assert wanted == {*project["optional-dependencies"]["api"], *shared}

    copy_sources(tmp_path)
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); before = time.perf_counter()\n"
        "import sam3edge_serving.api.handler as handler; seconds = time.perf_counter() - before\n"
        "import sam3edge_serving.api.authorizer, sam3edge_serving.live_map.authorizer\n"
        "import sam3edge_simulator.api_gateway.__main__\n"
        "assert handler.__file__.startswith(sys.argv[1]), handler.__file__\n"
        "heavy = {'torch', 'cv2', 'numpy', 'shapely', 'onnxruntime', 'fastapi'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "print(seconds)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.py"))
    figure(f"sam3edge_serving.api.handler imports in {float(result.stdout):.2f} s, its own sources are {size} bytes")


@pytest.mark.parametrize(
    "arguments", [[], ["--endpoint", "127.0.0.1:8080"], ["--endpoint", "http://x", "--keys", "no"]]
)
def test_the_local_server_refuses_wrong_settings(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert capsys.readouterr().err
