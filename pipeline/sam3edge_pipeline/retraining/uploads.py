"""How many examples devices have sent: EventBridge counts what a rule matches, so that nothing has to list a bucket."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

MAX_AGE = timedelta(days=59)
"""Further back nothing is counted: by the hour CloudWatch returns 60 days in one response."""

_HOUR = 3600


def uploads_since(cloudwatch: Any, rule: str, since: datetime | None, now: datetime) -> int:
    """Examples that a rule has matched.

    Args:
        cloudwatch: boto3's client.
        rule: of EventBridge, which matches each whole example once.
        since: None for ``MAX_AGE`` before now.
    """
    earliest = now - MAX_AGE
    start = earliest if since is None else max(since, earliest)
    if start >= now:
        return 0
    found = cloudwatch.get_metric_statistics(
        Namespace="AWS/Events",
        MetricName="MatchedEvents",
        Dimensions=[{"Name": "RuleName", "Value": rule}],
        StartTime=start,
        EndTime=now,
        Period=_HOUR,
        Statistics=["Sum"],
    )
    return int(sum(one["Sum"] for one in found["Datapoints"]))
