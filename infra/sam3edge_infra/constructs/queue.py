"""A queue with one for what cannot be handled: encrypted, by TLS only."""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from sam3edge_infra.constructs.names import Naming

MAX_RECEIVES = 5
DEAD_DAYS = 14


@dataclass(frozen=True, slots=True)
class Queues:
    """A queue, and where messages go that came ``MAX_RECEIVES`` times in vain."""

    main: sqs.Queue
    dead: sqs.Queue


def queue_with_dead_letters(scope: Construct, name: str, naming: Naming, visibility: cdk.Duration) -> Queues:
    """A queue.

    Args:
        visibility: longer than its reader needs for a batch.
    """
    made = name.title().replace("-", "")
    dead = sqs.Queue(
        scope,
        f"{made}Dead",
        queue_name=naming(f"{name}-dead"),
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=cdk.Duration.days(DEAD_DAYS),
    )
    main = sqs.Queue(
        scope,
        made,
        queue_name=naming(name),
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        visibility_timeout=visibility,
        dead_letter_queue=sqs.DeadLetterQueue(queue=dead, max_receive_count=MAX_RECEIVES),
    )
    return Queues(main, dead)
