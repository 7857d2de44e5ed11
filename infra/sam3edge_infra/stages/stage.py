"""What a stage says. Everything is checked here, before anything is synthesised."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator
from typing_extensions import Self

from sam3edge_infra.stages.delivery import Consumers, Delivery, LivePage, Monitoring, Simulator
from sam3edge_infra.stages.first_deployment import FirstDeployment
from sam3edge_infra.stages.learning import Labeling, Training
from sam3edge_infra.stages.retention import Retention
from sam3edge_infra.stages.section import Section
from sam3edge_infra.stages.values import (
    Account,
    AssetsFolder,
    Cidr,
    EcrPrefix,
    HostName,
    ImageTag,
    Region,
    RouteTableId,
    S3Uri,
    SageMakerInstance,
    Sha256,
    StageName,
    SubnetId,
    ThingGroupName,
    VpcId,
    Zone,
)


class Scaled(Section):
    """Instances whose number follows the load."""

    instance_type: SageMakerInstance
    min_instances: int
    max_instances: int = Field(1, ge=1, le=100)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_instances > self.max_instances:
            raise ValueError(f"expected max_instances of {self.min_instances} or more, got {self.max_instances}")
        return self


class InstanceEndpoint(Scaled):
    """A real-time endpoint: instances that are always there.

    Attributes:
        min_instances: never 0: real-time endpoints scale to zero with inference components only; use ``async``.
        requests_per_instance: a minute, that scaling aims at.
    """

    kind: Literal["instance"]
    min_instances: int = Field(1, ge=1, le=20)
    requests_per_instance: int = Field(60, ge=1, le=100_000)


class AsyncEndpoint(Scaled):
    """An endpoint that takes uploads from S3 and scales to zero between them.

    Attributes:
        backlog_per_instance: waiting requests that scaling aims at.
    """

    kind: Literal["async"]
    min_instances: int = Field(0, ge=0, le=20)
    backlog_per_instance: int = Field(4, ge=1, le=1000)


class ServerlessEndpoint(Section):
    """An endpoint without instances: nothing costs while nobody asks, and no GPU.

    Attributes:
        memory_mb: 1024 to 6144 in steps of 1024.
        concurrency: requests at the same time, 1 to 200.
    """

    kind: Literal["serverless"]
    memory_mb: Literal[1024, 2048, 3072, 4096, 5120, 6144] = 6144
    concurrency: int = Field(2, ge=1, le=200)


class NoEndpoint(Section):
    """Devices only."""

    kind: Literal["none"]


Endpoint: TypeAlias = Annotated[
    InstanceEndpoint | AsyncEndpoint | ServerlessEndpoint | NoEndpoint, Field(discriminator="kind")
]


MAX_NEW_PREFIX = 20
"""Three zones with a private subnet of /22 and a public one of /26 each have room in it."""


class NewNetwork(Section):
    """A VPC of its own.

    Attributes:
        egress: ``nat`` lets private subnets reach the internet (a simulator needs that); ``none`` lets them reach S3
            and SageMaker's API, of this account alone, and costs less than half.
    """

    kind: Literal["new"]
    cidr: Cidr = "10.40.0.0/16"
    zones: int = Field(2, ge=2, le=3)
    egress: Literal["nat", "none"] = "none"

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if int(self.cidr.partition("/")[2]) > MAX_NEW_PREFIX:
            raise ValueError(f"expected a CIDR of /16 to /{MAX_NEW_PREFIX} for a new VPC, got {self.cidr}")
        return self


class ExistingNetwork(Section):
    """A VPC that is there; whoever runs it sees to endpoints of AWS' services, or to outbound internet access.

    Attributes:
        subnets: private ones, each in a zone of its own; ``zones`` and ``route_tables`` in the same order.
    """

    kind: Literal["existing"]
    vpc: VpcId
    cidr: Cidr
    subnets: tuple[SubnetId, ...] = Field(min_length=2)
    zones: tuple[Zone, ...] = Field(min_length=2)
    route_tables: tuple[RouteTableId, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        if not len(self.subnets) == len(self.zones) == len(self.route_tables):
            raise ValueError(
                f"expected a zone and a route table for each of {len(self.subnets)} subnets, "
                f"got {len(self.zones)} and {len(self.route_tables)}"
            )
        return self


Network: TypeAlias = Annotated[NewNetwork | ExistingNetwork, Field(discriminator="kind")]


class BuiltContainers(Section):
    """Images are built from this repository by ``make deploy``, which needs Docker."""

    source: Literal["build"]


class PulledContainers(Section):
    """Images are in ECR, in the account and region of the stage: ``<prefix>/endpoint-cpu``, ``endpoint-gpu``,
    ``pipeline``, ``functions`` and ``api``.

    Attributes:
        prefix: of the repositories; by default those of the stage's storage stack.
        tag: of all of them; not ``latest``.
    """

    source: Literal["pull"]
    prefix: EcrPrefix = ""
    tag: ImageTag


Containers: TypeAlias = Annotated[BuiltContainers | PulledContainers, Field(discriminator="source")]


class RegistryBundle(Section):
    """A model package of the stage's group.

    Attributes:
        version: of the package; the endpoint serves this one until the stage names another.
    """

    source: Literal["registry"]
    version: int = Field(ge=1)


class S3Bundle(Section):
    """A bundle in S3: a prefix (ends with ``/``), or one ``model.tar.gz``."""

    source: Literal["s3"]
    uri: S3Uri

    @model_validator(mode="after")
    def _is_a_model(self) -> Self:
        if not self.uri.endswith(("/", ".tar.gz")):
            raise ValueError(f"expected a prefix that ends with '/', or a .tar.gz, got {self.uri!r}")
        return self


class AssetsBundle(Section):
    """A bundle in this repository's ``assets/``, which goes with the deployment."""

    source: Literal["assets"]
    path: AssetsFolder = "assets/demo-bundle"


Bundle: TypeAlias = Annotated[RegistryBundle | S3Bundle | AssetsBundle, Field(discriminator="source")]


NUCLEI = {"classic": "aws.greengrass.Nucleus", "lite": "aws.greengrass.NucleusLite"}
"""Components of the nuclei, by kind."""


class ClassicNucleus(Section):
    """The Java nucleus.

    Attributes:
        sha256: of the zip that the simulator installs; asked for only where there is a simulator.
        plugin_sha256: of the jar of the fleet provisioning plugin, likewise.
    """

    kind: Literal["classic"]
    version: Literal["2.18.1"] = "2.18.1"
    sha256: Sha256 | None = None
    plugin_sha256: Sha256 | None = None

    @property
    def digests(self) -> tuple[str | None, ...]:
        """Of all that the simulator downloads."""
        return self.sha256, self.plugin_sha256

    @property
    def component(self) -> str:
        """Name of the nucleus' component."""
        return NUCLEI[self.kind]


class LiteNucleus(Section):
    """The nucleus in C.

    Attributes:
        sha256: of the zip that the simulator installs; asked for only where there is a simulator.
    """

    kind: Literal["lite"]
    version: Literal["2.6.0"] = "2.6.0"
    sha256: Sha256 | None = None

    @property
    def digests(self) -> tuple[str | None, ...]:
        """Of all that the simulator downloads."""
        return (self.sha256,)

    @property
    def component(self) -> str:
        """Name of the nucleus' component."""
        return NUCLEI[self.kind]


Nucleus: TypeAlias = Annotated[ClassicNucleus | LiteNucleus, Field(discriminator="kind")]


class Api(Section):
    """The API in front of the endpoint.

    Attributes:
        rate, burst: requests a second of one key, and at once.
        quota: requests of one key a day.
        waf: ``managed`` puts AWS' managed rules and a rate limit for each address in front; ``none`` does not.
        image_hosts: from which images may be fetched.
    """

    rate: float = Field(10, gt=0, le=10_000)
    burst: int = Field(20, ge=1, le=5000)
    quota: int = Field(10_000, ge=1)
    waf: Literal["managed", "none"] = "none"
    image_hosts: tuple[HostName, ...] = ()


class Fleet(Section):
    """Devices.

    Attributes:
        canary_group, fleet_group: thing groups; no device may be in both.
        endpoint_fallback: whether devices may ask the endpoint: ``allowed`` or ``denied``. Never an asynchronous one:
            it reads whatever its caller names and answers everybody below one prefix, which keeps nobody apart. Whether
            they do, their configuration says: ``first_deployment.fallback``, or a deployment since.
        first_deployment: made by the template; None leaves it to a person, and what was made stays.
    """

    canary_group: ThingGroupName
    fleet_group: ThingGroupName
    endpoint_fallback: Literal["allowed", "denied"] = "denied"
    first_deployment: FirstDeployment | None = None

    @model_validator(mode="after")
    def _are_two(self) -> Self:
        if self.canary_group == self.fleet_group:
            raise ValueError(f"expected two thing groups, got {self.canary_group} twice")
        return self


class Stage(Section):
    """One deployment of everything.

    Attributes:
        data: whether what a stage has gathered is kept when it is destroyed, or deleted with it.
    """

    name: StageName
    account: Account
    region: Region
    data: Literal["keep", "delete"]
    endpoint: Endpoint
    network: Network
    containers: Containers
    bundle: Bundle
    nucleus: Nucleus
    fleet: Fleet
    labeling: Labeling
    training: Training
    api: Api | None = None
    consumers: Consumers = Consumers()
    simulator: Simulator | None = None
    live_page: LivePage | None = None
    monitoring: Monitoring = Monitoring()
    delivery: Delivery | None = None
    retention: Retention = Retention()

    @property
    def named_buckets(self) -> tuple[str, ...]:
        """Buckets that it names, in whatever account they are: of a checkpoint, of a bundle."""
        uris = [self.training.checkpoint, self.bundle.uri if isinstance(self.bundle, S3Bundle) else None]
        return tuple(sorted({uri.removeprefix("s3://").partition("/")[0] for uri in uris if uri is not None}))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.endpoint.kind == "none" and self.api is not None:
            raise ValueError("expected no api with the endpoint kind none: there is nothing that it could ask")
        if self.endpoint.kind in ("none", "async") and self.fleet.endpoint_fallback == "allowed":
            raise ValueError(f"expected endpoint_fallback: denied with the endpoint kind {self.endpoint.kind}")
        unpacked = self.bundle.source == "registry" or (self.bundle.source == "s3" and self.bundle.uri.endswith("/"))
        if self.endpoint.kind == "serverless" and unpacked:
            raise ValueError(
                "expected a bundle from assets, or one .tar.gz in S3, with a serverless endpoint: "
                "SageMaker gives those no models that are not packed"
            )
        zones = self.network.zones if isinstance(self.network, ExistingNetwork) else ()
        if wrong := [zone for zone in zones if zone[:-1] != self.region]:
            raise ValueError(f"expected zones of {self.region}, got {', '.join(wrong)}")
        if self.simulator is not None:
            if self.nucleus.sha256 is None:
                raise ValueError("expected nucleus.sha256 with a simulator: it installs nothing else than that file")
            if self.network.kind == "new" and self.network.egress == "none":
                raise ValueError("expected network.egress: nat with a simulator: it installs packages")
            if isinstance(self.nucleus, ClassicNucleus) and self.nucleus.plugin_sha256 is None:
                raise ValueError("expected nucleus.plugin_sha256 with a simulator of the classic nucleus")
        return self
