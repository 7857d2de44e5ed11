"""``make new_stage``: what is asked, what is refused, and what is written."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

import sam3edge
from sam3edge_infra.page_tokens import make_key
from sam3edge_infra.stages.files import ROOT, read_stage
from sam3edge_infra.stages.new_stage import PROGRAM, main
from sam3edge_infra.stages.questions import questions
from sam3edge_infra.stages.signing import public_part, read_private_key

OPTIONS = ["--name", "yard", "--account", "111122223333", "--phrases", "tank|fork lift"]
CONNECTION = "arn:aws:codeconnections:eu-central-1:111122223333:connection/0123"
DIGEST = "ab" * 32
EXISTING = ["--vpc", "vpc-0123456789abcdef0", "--subnets", "subnet-01234567|subnet-01234568"]
EXISTING += ["--route-tables", "rtb-01234567|rtb-01234568"]
SIMULATOR = ["--simulator", "m7i.large", "--nucleus-sha256", DIGEST]


def test_a_new_stage_is_written_by_options_and_can_be_read(tmp_path: Path) -> None:
    assert main([*OPTIONS, "--endpoint", "serverless", "--region", "us-east-1"], tmp_path) == 0
    stage = read_stage("yard", tmp_path)
    assert (stage.endpoint.kind, stage.region, stage.data) == ("serverless", "us-east-1", "keep")
    assert stage.labeling.phrases == ("tank", "fork lift")
    assert stage.api is not None
    assert (stage.simulator, stage.delivery, stage.monitoring.email, stage.consumers.destinations) == (
        *(None, None, None),
        (),
    )


def test_a_new_stage_in_an_existing_vpc(tmp_path: Path) -> None:
    network = ["--vpc", "vpc-0123456789abcdef0", "--subnets", "subnet-0123456789abcdef0|subnet-0123456789abcdef1"]
    tables = ["--zones", "eu-central-1a|eu-central-1b", "--route-tables", "rtb-01234567|rtb-01234568"]
    assert main([*OPTIONS, *network, *tables, "--endpoint", "none"], tmp_path) == 0
    stage = read_stage("yard", tmp_path)
    assert stage.network.kind == "existing"
    assert stage.api is None


def test_the_first_deployment_has_the_versions_that_the_template_makes(tmp_path: Path) -> None:
    from sam3edge_infra.components import components_of

    assert main(OPTIONS, tmp_path) == 0
    stage = read_stage("yard", tmp_path)
    first = stage.fleet.first_deployment
    assert first is not None
    assert first.prompts == stage.labeling.phrases
    made = {one.kind: one.version for one in components_of(stage)}
    assert made == {"segmenter": first.code, "uploader": first.code, "model": first.model}


def test_it_names_no_model_that_only_a_roll_out_makes_and_may_be_left_out(tmp_path: Path) -> None:
    assert main([*OPTIONS, "--bundle", "7", "--first-deployment", "scratch"], tmp_path) == 0
    first = read_stage("yard", tmp_path).fleet.first_deployment
    assert first is not None
    assert (first.code, first.model, first.prompts) == (sam3edge.__version__, None, ("scratch",))
    other = ["--name", "other", *OPTIONS[2:], "--first-deployment", "none"]
    assert main(other, tmp_path) == 0
    assert read_stage("other", tmp_path).fleet.first_deployment is None


@pytest.mark.parametrize("nucleus", ["classic", "lite"])
@pytest.mark.parametrize(("allowed", "fallback"), [("allowed", "endpoint"), ("denied", "none")])
def test_the_first_deployment_has_the_nucleus_and_the_fallback_of_the_stage(
    tmp_path: Path, nucleus: str, allowed: str, fallback: str
) -> None:
    assert main([*OPTIONS, "--nucleus", nucleus, "--fallback", allowed], tmp_path) == 0
    stage = read_stage("yard", tmp_path)
    first = stage.fleet.first_deployment
    assert first is not None
    assert first.nucleus is not None
    assert (first.nucleus.kind, first.nucleus.version) == (nucleus, stage.nucleus.version)
    assert first.fallback == fallback


def test_the_egress_question_says_what_each_answer_costs() -> None:
    """As the guide's table does, where ``lite`` has ``none`` and ``dev`` has ``nat``."""
    (egress,) = [one for one in questions(()) if one.option == "egress"]
    rows = (ROOT / "docs" / "deployment.md").read_text().splitlines()
    (header,) = [row.split("|") for row in rows if row.startswith("| USD a month |")]
    (network,) = [row.split("|") for row in rows if row.startswith("| network |")]
    cells = {name.strip(" `"): cell.strip() for name, cell in zip(header, network, strict=True)}
    assert egress.accepted == f"none, {cells['lite']} USD a month, or nat, {cells['dev']} USD"


@pytest.mark.parametrize("nucleus", ["classic", "lite"])
def test_a_simulator_brings_its_digests_and_internet_access(tmp_path: Path, nucleus: str) -> None:
    plugin = ["--plugin-sha256", "cd" * 32] if nucleus == "classic" else []
    assert main([*OPTIONS, *SIMULATOR, *plugin, "--nucleus", nucleus, "--simulator-group", "fleet"], tmp_path) == 0
    stage = read_stage("yard", tmp_path)
    assert stage.simulator is not None
    assert (stage.simulator.instance_type, stage.simulator.group) == ("m7i.large", "fleet")
    assert stage.nucleus.digests == ((DIGEST, "cd" * 32) if nucleus == "classic" else (DIGEST,))
    assert stage.network.kind == "new"
    assert stage.network.egress == "nat"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            ["codeconnections", "--connection", CONNECTION, "--repository", "yard/sam3edge", "--branch", "trunk"],
            {"connection": CONNECTION, "repository": "yard/sam3edge", "branch": "trunk"},
        ),
        (["codecommit", "--codecommit", "sam3edge"], {"repository": "sam3edge", "branch": "main"}),
        (
            ["s3", "--sources-bucket", "yard-sources", "--sources-key", "s.zip"],
            {"bucket": "yard-sources", "key": "s.zip"},
        ),
    ],
)
def test_a_delivery_by_each_of_its_sources(tmp_path: Path, given: list[str], told: dict[str, str]) -> None:
    assert main([*OPTIONS, "--delivery", *given], tmp_path) == 0
    delivery = read_stage("yard", tmp_path).delivery
    assert delivery is not None
    assert delivery.source.model_dump() == {"kind": given[0], **told}


def test_whom_alarms_reach_and_where_detections_go(tmp_path: Path) -> None:
    told = ["--email", "ada@example.org", "--consumers", "firehose|eventbridge", "--fallback", "allowed"]
    assert main([*OPTIONS, *told], tmp_path) == 0
    stage = read_stage("yard", tmp_path)
    assert stage.monitoring.email == "ada@example.org"
    assert stage.consumers.destinations == ("firehose", "eventbridge")
    assert stage.fleet.endpoint_fallback == "allowed"


def test_a_live_page_has_the_public_part_of_the_operators_key(tmp_path: Path) -> None:
    key, stages = tmp_path / "page-key.pem", tmp_path / "stages"
    stages.mkdir()
    make_key(key)
    assert main([*OPTIONS, "--live-page", str(key), "--page-commands", "allowed"], stages) == 0
    page = read_stage("yard", stages).live_page
    assert page is not None
    assert page.signing_key == public_part(read_private_key(key))
    assert page.commands == "allowed"
    assert "PRIVATE" not in (stages / "yard.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (OPTIONS[2:], ["--name", "1 to 12 lower-case letters"]),
        (["--name", "Yard_1", *OPTIONS[2:]], ["--name", "1 to 12 lower-case letters", "'Yard_1'"]),
        ([*OPTIONS, "--account", "12"], ["--account", "12 digits"]),
        ([*OPTIONS, "--region", "mars-1"], ["--region", "eu-central-1", "us-west-2"]),
        ([*OPTIONS, "--endpoint", "spot"], ["--endpoint", "instance, async, serverless or none", "'spot'"]),
        ([*OPTIONS, "--instance", "m5.large"], ["--instance", "ml.<family>.<size>", "c7i"]),
        ([*OPTIONS, "--api", "maybe"], ["--api", "yes or no"]),
        ([*OPTIONS, "--vpc", "mine"], ["--vpc", "expected new, or", "vpc-0123456789abcdef0"]),
        ([*OPTIONS, "--vpc", "vpc-01234567"], ["--subnets", "--zones", "--route-tables"]),
        ([*OPTIONS, *EXISTING, "--zones", "1|2"], ["--zones", "eu-central-1a"]),
        ([*OPTIONS, *EXISTING, "--zones", "us-east-1a|us-east-1b"], ["zones of eu-central-1"]),
        ([*OPTIONS, "--cidr", "8.8.8.0/24"], ["--cidr", "10.40.0.0/16"]),
        ([*OPTIONS, "--containers", "latest"], ["--containers", "expected build, or", "not 'latest'"]),
        ([*OPTIONS, "--bundle", "models/x"], ["--bundle", "assets/demo-bundle", "'models/x'"]),
        ([*OPTIONS, "--bundle", "assets/nothing"], ["--bundle", "manifest.json"]),
        ([*OPTIONS, "--bundle", "s3://models/x.zip"], ["--bundle", ".tar.gz"]),
        ([*OPTIONS, "--simulator", "t2.nano"], ["--simulator", "expected none, or", "m7i"]),
        ([*OPTIONS, "--simulator", "m7i.large"], ["--nucleus-sha256", "--plugin-sha256", "infra/devices.md"]),
        (
            [*OPTIONS, *SIMULATOR[:2], "--nucleus-sha256", "x"],
            ["--nucleus-sha256", "64 hexadecimal digits", "--plugin-sha256"],
        ),
        ([*OPTIONS, "--first-deployment", "|"], ["--first-deployment", "expected none, or", "one or more"]),
        ([*OPTIONS, "--consumers", "kafka"], ["--consumers", "firehose or eventbridge"]),
        ([*OPTIONS, "--live-page", "key.pem"], ["--live-page", "expected none, or a private RSA key in key.pem"]),
        ([*OPTIONS, "--email", "ada"], ["--email", "email address"]),
        ([*OPTIONS, "--delivery", "svn"], ["--delivery", "codeconnections, codecommit or s3"]),
        ([*OPTIONS, "--delivery", "codeconnections"], ["--connection", "--repository"]),
        ([*OPTIONS, "--delivery", "s3"], ["--sources-bucket", "--sources-key"]),
        ([*OPTIONS, "--account", "1", "--data", "maybe"], ["--account", "--data", "keep or delete"]),
        ([*OPTIONS, "--endpoint", "serverless", "--bundle", "1"], ["not packed"]),
    ],
)
def test_a_new_stage_that_is_wrong_is_not_written_and_what_is_accepted_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: list[str]
) -> None:
    assert main(arguments, tmp_path) == 2
    told = capsys.readouterr().err
    assert all(one in told for one in said), told
    assert told.count("expected") == max(1, sum(one.startswith("--") for one in said))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--endpoint", "none", "--api", "no"], "--api"),
        (["--endpoint", "async", "--fallback", "denied"], "--fallback"),
        (["--endpoint", "serverless", "--instance", "ml.c7i.xlarge"], "--instance"),
        (["--nucleus-sha256", DIGEST], "--nucleus-sha256"),
        ([*SIMULATOR, "--nucleus", "lite", "--plugin-sha256", DIGEST], "--plugin-sha256"),
        ([*SIMULATOR, "--nucleus", "lite", "--egress", "none"], "--egress"),
        (["--page-commands", "allowed"], "--page-commands"),
        (["--zones", "eu-central-1a"], "--zones"),
        (["--branch", "trunk"], "--branch"),
        (["--delivery", "codecommit", "--codecommit", "x", "--repository", "a/b"], "--repository"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main([*OPTIONS, *arguments], tmp_path) == 2
    told = capsys.readouterr().err
    assert told.startswith(said)
    assert "expected only with --" in told
    assert not list(tmp_path.iterdir())


def test_a_stage_that_is_there_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(OPTIONS, tmp_path) == 0
    before = (tmp_path / "yard.yaml").read_text()
    assert main([*OPTIONS, "--region", "us-east-1"], tmp_path) == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "yard.yaml").read_text() == before


# ------------------------------------------------------------------------------------------------ a person is asked


def person(answers: dict[str, list[str]], asked: list[str]) -> Callable[[str], str]:
    """Somebody with answers by the beginning of the question, one after the other; else they take the default."""

    def ask(prompt: str) -> str:
        asked.append(prompt)
        found = next((left for start, left in answers.items() if prompt.startswith(start) and left), None)
        return found.pop(0) if found else ""

    return ask


NEEDED = {"Name": ["yard"], "AWS": ["111122223333"], "Phrases that devices learn": ["tank"]}


def test_questions_are_asked_until_the_stage_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    answers = {**NEEDED, "Endpoint (": ["async"], "Bundle": ["7"]}
    monkeypatch.setattr("builtins.input", person({name: list(one) for name, one in answers.items()}, asked))
    assert main([], tmp_path) == 0
    stage = read_stage("yard", tmp_path)
    assert (stage.endpoint.kind, stage.bundle.source) == ("async", "registry")
    assert not any(prompt.startswith("Private subnets") for prompt in asked)
    assert "make deploy STAGE=yard" in capsys.readouterr().out


def test_a_wrong_answer_is_asked_for_again_and_the_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.yaml").write_text("")
    asked: list[str] = []
    answers = {
        "Name": ["Yard!", "old", "", "yard"],
        "AWS": ["me", "111122223333"],
        "Endpoint (": ["spot", "none"],
        "An EC2": ["yes", "m7i.large"],
        "SHA-256 of the nucleus": ["unknown", DIGEST],
        "SHA-256 of its": [DIGEST],
        "Phrases that devices learn": ["", "tank"],
        "A pipeline": ["git", "codeconnections"],
        "ARN": ["x", CONNECTION],
        "Repository": ["sam3edge", "yard/sam3edge"],
    }
    monkeypatch.setattr("builtins.input", person(answers, asked))
    assert main([], tmp_path) == 0
    stage = read_stage("yard", tmp_path)
    assert stage.simulator is not None
    assert stage.delivery is not None
    told = capsys.readouterr().err.splitlines()
    expected = ["letters", "is there already", "nothing was given", "12 digits", "instance, async", "expected none, or"]
    expected += ["64 hexadecimal", "nothing was given", "codeconnections, codecommit or s3", "arn:aws", "yard/sam3edge"]
    assert len(told) == len(expected)
    assert all(one in line for one, line in zip(expected, told, strict=True))
    assert sum(prompt.startswith("Region") for prompt in asked) == 1


def test_what_was_answered_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither where answers do not go together, nor where somebody gives up: the command with them is shown."""
    answers = {**NEEDED, "Phrases that devices learn": ["rider's|tank"], "Endpoint (": ["serverless"], "Bundle": ["7"]}
    monkeypatch.setattr("builtins.input", person({name: list(one) for name, one in answers.items()}, []))
    assert main([], tmp_path) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("nothing was written; to change an answer: ")
    again = shlex.split(last.partition(PROGRAM)[2])
    again[again.index("--bundle") + 1] = "assets/demo-bundle"
    assert main(again, tmp_path) == 0
    assert read_stage("yard", tmp_path).labeling.phrases == ("rider's", "tank")


@pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
def test_whoever_gives_up_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], end: type[BaseException]
) -> None:
    def ask(prompt: str) -> str:
        if prompt.startswith("Name"):
            return "yard"
        raise end

    monkeypatch.setattr("builtins.input", ask)
    assert main([], tmp_path) == 2
    assert f"nothing was written; so far: {PROGRAM} --name yard" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_every_default_is_accepted_by_its_question() -> None:
    for one in questions(()):
        if one.default:
            one.read(one.default)
