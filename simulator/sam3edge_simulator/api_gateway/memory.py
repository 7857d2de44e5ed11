"""Idempotency records that are gone when the program ends."""

from __future__ import annotations

import time

from aws_lambda_powertools.utilities.idempotency import BasePersistenceLayer
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyItemAlreadyExistsError,
    IdempotencyItemNotFoundError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import STATUS_CONSTANTS, DataRecord


class MemoryRecords(BasePersistenceLayer):
    """powertools' persistence in a dictionary; one request at a time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # powertools annotates all but this
        self._kept: dict[str, DataRecord] = {}

    def _get_record(self, idempotency_key: str) -> DataRecord:
        if idempotency_key not in self._kept:
            raise IdempotencyItemNotFoundError
        return self._kept[idempotency_key]

    def _put_record(self, data_record: DataRecord) -> None:
        kept = self._kept.get(data_record.idempotency_key)
        if kept is not None and not _is_over(kept):
            raise IdempotencyItemAlreadyExistsError
        self._kept[data_record.idempotency_key] = data_record

    def _update_record(self, data_record: DataRecord) -> None:
        self._kept[data_record.idempotency_key] = data_record

    def _delete_record(self, data_record: DataRecord) -> None:
        self._kept.pop(data_record.idempotency_key, None)


def _is_over(record: DataRecord) -> bool:
    """Expired, or of an invocation that died."""
    died = record.in_progress_expiry_timestamp
    in_work = record.status == STATUS_CONSTANTS["INPROGRESS"]
    return record.is_expired or (in_work and died is not None and died < time.time() * 1000)
