"""Where the labeling functions have their files: parts of two buckets, mirrored into a folder for as long as one runs.

<examples>/hard-examples/<thing>/.../{frame.jpg, example.json}
<learning>/labeling/jobs/<job>/batch.json       which images a job is about (steps.py)
                              /examples.json    and under which keys they were uploaded
<learning>/labeling/queues/<job>/               a review queue; synchronise it with a folder, review, and back
<learning>/labeling/labels/<job>.json           a tool's export (COCO), for the backend ``files``
<learning>/datasets/<name>/<version>/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam3edge_pipeline.labeling.prelabels import EXAMPLE, FRAME

FETCHING = 16
"""Objects that are fetched at the same time."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """A prefix of a bucket and a folder.

    Attributes:
        s3: boto3's client.
        prefix: ends with a slash.
        folder: keys relative to the prefix are paths in it.
    """

    s3: Any
    bucket: str
    prefix: str
    folder: Path

    def newest(self, suffix: str, most: int) -> list[str]:
        """Keys relative to the prefix that end with a suffix: the newest ones, in the order of their keys."""
        found = [one for one in self._objects() if one["Key"].endswith(suffix)]
        found.sort(key=lambda one: (one["LastModified"], one["Key"]), reverse=True)
        return sorted(one["Key"].removeprefix(self.prefix) for one in found[:most])

    def fetch(self, keys: Iterable[str]) -> None:
        """Fetch keys relative to the prefix, those that are in the folder excepted."""
        missing = [key for key in keys if not (self.folder / key).is_file()]
        with ThreadPoolExecutor(FETCHING) as pool:
            list(pool.map(self._fetch, missing))

    def fetch_all(self) -> None:
        """Fetch everything, again where it is in the folder: somebody may have changed it."""
        keys = [one["Key"].removeprefix(self.prefix) for one in self._objects()]
        with ThreadPoolExecutor(FETCHING) as pool:
            list(pool.map(self._fetch, keys))

    def send_all(self) -> None:
        """Send every file that the bucket does not have."""
        there = {one["Key"].removeprefix(self.prefix) for one in self._objects()}
        for path in sorted(one for one in self.folder.rglob("*") if one.is_file()):
            key = path.relative_to(self.folder).as_posix()
            if key not in there:
                self.s3.upload_file(str(path), self.bucket, self.prefix + key)

    def _objects(self) -> Iterator[dict[str, Any]]:
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix):
            # a device chooses the names below its own prefix; they may not lead out of the folder
            yield from (one for one in page.get("Contents", ()) if ".." not in one["Key"].split("/"))

    def _fetch(self, key: str) -> None:
        target = self.folder / key
        target.parent.mkdir(parents=True, exist_ok=True)
        self.s3.download_file(self.bucket, self.prefix + key, str(target))


def fetch_examples(mirror: Mirror, keys: Iterable[str]) -> None:
    """Fetch uploaded examples: by the key of each one's ``example.json``, and the frame beside it."""
    chosen = list(keys)
    mirror.fetch([*chosen, *(f"{key.removesuffix(EXAMPLE)}{FRAME}" for key in chosen)])
