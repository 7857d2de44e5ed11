"""What a roll-out remembers, in two DynamoDB tables.

    records       partition key ``id``: who rolls out to a target now, what last ran well there, how each roll-out ended
    observations  partition key ``thing``, sort key ``at``: what devices said (``observations.py``)

Both have a time to live on ``expires``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from boto3.dynamodb.conditions import Key
from botocore.exceptions import ClientError

from sam3edge_pipeline.rollout.observations import Observation

KEEP_OUTCOMES_SECONDS = 400 * 86_400


@dataclass(frozen=True, slots=True)
class Good:
    """What last ran well on a target.

    Attributes:
        versions: of our components, by name.
        bundle_digest: of the model.
        package_arn: that it was registered as.
        at: when it was found good, seconds since 1970.
    """

    versions: Mapping[str, str]
    bundle_digest: str
    package_arn: str
    at: float


class Records:
    """The records table.

    Args:
        table: boto3's ``Table`` resource.
    """

    def __init__(self, table: Any) -> None:
        self._table = table

    def claim(self, target: str, owner: str, now: float, seconds: float) -> bool:
        """Claim a target for one roll-out; again by its owner is fine. A claim that was never given back expires.

        Returns:
            False while another owner has it.
        """
        try:
            self._table.put_item(
                Item={"id": f"claim#{target}", "owner": owner, "expires": int(now + seconds)},
                ConditionExpression="attribute_not_exists(id) OR #owner = :owner OR expires < :now",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={":owner": owner, ":now": int(now)},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def release(self, target: str, owner: str) -> None:
        """Give a claim back; one that another owner has stays."""
        try:
            self._table.delete_item(
                Key={"id": f"claim#{target}"},
                ConditionExpression="#owner = :owner",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={":owner": owner},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise

    def put_good(self, target: str, good: Good) -> None:
        """Remember what runs well on a target."""
        self._table.put_item(Item={"id": f"good#{target}", "good": json.dumps(asdict(good), sort_keys=True)})

    def good(self, target: str) -> Good | None:
        """What last ran well on a target; None when nothing was ever found good."""
        item = self._table.get_item(Key={"id": f"good#{target}"}, ConsistentRead=True).get("Item")
        return None if item is None else Good(**json.loads(item["good"]))

    def put_outcome(self, execution: str, outcome: Mapping[str, Any], now: float) -> None:
        """Remember how a roll-out ended."""
        expires = int(now + KEEP_OUTCOMES_SECONDS)
        text = json.dumps(outcome, sort_keys=True)
        self._table.put_item(Item={"id": f"outcome#{execution}", "outcome": text, "expires": expires})

    def outcome(self, execution: str) -> dict[str, Any] | None:
        """How a roll-out ended; None while it has not."""
        item = self._table.get_item(Key={"id": f"outcome#{execution}"}, ConsistentRead=True).get("Item")
        return None if item is None else dict(json.loads(item["outcome"]))


class ObservationTable:
    """The observations table.

    Args:
        table: boto3's ``Table`` resource.
        keep_seconds: how long an observation is kept; longer than the time before a roll-out that is compared with.
    """

    def __init__(self, table: Any, keep_seconds: float = 21 * 86_400) -> None:
        self._table = table
        self._keep_seconds = keep_seconds

    def put(self, observations: Iterable[Observation]) -> None:
        """Keep observations; the same message at the same time is kept once."""
        with self._table.batch_writer(overwrite_by_pkeys=["thing", "at"]) as batch:
            for one in observations:
                body = json.dumps(asdict(one), separators=(",", ":"))
                expires = int(one.at + self._keep_seconds)
                batch.put_item(
                    Item={"thing": one.thing, "at": _sort_key(one.at, one.id), "body": body, "expires": expires}
                )

    def read(self, thing: str, since: float, until: float, most: int, page: int = 1000) -> Iterator[Observation]:
        """Observations of a device, the newest first.

        Args:
            since, until: seconds since 1970.
            most: how many are read.
            page: how many are fetched at a time; few for who takes only the first ones.
        """
        condition = Key("thing").eq(thing) & Key("at").between(_sort_key(since), _sort_key(until, "~"))
        after: dict[str, Any] = {}
        while most > 0:
            said = self._table.query(
                KeyConditionExpression=condition, ScanIndexForward=False, Limit=min(most, page), **after
            )
            for item in said["Items"]:
                yield _observation(json.loads(item["body"]))
            most -= len(said["Items"])
            if "LastEvaluatedKey" not in said:
                return
            after = {"ExclusiveStartKey": said["LastEvaluatedKey"]}


def _sort_key(at: float, identity: str = "") -> str:
    return f"{at:014.3f}#{identity}"


def _observation(body: dict[str, Any]) -> Observation:
    scores = {prompt: tuple(values) for prompt, values in body["scores"].items()}
    return Observation(**{**body, "prompts": tuple(body["prompts"]), "scores": scores})
