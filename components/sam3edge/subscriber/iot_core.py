"""AWS IoT Core as a broker: its endpoints, and WebSockets signed with AWS credentials.

With certificates it is an ordinary broker at port 8883, and with a custom authorizer one at ``wss://<endpoint>/mqtt``
that takes a user and a password (https://docs.aws.amazon.com/iot/latest/developerguide/protocols.html).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout  # another class until Python 3.11
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from sam3edge.core.errors import SettingsError, SubscriptionError
from sam3edge.subscriber.broker_url import WEBSOCKET_PATH, BrokerUrl

if TYPE_CHECKING:
    from awscrt.auth import AwsCredentialsProvider

_ENDPOINT = re.compile(r"[a-z0-9-]+\.iot\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_SECONDS = 30.0


def broker_url(address: str) -> BrokerUrl:
    """The address of a broker, or an endpoint's name alone for ``mqtts://`` to it.

    Raises:
        SettingsError: it is neither.
    """
    try:
        return BrokerUrl.parse(f"mqtts://{address}" if _ENDPOINT.fullmatch(address) else address)
    except ValueError as error:
        raise SettingsError(f"{error}, or the name of an AWS IoT Core endpoint") from error


def signed_path(
    url: BrokerUrl,
    provider: AwsCredentialsProvider | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> Callable[[], str]:
    """What gives the path of each new connection to ``wss://<endpoint>``, signed by Signature Version 4.

    Args:
        provider: of credentials; by default AWS's usual chain: environment, profiles, the role of a container or an
            instance.

    Raises:
        SettingsError: the broker is not an endpoint of AWS IoT Core by WebSockets, or awscrt is not installed.
    """
    endpoint = _ENDPOINT.fullmatch(url.host)
    if endpoint is None or url.websocket_path != WEBSOCKET_PATH or not url.tls:
        raise SettingsError(f"expected wss://<endpoint of AWS IoT Core> for a signature, got {url}")
    try:
        from awscrt.auth import AwsCredentialsProvider, AwsSignatureType, AwsSigningConfig, aws_sign_request
        from awscrt.exceptions import AwsCrtError
        from awscrt.http import HttpHeaders, HttpRequest
    except ImportError as error:
        raise SettingsError('signatures need awscrt: pip install "sam3edge[client]"') from error
    credentials = provider or AwsCredentialsProvider.new_default_chain()

    def sign() -> str:
        try:
            found = credentials.get_credentials().result(_SECONDS)
        except (AwsCrtError, FutureTimeout) as error:
            raise SubscriptionError(
                f"expected AWS credentials in the environment, a profile or a role, got {type(error).__name__}: {error}"
            ) from error
        request = HttpRequest("GET", url.websocket_path, HttpHeaders([("host", url.host)]))
        config = AwsSigningConfig(
            signature_type=AwsSignatureType.HTTP_REQUEST_QUERY_PARAMS,
            credentials_provider=AwsCredentialsProvider.new_static(
                found.access_key_id, found.secret_access_key, found.session_token
            ),
            region=endpoint["region"],
            service="iotdevicegateway",
            date=clock(),
            omit_session_token=True,  # it is added after the signature, as AWS IoT Core wants it
        )
        aws_sign_request(request, config).result(_SECONDS)
        return str(request.path)

    return sign
