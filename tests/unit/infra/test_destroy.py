"""``make destroy``: nothing is deleted before somebody was asked, and nothing is left that the stacks stumble over."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import botocore.client
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from sam3edge_infra import destroy
from sam3edge_infra.constructs.names import naming_of
from sam3edge_infra.destroy import delete_keys, main
from sam3edge_infra.stacks.api import usage_plan_name
from sam3edge_infra.stacks.registry import registry_of
from sam3edge_infra.stacks.training import training_of
from sam3edge_infra.stages.files import read_stage
from sam3edge_serving.api.key_admin import issue
from sam3edge_serving.api.keys import DynamoKeys

ROOT = Path(__file__).parents[3]
DEV = read_stage("dev")
NAMING = naming_of(DEV)
GROUP = registry_of(NAMING).group_name
BUCKET = NAMING.bucket("learning").name
BARE = {"ListDeployments": {"deployments": []}, "ListComponentVersions": {"componentVersions": []}}


class Account:
    """moto's, and what it has not: Greengrass, where nothing is, and the deletion of model packages."""

    def __init__(self) -> None:
        self.deleted_packages: list[str] = []
        self.real = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]

    def call(self, client: Any, operation: str, params: dict[str, Any]) -> Any:
        if operation == "DeleteModelPackage":
            self.deleted_packages.append(params["ModelPackageName"])
            return {}
        return BARE[operation] if operation in BARE else self.real(client, operation, params)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """With a device, an object, a model package and a key of the API."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", DEV.region)
    monkeypatch.setenv("MOTO_ACCOUNT_ID", DEV.account)
    made = Account()
    patched = mock.patch.object(
        botocore.client.BaseClient, "_make_api_call", lambda client, *asked: made.call(client, *asked)
    )
    with mock_aws(), patched:
        s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": DEV.region})
        s3.put_object(Bucket=BUCKET, Key="x", Body=b"1")
        sagemaker.create_model_package_group(ModelPackageGroupName=GROUP)
        for group in (GROUP, None):
            more = {"ModelPackageGroupName": group} if group else {"ModelPackageName": "somebody-elses"}
            sagemaker.create_model_package(ModelPackageDescription="a bundle", **more)
        plan = boto3.client("apigateway").create_usage_plan(name=usage_plan_name(NAMING))
        new_key(plan["id"])
        yield made


def new_key(plan: str) -> str:
    """As ``key_admin`` enters one; its id in API Gateway."""
    table = boto3.resource("dynamodb").create_table(
        TableName=f"keys-{plan}",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    gateway = boto3.client("apigateway")
    issue(DynamoKeys(table), gateway, plan, "ada")
    return str(gateway.get_usage_plan_keys(usagePlanId=plan)["items"][0]["id"])


def left(account: Account) -> dict[str, int]:
    """How many objects, packages of the group, and keys there are."""
    objects = boto3.client("s3").list_objects_v2(Bucket=BUCKET)["KeyCount"]
    listed = boto3.client("sagemaker").list_model_packages(ModelPackageGroupName=GROUP)["ModelPackageSummaryList"]
    keys = boto3.client("apigateway").get_api_keys()["items"]
    return {"objects": objects, "packages": len(listed) - len(account.deleted_packages), "keys": len(keys)}


EVERYTHING = {"objects": 1, "packages": 1, "keys": 1}
NOTHING = dict.fromkeys(EVERYTHING, 0)


def asked_of(
    monkeypatch: pytest.MonkeyPatch, answer: str | None, *options: str, stage: str = "dev", status: int = 2
) -> list[str]:
    """Run the command beside a person who answers, or nobody; what was asked."""
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("builtins.input", ask)
    assert main(["--stage", stage, *options]) == status
    return asked


@pytest.mark.parametrize("answer", ["", "prod", None])
def test_nothing_is_deleted_by_who_does_not_say_the_stages_name(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str | None
) -> None:
    [prompt] = asked_of(monkeypatch, answer)
    assert (DEV.account in prompt, DEV.name in prompt) == (True, True)
    assert left(account) == EVERYTHING
    assert "nothing was deleted" in capsys.readouterr().err


def test_who_says_it_is_left_with_nothing_that_stands_in_the_stacks_way(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked_of(monkeypatch, "dev", status=0)
    assert left(account) == NOTHING
    assert all(f":model-package/{GROUP}/" in one for one in account.deleted_packages)
    assert "1 model packages, 1 API keys, 1 objects" in capsys.readouterr().out


def test_nobody_is_asked_with_yes(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked_of(monkeypatch, None, "--yes", status=0) == []
    assert left(account) == NOTHING


def test_where_nothing_was_deployed_nothing_is_deleted_and_it_is_no_error(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]

    def call(client: Any, operation: str, params: dict[str, Any]) -> Any:
        if operation in ("ListModelPackages", "ListPipelineExecutions"):
            error = {"Error": {"Code": "ValidationException", "Message": "does not exist"}}
            raise ClientError(error, operation)
        return empty(client, operation, params)

    with mock.patch.object(botocore.client.BaseClient, "_make_api_call", call):
        assert asked_of(monkeypatch, None, "--yes", status=0) == []
    assert account.deleted_packages == []


def test_a_training_in_progress_comes_first(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SageMaker deletes no pipeline meanwhile, and its jobs write into the buckets."""
    pipeline = training_of(NAMING).pipeline_name
    sagemaker = boto3.client("sagemaker")
    sagemaker.create_pipeline(
        PipelineName=pipeline,
        PipelineDefinition="{}",
        ClientRequestToken="t" * 32,
        RoleArn="arn:aws:iam::111122223333:role/any",
    )
    arn = sagemaker.start_pipeline_execution(PipelineName=pipeline)["PipelineExecutionArn"]
    monkeypatch.setattr(destroy, "UNFINISHED", {"Succeeded"})  # which moto says of every execution
    assert asked_of(monkeypatch, "dev") == []
    assert f"expected no training in progress, got {arn}" in capsys.readouterr().err
    assert left(account) == EVERYTHING


def test_a_stage_that_keeps_its_data_is_not_even_asked_about(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked_of(monkeypatch, "prod", stage="prod") == []
    assert "prod keeps its data" in capsys.readouterr().err


def test_nothing_is_deleted_in_another_account(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = DEV.model_copy(update={"account": "999988887777"})
    with mock.patch.object(destroy, "read_stage", return_value=other):
        assert asked_of(monkeypatch, "dev") == []
    assert "expected credentials of account 999988887777" in capsys.readouterr().err
    assert left(account) == EVERYTHING


def test_keys_of_other_plans_stay(account: Account) -> None:
    gateway = boto3.client("apigateway")
    other = new_key(gateway.create_usage_plan(name="somebody-elses")["id"])
    assert delete_keys(gateway, usage_plan_name(NAMING)) == 1
    assert [one["id"] for one in gateway.get_api_keys()["items"]] == [other]


def dry(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What make would do."""
    kept = {name: value for name, value in os.environ.items() if name not in ("STAGE", "MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(["make", "-n", *arguments], cwd=ROOT, env=kept, capture_output=True, text=True, check=False)


def test_make_destroys_no_stage_by_default_and_asks_before_the_stacks_go() -> None:
    bare = dry("destroy")
    assert bare.returncode != 0
    assert "expected make destroy STAGE=" in bare.stderr
    assert "sam3edge_infra" not in bare.stdout
    asking = dry("destroy", "STAGE=lite").stdout
    assert "--yes" not in asking
    assert asking.index("sam3edge_infra.destroy --stage lite") < asking.index(
        "destroy --app build/cdk/lite '**' --force"
    )
    assert "sam3edge_infra.destroy --stage lite --yes" in dry("destroy", "STAGE=lite", "YES=1").stdout
    assert dry("synth").returncode == 0
