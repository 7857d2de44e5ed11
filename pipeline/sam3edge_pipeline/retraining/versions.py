"""Versions of a dataset that are in the bucket: 1, 2, 3, ..., each the parent of the next."""

from __future__ import annotations

import re
from typing import Any

from sam3edge_pipeline.datasets.store import MANIFEST

_NUMBER = re.compile(r"[1-9]\d{0,8}")


def latest_version(s3: Any, bucket: str, dataset: str) -> int | None:
    """The latest version that was stored whole; None before the first.

    Args:
        s3: boto3's client.
    """
    found: list[int] = []
    prefix = f"datasets/{dataset}/"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
    for page in pages:
        names = (one["Prefix"].removeprefix(prefix).rstrip("/") for one in page.get("CommonPrefixes", ()))
        found += [int(name) for name in names if _NUMBER.fullmatch(name)]
    for version in sorted(found, reverse=True):
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}{version}/{MANIFEST}", MaxKeys=1)
        if listed["KeyCount"]:
            return version
    return None
