"""What is asked before anything is changed in an account, or deleted."""

from __future__ import annotations

import boto3

from sam3edge.core.errors import SettingsError
from sam3edge_infra.stages.stage import Stage


def session_of(stage: Stage) -> boto3.Session:
    """A session in the stage's region.

    Raises:
        SettingsError: the credentials are those of another account.
    """
    session = boto3.Session(region_name=stage.region)
    account = session.client("sts").get_caller_identity()["Account"]
    if account != stage.account:
        raise SettingsError(
            f"expected credentials of account {stage.account} for the stage {stage.name}, got those of {account}; "
            "set AWS_PROFILE"
        )
    return session


def expect_deletable(stage: Stage) -> None:
    """Raises:
    SettingsError: the stage keeps its data.
    """
    if stage.data == "keep":
        raise SettingsError(f"{stage.name} keeps its data; set data: delete, deploy, and destroy it again")
