"""What the roll-out functions are told by environment variables."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from sam3edge_pipeline.rollout.deployments import DeploymentPolicy, Nucleus
from sam3edge_pipeline.rollout.quality import SampleRule

_GROUP = r"^arn:[^:]+:iot:[^:]+:\d{12}:thinggroup/.+$"


class RolloutSettings(BaseSettings):
    """Every setting, under the name of its environment variable: ``SAM3EDGE_ROLLOUT_`` and the name in capitals.

    Attributes:
        state_machine_arn: what an approval starts.
        canary_group_arn: thing group of the devices that get a model first; none of them is in the fleet's.
        fleet_group_arn: thing group of all others.
        nucleus: name of the nucleus' component, for deployments that name none yet.
        nucleus_version: its version.
        bucket: S3 bucket of the component artifacts.
        records_table, observations_table: DynamoDB tables, see ``records.py``.
        claim_seconds: after which a roll-out that never ended gives way; longer than ``Times.longest``.
        min_bakes: rounds of judging before a canary may pass.
        max_bakes: rounds in all, as the state machine has them.
        baseline_days: days before the roll-out whose same hours are compared with.
        block_seconds: length of a block of time.
        max_observations: of one device that are looked at.
        fleet_share: of the fleet's devices that must have the model in the end.
        fleet_failed_share: of them that may fail.
        min_frames, min_blocks, effect, power, alpha: of the sample rule, see ``quality.SampleRule``.
        notify_seconds, device_minutes, abort_percent: of deployments, see ``deployments.DeploymentPolicy``.
    """

    model_config = SettingsConfigDict(
        env_prefix="SAM3EDGE_ROLLOUT_", extra="ignore", frozen=True, env_ignore_empty=True, case_sensitive=False
    )

    state_machine_arn: str = Field(pattern=r"^arn:[^:]+:states:.+$")
    canary_group_arn: str = Field(pattern=_GROUP)
    fleet_group_arn: str = Field(pattern=_GROUP)
    nucleus: str = "aws.greengrass.Nucleus"
    nucleus_version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    bucket: str = Field(min_length=3)
    records_table: str = Field(min_length=3)
    observations_table: str = Field(min_length=3)
    claim_seconds: int = Field(14 * 86_400, ge=3600)
    min_bakes: int = Field(6, ge=1)
    max_bakes: int = Field(24, ge=1)
    baseline_days: int = Field(7, ge=1, le=20)
    block_seconds: int = Field(600, ge=10, le=3600)
    max_observations: int = Field(50_000, ge=1000, le=200_000)
    fleet_share: float = Field(0.8, gt=0, le=1)
    fleet_failed_share: float = Field(0.05, ge=0, lt=1)
    min_frames: int = Field(300, ge=1)
    min_blocks: int = Field(12, ge=2)
    effect: float = Field(0.3, gt=0, le=1)
    power: float = Field(0.9, gt=0, lt=1)
    alpha: float = Field(0.05, gt=0, lt=1)
    notify_seconds: int = Field(120, ge=1)
    device_minutes: int = Field(120, ge=1)
    abort_percent: float = Field(10.0, gt=0, le=100)

    def rule(self) -> SampleRule:
        """The sample rule."""
        return SampleRule(self.min_frames, self.min_blocks, self.effect, self.power, self.alpha)

    def policy(self) -> DeploymentPolicy:
        """How deployments are carried out."""
        return DeploymentPolicy(
            self.notify_seconds, timeout_minutes=self.device_minutes, abort_percent=self.abort_percent
        )

    def default_nucleus(self) -> Nucleus:
        """The nucleus of deployments that name none yet."""
        return Nucleus(self.nucleus, self.nucleus_version)
