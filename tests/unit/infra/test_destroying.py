"""``make destroy``: who is asked, whose account it is, and what goes before the stacks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from sam3edge.core.errors import SettingsError
from sam3edge_infra import components, destroying, devices, page_tokens
from sam3edge_infra.account import session_of
from sam3edge_infra.constructs.names import naming_of
from sam3edge_infra.destroying import confirm, main
from sam3edge_infra.emptying import delete_models
from sam3edge_infra.stages.files import read_stage

ROOT = Path(__file__).parents[3]
DEV = read_stage("dev")
NAMING = naming_of(DEV)
BUCKET = NAMING.bucket("learning").name
GROUP = "sam3edge-dev-models"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The account of dev, with an object in a bucket."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", DEV.region)
    monkeypatch.setenv("MOTO_ACCOUNT_ID", DEV.account)
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": DEV.region})
        s3.put_object(Bucket=BUCKET, Key="x", Body=b"1")
        yield


def objects() -> int:
    return int(boto3.client("s3").list_objects_v2(Bucket=BUCKET)["KeyCount"])


@pytest.fixture
def retired(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stages whose devices were retired, which test_devices.py is about."""
    found: list[str] = []
    monkeypatch.setattr(devices.Devices, "retire", lambda self: found.append(self.stage.name))
    return found


@pytest.mark.parametrize("typed", ["", "yes", "y", "prod", "DEV"])
def test_nothing_goes_unless_the_stages_name_is_typed(
    aws: None, retired: list[str], typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: typed)
    assert main(["--stage", "dev"]) == 2
    assert "nothing was deleted" in capsys.readouterr().err
    assert (retired, objects()) == ([], 1)


def test_whoever_closes_the_terminal_has_confirmed_nothing() -> None:
    def gone(prompt: str) -> str:
        assert "account 111122223333" in prompt
        raise EOFError

    with pytest.raises(SettingsError, match="nothing was deleted"):
        confirm(DEV, None, gone)


@pytest.mark.parametrize("arguments", [["--confirm", "dev"], []])
def test_devices_models_and_objects_go(
    aws: None,
    retired: list[str],
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: " dev ")
    monkeypatch.setattr(destroying, "delete_models", lambda client, stage: 3)
    assert main(["--stage", "dev", *arguments]) == 0
    assert (retired, objects()) == (["dev"], 0)
    assert "3 models and 1 objects deleted" in capsys.readouterr().out


def test_a_stage_that_keeps_its_data_is_not_even_asked_about(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stage", "prod", "--confirm", "prod"]) == 2
    assert "prod keeps its data" in capsys.readouterr().err
    with pytest.raises(SettingsError, match="keeps its data"):
        delete_models(None, read_stage("prod"))


def test_every_model_of_the_group_goes_and_no_other(aws: None) -> None:
    sagemaker = boto3.client("sagemaker")
    arns = [f"arn:aws:sagemaker:eu-central-1:111122223333:model-package/{GROUP}/{number}" for number in (2, 1)]
    group = {
        "ModelPackageGroupName": GROUP,
        "ModelPackageGroupArn": f"arn:aws:sagemaker:eu-central-1:111122223333:model-package-group/{GROUP}",
        "CreationTime": 0,
        "ModelPackageGroupStatus": "Completed",
    }
    like = group | {"ModelPackageGroupName": f"{GROUP}-too"}
    package = {"CreationTime": 0, "ModelPackageStatus": "Completed", "ModelPackageGroupName": GROUP}
    with Stubber(sagemaker) as stubber:
        stubber.add_response("list_model_package_groups", {"ModelPackageGroupSummaryList": [like, group]})
        stubber.add_response(
            "list_model_packages",
            {"ModelPackageSummaryList": [{**package, "ModelPackageArn": arn} for arn in arns]},
            {"ModelPackageGroupName": GROUP},
        )
        for arn in arns:
            stubber.add_response("delete_model_package", {}, {"ModelPackageName": arn})
        assert delete_models(sagemaker, DEV) == 2
        stubber.add_response("list_model_package_groups", {"ModelPackageGroupSummaryList": [like]})
        assert delete_models(sagemaker, DEV) == 0
        stubber.assert_no_pending_responses()


PROGRAMS: list[tuple[Any, list[str]]] = [
    (devices.main, ["expect", "--stage", "dev", "cam-7"]),
    (devices.main, ["claim", "--stage", "dev", "--out"]),
    (components.main, ["--stage", "dev"]),
    (page_tokens.main, ["list", "--stage", "sim"]),
    (destroying.main, ["--stage", "dev", "--confirm", "dev"]),
]


@pytest.mark.parametrize(("program", "arguments"), PROGRAMS)
def test_with_credentials_of_another_account_nothing_is_changed(
    aws: None,
    program: Any,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "999988887777")
    given = [*arguments, str(tmp_path)] if arguments[-1] == "--out" else arguments
    assert program(given) == 2
    told = capsys.readouterr().err
    assert re.search(
        r"expected credentials of account 111122223333, where (dev|sim) is; got those of 999988887777", told
    )
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("MOTO_ACCOUNT_ID", DEV.account)
    assert objects() == 1


def test_without_credentials_it_is_said_which_are_expected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(SettingsError, match=r"expected credentials of account 111122223333.*set AWS_PROFILE"):
        session_of(DEV)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(SettingsError, match="nobody"):
        session_of(DEV)


def test_make_destroy_asks_before_the_stacks_go() -> None:
    lines = (ROOT / "Makefile").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("destroy:"))
    recipe = [line.strip() for line in lines[start + 1 : start + 4] if line.startswith("\t")]
    assert [("destroying" in line, "destroy --app" in line) for line in recipe] == [(True, False), (False, True)]
