"""Kinds of values that stages are made of: what each accepts is in the message of its refusal."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, TypeAlias

from pydantic import AfterValidator

GPU_FAMILIES = ("g4dn", "g5", "g6", "g6e", "p4d", "p5")
CPU_FAMILIES = ("m6i", "m7i", "c6i", "c7i", "r6i", "r7i")
SIZES = ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge", "48xlarge")
EC2_FAMILIES = ("t3", "m6i", "m7i", "c6i", "c7i", "g4dn", "g5", "g6", "g6e")
EC2_SIZES = ("medium", *SIZES)

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


def _instance(prefix: str, families: tuple[str, ...], sizes: tuple[str, ...]) -> Callable[[str], str]:
    def check(value: str) -> str:
        parts = value.removeprefix(prefix).split(".")
        if not value.startswith(prefix) or len(parts) != 2 or parts[0] not in families or parts[1] not in sizes:
            raise ValueError(
                f"expected {prefix}<family>.<size>, of the families {', '.join(families)} "
                f"and the sizes {', '.join(sizes)}; got {value!r}"
            )
        return value

    return check


StageName: TypeAlias = Annotated[
    str, AfterValidator(_matching(r"[a-z][a-z0-9]{0,11}", "1 to 12 lower-case letters and digits, a letter first"))
]
Account: TypeAlias = Annotated[str, AfterValidator(_matching(r"\d{12}", "12 digits in quotes"))]
Region: TypeAlias = Annotated[str, AfterValidator(_one_of(REGIONS, "one of the regions"))]
SageMakerInstance: TypeAlias = Annotated[str, AfterValidator(_instance("ml.", (*CPU_FAMILIES, *GPU_FAMILIES), SIZES))]
Ec2Instance: TypeAlias = Annotated[str, AfterValidator(_instance("", EC2_FAMILIES, EC2_SIZES))]
Sha256: TypeAlias = Annotated[str, AfterValidator(_matching(r"[0-9a-f]{64}", "64 hexadecimal digits in lower case"))]
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
Cidr: TypeAlias = Annotated[
    str,
    AfterValidator(_matching(r"(10|172|192)(\.\d{1,3}){3}/(1[6-9]|2[0-4])", "a private range such as 10.40.0.0/16")),
]
Email: TypeAlias = Annotated[str, AfterValidator(_matching(r"[^@\s]+@[^@\s]+\.[^@\s]+", "an address of e-mail"))]
Schedule: TypeAlias = Annotated[
    str,
    AfterValidator(
        _matching(
            r"rate\(\d+ (hours?|days?)\)|cron\([^()]{9,}\)", "a schedule such as rate(7 days) or cron(0 3 ? * SUN *)"
        )
    ),
]
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
HostName: TypeAlias = Annotated[
    str, AfterValidator(_matching(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)+", "a host such as images.example.org"))
]


def has_gpu(instance: str) -> bool:
    """Whether an instance type has an NVIDIA GPU."""
    return instance.removeprefix("ml.").split(".")[0] in GPU_FAMILIES
