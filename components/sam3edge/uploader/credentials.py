"""The credentials that the nucleus's token exchange service gives.

Asked for here and not by awscrt's chain of providers: the chain would also take keys from the environment and from
profiles, and without either ask an instance's metadata service. The device's role is what Greengrass says it is.
(https://docs.aws.amazon.com/greengrass/v2/developerguide/token-exchange-service-component.html)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import urllib3
from urllib3.exceptions import HTTPError

from sam3edge.core.errors import UploadError

SECONDS = 10.0
MAX_BYTES = 1 << 16

EARLY = timedelta(minutes=5)
"""Credentials are renewed this long before they expire."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """For signing; what is secret is not shown.

    Attributes:
        expires: UTC.
    """

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    expires: datetime


class TokenExchange:
    """Keeps credentials for as long as they are good.

    Args:
        address: ``AWS_CONTAINER_CREDENTIALS_FULL_URI``; empty where the nucleus gives none.
        authorization: ``AWS_CONTAINER_AUTHORIZATION_TOKEN``.
        clock: the time, UTC.
    """

    def __init__(
        self,
        address: str,
        authorization: str,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._address = address
        self._authorization = authorization
        self._clock = clock
        self._http = urllib3.PoolManager(1)  # it is on this machine: never through a proxy
        self._current: Credentials | None = None

    def credentials(self) -> Credentials:
        """Good ones, kept or fresh.

        Raises:
            UploadError: there are none now.
        """
        current = self._current
        if current is None or current.expires - EARLY <= self._clock():
            self._current = current = self._ask()
        return current

    def forget(self) -> None:
        """The store says that they are good no longer."""
        self._current = None

    def close(self) -> None:
        """Close the connection."""
        self._http.clear()

    def _ask(self) -> Credentials:
        if not self._address:
            raise UploadError(
                "the nucleus gives no credentials; give the device a role alias and deploy the token exchange service",
                failure="denied",
            )
        try:
            response = self._http.request(
                "GET",
                self._address,
                headers={"Authorization": self._authorization},
                timeout=SECONDS,
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                body = response.read(MAX_BYTES)
            finally:
                response.close()
        except HTTPError as error:
            reason = f"the token exchange service does not respond: {type(error).__name__}"
            raise UploadError(reason, failure="offline") from error
        if response.status != 200:  # 403 without a role alias; 4xx and 5xx alike when the device is offline
            reason = f"the token exchange service responded {response.status}"
            raise UploadError(reason, failure="denied" if response.status == 403 else "offline")
        try:
            given = json.loads(body)
            expires = datetime.fromisoformat(str(given["Expiration"]).replace("Z", "+00:00"))
            if expires.tzinfo is None:
                raise ValueError("an expiration without a time zone")
            return Credentials(str(given["AccessKeyId"]), str(given["SecretAccessKey"]), str(given["Token"]), expires)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            reason = f"expected credentials from the token exchange service, got something else: {type(error).__name__}"
            raise UploadError(reason, failure="offline") from None  # the cause would quote it
