"""What stages accept, and what they say of what they do not."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from sam3edge.core.errors import SettingsError
from sam3edge.validation import complaints
from sam3edge_infra.stages.files import FOLDER, parse_stage, read_stage, stage_names
from sam3edge_infra.stages.stage import Stage
from sam3edge_infra.stages.wording import EXPECTED, wording
from support.infra_templates import STAGES

DEV: dict[str, Any] = yaml.safe_load((FOLDER / "dev.yaml").read_text())


EXISTING = {
    "kind": "existing",
    "vpc": "vpc-0123456789abcdef0",
    "cidr": "10.0.0.0/24",
    "subnets": ["subnet-01234567", "subnet-01234568"],
    "zones": ["eu-central-1a", "eu-central-1b"],
    "route_tables": ["rtb-01234567", "rtb-01234568"],
}
CONNECTED = {
    "kind": "codeconnections",
    "connection": "arn:aws:codeconnections:eu-central-1:111122223333:connection/0123",
    "repository": "yard/sam3edge",
}


def changed(**changes: Any) -> dict[str, Any]:
    """The stage dev with members changed, those of sections by ``section__member``; None takes one away."""
    document = copy.deepcopy(DEV)
    for path, value in changes.items():
        *sections, name = path.split("__")
        inside = document
        for section in sections:
            inside = inside[section]
        if value is None:
            inside.pop(name)
        else:
            inside[name] = value
    return document


def test_the_examples_are_accepted_and_cover_every_kind() -> None:
    stages = [read_stage(name) for name in STAGES]
    assert {stage.endpoint.kind for stage in stages} == {"instance", "async", "serverless", "none"}
    assert {stage.nucleus.kind for stage in stages} == {"classic", "lite"}
    assert {stage.network.kind for stage in stages} == {"new", "existing"}
    assert {stage.containers.source for stage in stages} == {"build", "pull"}
    assert any(stage.simulator is not None for stage in stages)
    assert any(stage.delivery is not None for stage in stages)


def test_every_stage_file_is_accepted() -> None:
    """Those of whoever deploys, too: they are tested before they are deployed."""
    assert set(STAGES) <= {read_stage(name).name for name in stage_names()}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "Dev_1"}, ["name", "lower-case letters", "'Dev_1'"]),
        ({"name": "page"}, ["name", "not 'page'"]),
        ({"account": "123"}, ["account", "12 digits"]),
        ({"account": 111122223333}, ["account", "in quotes", "111122223333"]),
        ({"region": "eu-central-9"}, ["region", "eu-central-1", "us-west-2"]),
        ({"data": "maybe"}, ["data", "'keep'", "'delete'"]),
        ({"endpoint__kind": "spot"}, ["endpoint", "'instance'", "'async'", "'serverless'", "'none'"]),
        ({"endpoint__instance_type": "ml.x9.large"}, ["instance", "c7i", "g6e", "'ml.x9.large'"]),
        ({"endpoint__instance_type": "g6e.xlarge"}, ["instance", "ml.<family>.<size>"]),
        ({"endpoint__min_instances": 0}, ["min_instances", "expected 1 or more"]),
        ({"endpoint__min_instances": 3}, ["max_instances of 3 or more"]),
        ({"endpoint": {"kind": "serverless", "memory_mb": 5000}}, ["memory_mb", "5120", "6144"]),
        ({"endpoint": {"kind": "serverless", "concurrency": 201}}, ["concurrency", "200"]),
        ({"endpoint": {"kind": "none"}}, ["no api with the endpoint kind none"]),
        ({"endpoint": {"kind": "none"}, "api": None}, ["endpoint_fallback: denied"]),
        ({"endpoint": {"kind": "async", "instance_type": "ml.g6e.xlarge"}}, ["endpoint_fallback: denied", "async"]),
        ({"network__kind": "shared"}, ["network", "'new'", "'existing'"]),
        ({"network__cidr": "8.8.0.0/16"}, ["cidr", "private CIDR", "10.40.0.0/16"]),
        ({"network__cidr": "10.400.0.0/16"}, ["cidr", "private CIDR"]),
        ({"network__cidr": "10.40.0.1/16"}, ["cidr", "private CIDR"]),
        ({"network__cidr": "172.99.0.0/16"}, ["cidr", "private CIDR"]),
        ({"network__cidr": "10.40.0.0/24"}, ["/16 to /20 for a new VPC"]),
        ({"network": EXISTING | {"zones": ["us-east-1a", "us-east-1b"]}}, ["zones of eu-central-1"]),
        ({"network": EXISTING | {"zones": ["1", "2"]}}, ["zones", "eu-central-1a"]),
        ({"network": EXISTING | {"zones": ["eu-central-1a", "eu-central-1b", "eu-central-1c"]}}, ["of 2 subnets"]),
        ({"network": {"kind": "existing", "vpc": "vpc-1", "cidr": "10.0.0.0/16"}}, ["vpc", "subnets", "route_tables"]),
        ({"containers": {"source": "hub"}}, ["containers", "'build'", "'pull'"]),
        ({"containers": {"source": "pull", "tag": "latest"}}, ["tag", "not 'latest'"]),
        ({"bundle": {"source": "ftp"}}, ["bundle", "'registry'", "'s3'", "'assets'"]),
        ({"bundle": {"source": "s3", "uri": "s3://models/bundle.zip"}}, ["bundle", ".tar.gz"]),
        ({"bundle": {"source": "assets", "path": "../secrets"}}, ["path", "assets/demo-bundle"]),
        ({"bundle": {"source": "assets", "path": "assets/.."}}, ["path", "assets/demo-bundle"]),
        ({"nucleus": {"kind": "rust"}}, ["nucleus", "'classic'", "'lite'"]),
        ({"nucleus": {"kind": "classic", "version": "2.6.0"}}, ["version", "'2.18.1'"]),
        ({"nucleus": {"kind": "lite", "version": "2.18.1"}}, ["version", "'2.6.0'"]),
        ({"nucleus__sha256": "ab"}, ["sha256", "64 hexadecimal"]),
        ({"fleet__fleet_group": DEV["fleet"]["canary_group"]}, ["two thing groups"]),
        ({"labeling__backend": "mturk"}, ["backend", "'files'", "'review'", "'ground-truth'"]),
        ({"labeling__backend": "ground-truth"}, ["section ground_truth"]),
        ({"labeling__phrases": []}, ["phrases", "expected 1 or more"]),
        ({"labeling__minimum": 2000}, ["maximum of 2000 or more"]),
        ({"training__schedule": "weekly"}, ["schedule", "rate(7 days)"]),
        ({"training__schedule": "rate(1 days)"}, ["schedule", "rate(1 day)"]),
        ({"training__schedule": "rate(7 day)"}, ["schedule", "rate(7 days)"]),
        ({"training__schedule": "rate(0 days)"}, ["schedule", "rate(7 days)"]),
        ({"training__schedule": "cron(0 3 * * SUN *)"}, ["schedule", "with a ? for one of its days"]),
        ({"training__schedule": "cron(0 3 ? * ? *)"}, ["schedule", "with a ? for one of its days"]),
        *(
            ({"training__schedule": f"cron({wrong})"}, ["schedule", "cron(0 3 ? * SUN *)", wrong])
            for wrong in (
                *("99 99 ? * SUN *", "60 3 ? * SUN *", "0 24 ? * SUN *", "0 3 32 * ? *", "0 3 ? 13 SUN *"),
                *(
                    "0 3 ? * FOO *",
                    "0 3 ? * 8 *",
                    "0 3 ? * SUN 1960",
                    "0 9-3 ? * SUN *",
                    "0/0 3 ? * SUN *",
                    "0 3 ? * SUN",
                ),
            )
        ),
        ({"account": "000000000000"}, ["account", "not all 0"]),
        ({"endpoint__instance_type": "ml.g6e.large"}, ["ml.g6e.<size>", "xlarge", "48xlarge", "'ml.g6e.large'"]),
        ({"endpoint__instance_type": "ml.m6i.48xlarge"}, ["ml.m6i.<size>", "24xlarge"]),
        ({"training__training_instance": "ml.p4d.xlarge"}, ["of the sizes 24xlarge;"]),
        ({"simulator": {"instance_type": "t3.48xlarge"}}, ["t3.<size>", "medium", "2xlarge"]),
        ({"labeling__phrases": [f"{number:02}" + 98 * "x" for number in range(50)]}, ["2000 bytes", "got 5050"]),
        ({"training__training_instance": "ml.m7i.large"}, ["with a GPU"]),
        ({"training__checkpoint": "s3://bucket/sam3.pt"}, ["checkpoint", "ends with '/'"]),
        ({"api__waf": True}, ["waf", "'managed'", "'none'"]),
        ({"api__image_hosts": ["https://x.org"]}, ["image_hosts", "images.example.org"]),
        ({"simulator": {}}, ["nucleus.sha256 with a simulator"]),
        ({"simulator": {"instance_type": "t2.nano"}}, ["instance_type", "m7i", "g6e"]),
        ({"simulator": {}, "nucleus__sha256": "0" * 64, "network__egress": "none"}, ["egress: nat"]),
        ({"delivery": {"source": {"kind": "codecommit", "repository": "a b"}}}, ["repository", "letters, digits"]),
        ({"delivery": {"source": CONNECTED | {"connection": "x"}}}, ["connection", "arn:aws:codeconnections:"]),
        ({"delivery": {"source": CONNECTED | {"repository": "x"}}}, ["repository", "yard/sam3edge"]),
        ({"delivery": {"source": {"kind": "s3", "bucket": "B", "key": "k"}}}, ["bucket", "3 to 63"]),
        ({"delivery": {"source": {"kind": "svn"}}}, ["'codeconnections'", "'codecommit'", "'s3'"]),
        ({"monitoring": {"budget_usd": 0}}, ["monitoring.budget_usd", "expected 1 or more"]),
        (
            {"monitoring": {"messages_per_hour": "many"}},
            ["monitoring.messages_per_hour", "expected a whole number; got 'many'"],
        ),
        ({"retention": {"detections": 0}}, ["retention.detections", "expected 1 or more"]),
        ({"retention": {"examples": None}}, ["retention.examples", "expected a whole number; got nothing"]),
        ({"fleet__first_deployment__fallback": "cloud"}, ["fallback", "'endpoint'", "'none'"]),
        ({"fleet__first_deployment__nucleus": {"kind": "rust", "version": "1"}}, ["'classic'", "'lite'", "1.3.0"]),
        ({"colour": "red"}, ["colour", "expected nothing of this name"]),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_accepted(changes: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_stage(changed(**changes), "stage")
    assert all(one in str(refused.value) for one in said), str(refused.value)


def test_serverless_takes_only_packed_models() -> None:
    serverless = {"kind": "serverless"}
    for bundle in ({"source": "registry", "version": 1}, {"source": "s3", "uri": "s3://models/yard/"}):
        with pytest.raises(SettingsError, match="not packed"):
            parse_stage(changed(endpoint=serverless, bundle=bundle), "stage")
    packed = {"source": "s3", "uri": "s3://models/model.tar.gz"}
    parse_stage(changed(endpoint=serverless, bundle=packed, fleet__first_deployment=None), "stage")


@pytest.mark.parametrize("bundle", [{"source": "registry", "version": 1}, {"source": "s3", "uri": "s3://models/x/"}])
def test_a_later_bundle_leaves_the_first_deployment_as_it_was(bundle: dict[str, Any]) -> None:
    """Its model is a component that the template made of assets before; refusing it would make a stage change it, which
    rolls the fleet back."""
    assert parse_stage(changed(bundle=bundle), "stage").fleet == parse_stage(DEV, "stage").fleet


def test_everything_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        parse_stage(changed(account="1", region="x", api__quota=0), "here.yaml")
    assert str(refused.value).startswith("here.yaml:")
    assert all(one in str(refused.value) for one in ("account", "region", "api.quota"))


def test_an_unknown_stage_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="delivered, dev, "):
        read_stage("staging")
    (tmp_path / "other.yaml").write_text((FOLDER / "dev.yaml").read_text())
    with pytest.raises(SettingsError, match="the file's own, other"):
        read_stage("other", tmp_path)


def test_a_stage_is_a_value_that_nobody_changes() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_stage("dev").account = "0" * 12  # type: ignore[misc]


def test_what_is_written_beside_these_is_accepted() -> None:
    """The good neighbours of what is refused above."""
    schedules = ("rate(1 day)", "rate(12 hours)", "cron(0 3 ? * SUN *)", "cron(30 4 1 * ? *)")
    schedules += (
        "cron(0/5 3-4 ? JAN,7 MON-FRI *)",
        "cron(0 3 L * ? 2027/2)",
        "cron(0 3 ? * 6#3 *)",
        "cron(*/10 8 1W * ? *)",
    )
    for accepted in (
        *({"training__schedule": schedule} for schedule in schedules),
        {"network": EXISTING},
        {"network__cidr": "10.40.16.0/20"},
        {"network__cidr": "192.168.0.0/16"},
        {"delivery": {"source": CONNECTED}},
        {"delivery": {"source": CONNECTED | {"repository": "group/subgroup/sam3edge"}}},
        {"delivery": {"source": {"kind": "s3", "bucket": "yard-sources", "key": "sam3edge.zip"}}},
    ):
        parse_stage(changed(**accepted), "stage")


def test_a_bundle_that_is_not_there_is_named_before_anything_is_synthesised(tmp_path: Path) -> None:
    (tmp_path / "dev.yaml").write_text(yaml.safe_dump(changed(bundle__path="assets/nothing")))
    with pytest.raises(
        SettingsError, match=r"bundle\.path: expected a folder with a manifest\.json, got assets/nothing"
    ):
        read_stage("dev", tmp_path)


def test_no_text_of_pydantic_reaches_whoever_writes_a_stage() -> None:
    """Every kind of fault that the fields of stages can have has a sentence of ours."""
    wrong: list[Any] = [None, True, "x", "", 0, -1, 10**9, 1.5, float("nan"), [], [1], {}, {"kind": 1}, {"kind": "x"}]
    wrong += [{"source": "x"}, {"source": {"kind": "x"}}, ["x"] * 60]
    documents: list[Any] = [*wrong, *({**DEV, name: value} for name in Stage.model_fields for value in wrong)]
    documents += [
        {**DEV, name: {**section, member: value}}
        for name, section in DEV.items()
        if isinstance(section, dict)
        for member in section
        for value in wrong
    ]
    seen: set[str] = set()
    for document in documents:
        try:
            Stage.model_validate(document)
        except ValidationError as error:
            for one in complaints(error):
                seen.add(one.kind)
                said = wording(one)
                assert said.startswith("expected "), said
                assert not re.search(r"Input|should|Field|Extra|String|Value error", said), said
    assert len(seen & EXPECTED.keys()) > 15


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"bundle": {"source": "batch"}},
            "bundle: expected 'source' to be one of 'registry', 's3', 'assets'; got 'batch'",
        ),
        ({"endpoint": {}}, "endpoint: expected 'kind', which says what it is; got none"),
        ({"data": "maybe"}, "data: expected 'keep' or 'delete'; got 'maybe'"),
        ({"api": {"rate": 0}}, "api.rate: expected more than 0.0; got 0"),
        ({"fleet": []}, "fleet: expected a section, names with values; got []"),
    ],
)
def test_faults_are_sentences(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_stage(changed(**changes), "stage")
    assert f"  {said}" in str(refused.value).splitlines()
