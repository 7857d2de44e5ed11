"""What ``make new_stage`` asks: each question with what may be answered, and when it is one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import TypeAdapter, ValidationError

from sam3edge.core.errors import SettingsError
from sam3edge.validation import first_complaint
from sam3edge_infra.costs.estimate import cost, network_items, read_prices, read_usage
from sam3edge_infra.stages.files import is_bundle
from sam3edge_infra.stages.signing import public_part, read_private_key
from sam3edge_infra.stages.stage import AssetsBundle, Bundle, NewNetwork
from sam3edge_infra.stages.values import (
    Account,
    BucketName,
    Cidr,
    CodeCommitName,
    ConnectionArn,
    Ec2Instance,
    Email,
    ImageTag,
    Phrase,
    Region,
    RepositoryName,
    RouteTableId,
    SageMakerInstance,
    Sha256,
    StageName,
    SubnetId,
    VpcId,
    Zone,
)
from sam3edge_infra.stages.wording import wording

BETWEEN = "|"
NONE = "none"

Given: TypeAlias = Mapping[str, Any]
"""Answers by option, as their questions have read them; None for one that was no answer."""

Read: TypeAlias = Callable[[str], Any]
"""The value of an answer; raises ``ValueError`` with what is expected."""


@dataclass(frozen=True, slots=True)
class When:
    """What the answers before must be, so that a question is one.

    Attributes:
        text: the same for people.
    """

    text: str
    holds: Callable[[Given], bool]


ALWAYS = When("", lambda given: True)
WITH_INSTANCES = When("--endpoint instance or async", lambda given: given["endpoint"] in ("instance", "async"))
WITH_ENDPOINT = When(
    "--endpoint instance, async or serverless", lambda given: given["endpoint"] in ("instance", "async", "serverless")
)
WITH_SYNCHRONOUS = When(
    "--endpoint instance or serverless", lambda given: given["endpoint"] in ("instance", "serverless")
)
WITH_SIMULATOR = When("--simulator", lambda given: given["simulator"] is not None)
WITH_PLUGIN = When(
    "--simulator and --nucleus classic", lambda given: WITH_SIMULATOR.holds(given) and given["nucleus"] == "classic"
)
WITH_PAGE = When("--live-page", lambda given: given["live-page"] is not None)
NEW_VPC = When("--vpc new, and no --simulator: that needs nat", lambda given: _new(given) and not _simulated(given))
EXISTING_VPC = When("--vpc with an id", lambda given: given["vpc"] not in ("new", None))
BY_CONNECTION = When("--delivery codeconnections", lambda given: given["delivery"] == "codeconnections")
BY_CODECOMMIT = When("--delivery codecommit", lambda given: given["delivery"] == "codecommit")
BY_BRANCH = When(
    "--delivery codeconnections or codecommit", lambda given: given["delivery"] in ("codeconnections", "codecommit")
)
BY_UPLOAD = When("--delivery s3", lambda given: given["delivery"] == "s3")


def _new(given: Given) -> bool:
    return bool(given["vpc"] == "new")


def _simulated(given: Given) -> bool:
    return WITH_SIMULATOR.holds(given)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        option: on the command line, without dashes.
        accepted: what may be answered, for people; ``read`` decides.
        default: what no answer means; without one an answer is needed.
        same_as: option whose answer is the default.
    """

    option: str
    text: str
    accepted: str
    read: Read
    default: str = ""
    same_as: str = ""
    when: When = ALWAYS


def questions(taken: Collection[str]) -> tuple[Question, ...]:
    """All that may be asked, in order.

    Args:
        taken: names of stages that there are.
    """
    ids = f"in the same order, {BETWEEN} between them"
    digest = "64 hexadecimal digits in lower case; infra/devices.md says how to get them"
    return (
        Question("name", "Name of the stage", "1 to 12 lower-case letters and digits", _untaken(taken)),
        Question("account", "AWS account", "12 digits", kind(Account)),
        Question("region", "Region", "such as eu-central-1", kind(Region), "eu-central-1"),
        Question(
            "data", "Data when the stage is destroyed", "keep or delete", one_of("keep", "delete"), default="keep"
        ),
        Question(
            "endpoint",
            "Endpoint",
            "instance, async, serverless or none",
            one_of("instance", "async", "serverless", "none"),
            default="instance",
        ),
        Question(
            "instance",
            "Instance type of the endpoint",
            "such as ml.c7i.xlarge, or ml.g6e.xlarge with a GPU",
            kind(SageMakerInstance),
            default="ml.c7i.xlarge",
            when=WITH_INSTANCES,
        ),
        Question("api", "API in front of the endpoint", "yes or no", yes_or_no, default="yes", when=WITH_ENDPOINT),
        Question(
            "fallback",
            "Whether devices may ask the endpoint",
            "allowed or denied",
            one_of("allowed", "denied"),
            default="denied",
            when=WITH_SYNCHRONOUS,
        ),
        Question("nucleus", "Nucleus of devices", "classic or lite", one_of("classic", "lite"), default="classic"),
        Question(
            "simulator",
            "An EC2 instance that is a device",
            "none, or its type, such as m7i.large, or g5.xlarge with a GPU",
            unless(NONE, kind(Ec2Instance)),
            default=NONE,
        ),
        Question(
            "simulator-group",
            "Group of the simulator",
            "canary or fleet",
            one_of("canary", "fleet"),
            default="canary",
            when=WITH_SIMULATOR,
        ),
        Question("nucleus-sha256", "SHA-256 of the nucleus' zip", digest, kind(Sha256), when=WITH_SIMULATOR),
        Question("plugin-sha256", "SHA-256 of its provisioning plugin", digest, kind(Sha256), when=WITH_PLUGIN),
        Question("vpc", "Network", "new, or the id of an existing VPC", _vpc, default="new"),
        Question(
            "egress",
            "Outbound internet access of the new VPC",
            f"none, {_usd_a_month('none')} USD a month, or nat, {_usd_a_month('nat')} USD",
            one_of("none", "nat"),
            default="none",
            when=NEW_VPC,
        ),
        Question("cidr", "CIDR of the VPC", "such as 10.40.0.0/16", kind(Cidr), default="10.40.0.0/16"),
        Question(
            "subnets",
            "Private subnets",
            f"two or more ids, {BETWEEN} between them",
            several(kind(SubnetId)),
            when=EXISTING_VPC,
        ),
        Question("zones", "Their zones", ids, several(kind(Zone)), when=EXISTING_VPC),
        Question("route-tables", "Their route tables", ids, several(kind(RouteTableId)), when=EXISTING_VPC),
        Question(
            "containers",
            "Images of containers",
            "build, or the tag of images in ECR",
            unless("build", kind(ImageTag)),
            default="build",
        ),
        Question(
            "bundle",
            "Bundle of the endpoint",
            "assets/<folder>, s3://..., or the version of a model package",
            bundle,
            default="assets/demo-bundle",
        ),
        Question(
            "phrases", "Phrases that devices learn", f"one or more, {BETWEEN} between them", several(kind(Phrase))
        ),
        Question(
            "first-deployment",
            "Phrases that devices look for at first",
            f"one or more, {BETWEEN} between them; none leaves the first deployment to you",
            unless(NONE, several(kind(Phrase))),
            same_as="phrases",
        ),
        Question(
            "consumers",
            "Where detections go beside MQTT",
            f"none, firehose, eventbridge, or both with {BETWEEN} between them",
            unless(NONE, several(one_of("firehose", "eventbridge"))),
            default=NONE,
        ),
        Question(
            "live-page",
            "The live page in browsers, for whoever has a token",
            "none, or the file of your key, which page_tokens key makes",
            unless(NONE, operator_key),
            default=NONE,
        ),
        Question(
            "page-commands",
            "Whether pages may command devices",
            "allowed or denied",
            one_of("allowed", "denied"),
            default="denied",
            when=WITH_PAGE,
        ),
        Question("email", "Who gets alarms", "an email address, or none", unless(NONE, kind(Email)), default=NONE),
        Question(
            "delivery",
            "A pipeline that deploys what is pushed",
            "none, codeconnections (GitHub, GitLab, Bitbucket), codecommit or s3",
            unless(NONE, one_of("codeconnections", "codecommit", "s3")),
            default=NONE,
        ),
        Question(
            "connection",
            "ARN of the connection",
            "of CodeConnections, made and accepted in the console",
            kind(ConnectionArn),
            when=BY_CONNECTION,
        ),
        Question("repository", "Repository", "owner and name, owner/name", kind(RepositoryName), when=BY_CONNECTION),
        Question("codecommit", "Repository of CodeCommit", "its name", kind(CodeCommitName), when=BY_CODECOMMIT),
        Question("branch", "Branch that is deployed", "its name", str, default="main", when=BY_BRANCH),
        Question("sources-bucket", "Bucket of the sources", "its name", kind(BucketName), when=BY_UPLOAD),
        Question("sources-key", "Key of the zip with the sources", "such as sam3edge.zip", str, when=BY_UPLOAD),
    )


def _usd_a_month(egress: Literal["none", "nat"]) -> str:
    """What a new VPC costs, as the guide's table says."""
    prices = read_prices()
    items = network_items(NewNetwork(kind="new", egress=egress), read_usage())
    return f"{sum(cost(one, prices) for one in items):.0f}"


def kind(of: Any) -> Read:
    """A value of a stage, as ``values.py`` checks it."""
    adapter: TypeAdapter[Any] = TypeAdapter(of)

    def read(text: str) -> Any:
        try:
            return adapter.validate_python(text)
        except ValidationError as error:
            raise ValueError(wording(first_complaint(error))) from error

    return read


def one_of(*accepted: str) -> Read:
    """One of some words."""

    def read(text: str) -> str:
        if text not in accepted:
            raise ValueError(f"expected {', '.join(accepted[:-1])} or {accepted[-1]}; got {text!r}")
        return text

    return read


def yes_or_no(text: str) -> bool:
    """What a person says."""
    return bool(one_of("yes", "no")(text) == "yes")


def several(read: Read) -> Read:
    """One or more values."""

    def read_all(text: str) -> list[Any]:
        parts = [one.strip() for one in text.split(BETWEEN) if one.strip()]
        if not parts:
            raise ValueError(f"expected one or more, {BETWEEN} between them; got {text!r}")
        return [read(one) for one in parts]

    return read_all


def unless(word: str, read: Read) -> Read:
    """A value, or a word for none of them."""

    def read_unless(text: str) -> Any:
        if text == word:
            return None
        try:
            return read(text)
        except ValueError as error:
            raise ValueError(f"expected {word}, or {str(error).removeprefix('expected ')}") from error

    return read_unless


def bundle(text: str) -> dict[str, Any]:
    """The section of a stage that names a bundle."""
    section: dict[str, Any] = {"source": "assets", "path": text}
    if text.startswith("s3://"):
        section = {"source": "s3", "uri": text}
    elif text.isdecimal():
        section = {"source": "registry", "version": int(text)}
    named = kind(Bundle)(section)  # type: ignore[arg-type]
    if isinstance(named, AssetsBundle) and not is_bundle(named):
        raise ValueError(f"expected a folder in assets with a manifest.json, got {text!r}")
    return section


def operator_key(text: str) -> str:
    """The public part of the key in a file."""
    try:
        return public_part(read_private_key(Path(text)))
    except SettingsError as error:
        raise ValueError(str(error)) from error


def _vpc(text: str) -> str:
    return text if text == "new" else str(unless("new", kind(VpcId))(text))


def _untaken(taken: Collection[str]) -> Read:
    named = kind(StageName)

    def read(text: str) -> Any:
        name = named(text)
        if name in taken:
            raise ValueError(
                f"expected a name that no stage has, got {text!r}: infra/stages/{text}.yaml is there already"
            )
        return name

    return read
