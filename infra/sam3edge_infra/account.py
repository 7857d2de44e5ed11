"""Whose account it is: what people run asks before it changes anything, as the CDK does before it deploys."""

from __future__ import annotations

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from sam3edge.core.errors import SettingsError
from sam3edge_infra.stages.stage import Stage


def session_of(stage: Stage) -> boto3.Session:
    """A session in the stage's region, as whoever runs this.

    Raises:
        SettingsError: there are no credentials, or they are of another account.
    """
    try:
        session = boto3.Session(region_name=stage.region)
        account = session.client("sts").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        raise SettingsError(
            f"expected credentials of account {stage.account}, got none that AWS takes ({error}); set AWS_PROFILE"
        ) from error
    if account != stage.account:
        raise SettingsError(
            f"expected credentials of account {stage.account}, where {stage.name} is; got those of {account}; "
            "set AWS_PROFILE, or the stage's account"
        )
    return session
