"""Kinds of values that stages are made of: what each accepts is in the message of its refusal."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, TypeAlias

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import AfterValidator

from sam3edge_infra.stages.schedules import is_schedule

GPU_FAMILIES = ("g4dn", "g5", "g6", "g6e", "p4d", "p5")
CPU_FAMILIES = ("m6i", "m7i", "c6i", "c7i", "r6i", "r7i")
EC2_FAMILIES = ("t3", "m6i", "m7i", "c6i", "c7i", "g4dn", "g5", "g6", "g6e")
_COMMON = ("xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge")
SIZES = {
    "t3": ("medium", "large", "xlarge", "2xlarge"),
    **dict.fromkeys(("m6i", "c6i", "r6i"), ("large", *_COMMON, "24xlarge")),
    **dict.fromkeys(("m7i", "c7i", "r7i"), ("large", *_COMMON, "24xlarge", "48xlarge")),
    "g4dn": _COMMON,
    **dict.fromkeys(("g5", "g6", "g6e"), (*_COMMON, "24xlarge", "48xlarge")),
    "p4d": ("24xlarge",),
    "p5": ("48xlarge",),
}
"""Sizes that SageMaker and EC2 both have of a family."""

MIN_KEY_BITS = 2048
"""Of keys that AWS IoT Core checks signatures with."""

PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
"""RFC 1918; a VPC has a CIDR of /16 to /28 in it."""

REGIONS = (
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-north-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-2",
)
"""Where SageMaker, Greengrass V2 and IoT Core all are."""


def _matching(pattern: str, accepted: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise ValueError(f"expected {accepted}, got {value!r}")
        return value

    return check


def _one_of(accepted: tuple[str, ...], what: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in accepted:
            raise ValueError(f"expected {what} {', '.join(accepted)}; got {value!r}")
        return value

    return check


def _instance(prefix: str, families: tuple[str, ...]) -> Callable[[str], str]:
    def check(value: str) -> str:
        family, _, size = value.removeprefix(prefix).partition(".")
        if not value.startswith(prefix) or family not in families:
            raise ValueError(f"expected {prefix}<family>.<size>, of the families {', '.join(families)}; got {value!r}")
        if size not in SIZES[family]:
            raise ValueError(
                f"expected {prefix}{family}.<size>, of the sizes {', '.join(SIZES[family])}; got {value!r}"
            )
        return value

    return check


def _schedule(value: str) -> str:
    if not is_schedule(value):
        raise ValueError(
            "expected a schedule such as rate(1 day), rate(7 days) or cron(0 3 ? * SUN *), with a ? for one of its "
            f"days, got {value!r}"
        )
    return value


def _rsa_key(value: str) -> str:
    expected = f"expected a public RSA key of {MIN_KEY_BITS} bits or more in PEM, as page_tokens key makes it"
    try:
        key = serialization.load_pem_public_key(value.encode())
    except ValueError as error:
        # the value is not shown: it may be the private part
        raise ValueError(f"{expected}; got something else") from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < MIN_KEY_BITS:
        raise ValueError(f"{expected}; got another kind, or fewer")
    return value


def _private_cidr(value: str) -> str:
    try:
        network = ipaddress.IPv4Network(value)
    except ValueError:
        network = None
    if network is None or not any(network.subnet_of(one) for one in PRIVATE) or not 16 <= network.prefixlen <= 28:
        raise ValueError(f"expected a private CIDR of /16 to /28 such as 10.40.0.0/16, got {value!r}")
    return value


StageName: TypeAlias = Annotated[
    str,
    AfterValidator(
        _matching(
            r"(?!page$)[a-z][a-z0-9]{0,11}", "1 to 12 lower-case letters and digits, a letter first, and not 'page'"
        )
    ),
]
"""Not ``page``: its things would have the client ids of live pages, ``sam3edge-page-...``."""

Account: TypeAlias = Annotated[str, AfterValidator(_matching(r"(?!0{12})\d{12}", "12 digits that are not all 0"))]
Region: TypeAlias = Annotated[str, AfterValidator(_one_of(REGIONS, "one of the regions"))]
SageMakerInstance: TypeAlias = Annotated[str, AfterValidator(_instance("ml.", (*CPU_FAMILIES, *GPU_FAMILIES)))]
Ec2Instance: TypeAlias = Annotated[str, AfterValidator(_instance("", EC2_FAMILIES))]
Sha256: TypeAlias = Annotated[str, AfterValidator(_matching(r"[0-9a-f]{64}", "64 hexadecimal digits in lower case"))]
PublicKey: TypeAlias = Annotated[str, AfterValidator(_rsa_key)]
UNKNOWN_SHA256 = "0" * 64
"""A placeholder in stages, for a digest that nobody has looked up: no file has it, so none is installed by it."""

S3Uri: TypeAlias = Annotated[
    str,
    AfterValidator(_matching(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/\S+", "an address such as s3://bucket/key")),
]
VpcId: TypeAlias = Annotated[
    str, AfterValidator(_matching(r"vpc-[0-9a-f]{8,17}", "an id such as vpc-0123456789abcdef0"))
]
SubnetId: TypeAlias = Annotated[
    str, AfterValidator(_matching(r"subnet-[0-9a-f]{8,17}", "an id such as subnet-0123456789abcdef0"))
]
RouteTableId: TypeAlias = Annotated[
    str, AfterValidator(_matching(r"rtb-[0-9a-f]{8,17}", "an id such as rtb-0123456789abcdef0"))
]
Zone: TypeAlias = Annotated[
    str, AfterValidator(_matching(r"[a-z]{2}(-[a-z]+)+-\d[a-z]", "a zone such as eu-central-1a"))
]
Cidr: TypeAlias = Annotated[str, AfterValidator(_private_cidr)]
Email: TypeAlias = Annotated[str, AfterValidator(_matching(r"[^@\s]+@[^@\s]+\.[^@\s]+", "an email address"))]
Schedule: TypeAlias = Annotated[str, AfterValidator(_schedule)]
Phrase: TypeAlias = Annotated[str, AfterValidator(_matching(r"[^,|\s][^,|]{0,99}", "a phrase without commas"))]
ThingGroupName: TypeAlias = Annotated[
    str, AfterValidator(_matching(r"[a-zA-Z0-9:_-]{1,100}", "1 to 100 letters, digits, colons, dashes, underscores"))
]
ComponentVersion: TypeAlias = Annotated[
    str, AfterValidator(_matching(r"\d{1,6}\.\d{1,6}\.\d{1,6}", "the version of a component such as 1.3.0"))
]
ImageTag: TypeAlias = Annotated[
    str, AfterValidator(_matching(r"(?!latest$)[\w][\w.-]{0,127}", "the tag of an image, but not 'latest': it moves"))
]
AssetsFolder: TypeAlias = Annotated[
    str, AfterValidator(_matching(r"assets/\w[\w.-]*", "a folder in assets such as assets/demo-bundle"))
]
DatasetName: TypeAlias = Annotated[
    str, AfterValidator(_matching(r"[a-z0-9][a-z0-9-]{0,39}", "1 to 40 lower-case letters, digits and dashes"))
]
EcrPrefix: TypeAlias = Annotated[
    str,
    AfterValidator(
        _matching(r"([a-z0-9]+([._/-][a-z0-9]+)*)?", "what names of repositories begin with, in lower case")
    ),
]
WorkTeamArn: TypeAlias = Annotated[
    str,
    AfterValidator(_matching(r"arn:[^:]+:sagemaker:[^:]+:\d{12}:workteam/\S+", "the ARN of a work team of SageMaker")),
]
FunctionArn: TypeAlias = Annotated[
    str, AfterValidator(_matching(r"arn:[^:]+:lambda:[^:]+:\d{12}:function:\S+", "the ARN of a Lambda function"))
]
ConnectionArn: TypeAlias = Annotated[
    str,
    AfterValidator(
        _matching(
            r"arn:[^:]+:(codeconnections|codestar-connections):[^:]+:\d{12}:connection/\S+",
            "an ARN such as arn:aws:codeconnections:eu-central-1:111122223333:connection/01234567-...",
        )
    ),
]
RepositoryName: TypeAlias = Annotated[
    str, AfterValidator(_matching(r"[\w.-]+(/[\w.-]+)+", "owner and name of a repository such as yard/sam3edge"))
]
CodeCommitName: TypeAlias = Annotated[
    str, AfterValidator(_matching(r"[\w.-]{1,100}", "the name of a repository: letters, digits, . _ and -"))
]
BucketName: TypeAlias = Annotated[
    str,
    AfterValidator(
        _matching(
            r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "the name of a bucket: 3 to 63 lower-case letters, digits, . and -"
        )
    ),
]
HostName: TypeAlias = Annotated[
    str, AfterValidator(_matching(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)+", "a host such as images.example.org"))
]


def has_gpu(instance: str) -> bool:
    """Whether an instance type has an NVIDIA GPU."""
    return instance.removeprefix("ml.").split(".")[0] in GPU_FAMILIES
