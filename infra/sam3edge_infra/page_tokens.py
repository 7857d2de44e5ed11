"""Tokens of the live page, for stages that have ``live_page``.

    python -m sam3edge_infra.page_tokens key --out page-key.pem
    python -m sam3edge_infra.page_tokens issue --stage dev --key page-key.pem --owner ada --days 30
    python -m sam3edge_infra.page_tokens list --stage dev
    python -m sam3edge_infra.page_tokens revoke --stage dev TOKEN_ID

``key`` makes the operator's key: the private part stays in the file, the public part goes into the stage, as
``live_page.signing_key``. ``issue`` prints what a person types into the page: a user name, which has the signed id of
the token, and the token itself, which is shown this once. The page is served with ``--sign-in authorizer`` and without
``--authorizer``: the user name has that name. A revoked or expired token ends its connections within some
minutes.
"""

from __future__ import annotations

import argparse
import base64
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlencode

import boto3
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sam3edge.core.errors import SettingsError
from sam3edge_infra.checks import session_of
from sam3edge_infra.command_line import add_stage, exit_status, parser_of
from sam3edge_infra.constructs.names import naming_of
from sam3edge_infra.stacks.live_page import AUTHORIZER, TOKEN_KEY, TOKENS
from sam3edge_infra.stages.files import read_stage
from sam3edge_infra.stages.signing import public_part, read_private_key
from sam3edge_infra.stages.stage import Stage
from sam3edge_serving.live_map.tokens import SecretTokens, TokenRecord, new_token

KEY_BITS = 3072
MAX_DAYS = 366


@dataclass(frozen=True, slots=True)
class Issued:
    """What a person types into the page.

    Attributes:
        user_name: with the authorizer, the token's id and its signature; not secret alone.
        token: the secret.
    """

    user_name: str
    token: str


@dataclass(frozen=True, slots=True)
class PageTokens:
    """The tokens of a stage.

    Attributes:
        authorizer: name of the custom authorizer.
        store: their records.
    """

    authorizer: str
    store: SecretTokens

    def issue(self, key: rsa.RSAPrivateKey, owner: str, expires: int) -> Issued:
        """Make a token. The records of those that have expired go.

        Args:
            expires: seconds since 1970.
        """
        secret, record = new_token(owner, expires)
        now = time.time()
        good = {name: one for name, one in self.store.read().items() if one.expires > now}
        self.store.write({**good, record.id: record})
        signature = base64.b64encode(key.sign(record.id.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()
        told = {
            "x-amz-customauthorizer-name": self.authorizer,
            TOKEN_KEY: record.id,
            "x-amz-customauthorizer-signature": signature,
        }
        return Issued(f"page?{urlencode(told)}", secret)

    def revoke(self, token_id: str) -> None:
        """Make a token worthless.

        Raises:
            SettingsError: there is none of that id.
        """
        records = self.store.read()
        if token_id not in records:
            raise SettingsError(f"expected the id of a token of {', '.join(records) or 'none'}; got {token_id!r}")
        self.store.write({name: one for name, one in records.items() if name != token_id})

    def records(self) -> list[TokenRecord]:
        """All that are kept, the first to expire first."""
        return sorted(self.store.read().values(), key=lambda one: one.expires)


def tokens_of(stage: Stage, session: boto3.Session) -> PageTokens:
    """The tokens of a stage.

    Raises:
        SettingsError: the stage has no live page.
    """
    if stage.live_page is None:
        raise SettingsError(f"expected a stage with live_page, {stage.name} has none; add it and deploy")
    naming = naming_of(stage)
    return PageTokens(
        naming(AUTHORIZER), SecretTokens(session.client("secretsmanager"), naming(TOKENS), time.monotonic)
    )


def make_key(out: Path) -> str:
    """Make the operator's key: the private part into a new file; returns the public part, PEM.

    Raises:
        FileExistsError: there is such a file.
    """
    key = rsa.generate_private_key(public_exponent=65_537, key_size=KEY_BITS)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    out.touch(mode=0o600, exist_ok=False)
    out.write_bytes(private)
    return public_part(key)


def read_key(path: Path, stage: Stage) -> rsa.RSAPrivateKey:
    """The operator's key.

    Raises:
        SettingsError: there is none in the file, or it is not that of the stage.
    """
    key = read_private_key(path)
    wanted = stage.live_page.signing_key if stage.live_page is not None else ""
    if public_part(key).split() != wanted.split():
        raise SettingsError(f"expected the key of live_page.signing_key of {stage.name}, {path} has another")
    return key


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    given = _parser().parse_args(arguments)
    return exit_status(lambda: _key(given) if given.command == "key" else _do(given))


def _key(given: argparse.Namespace) -> None:
    public = make_key(given.out).replace("\n", "\n    ").rstrip()
    sys.stdout.write(f"live_page:\n  signing_key: |\n    {public}\n")


def _do(given: argparse.Namespace) -> None:
    stage = read_stage(given.stage)
    tokens = tokens_of(stage, session_of(stage))
    if given.command == "issue":
        if not 0 < given.days <= MAX_DAYS:
            raise SettingsError(f"expected 1 to {MAX_DAYS} days, got {given.days}")
        issued = tokens.issue(read_key(given.key, stage), given.owner, int(time.time()) + 86_400 * given.days)
        sys.stdout.write(f"user name: {issued.user_name}\ntoken:     {issued.token}\n")
    elif given.command == "revoke":
        tokens.revoke(given.id)
    else:
        for one in tokens.records():
            until = datetime.fromtimestamp(one.expires, timezone.utc)
            sys.stdout.write(f"{one.id}  until {until:%Y-%m-%d %H:%M} UTC  {one.owner}\n")


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("sam3edge_infra.page_tokens", __doc__)
    stage = argparse.ArgumentParser(add_help=False)
    add_stage(stage)
    commands = parser.add_subparsers(dest="command", required=True)
    key = commands.add_parser("key", help="make the operator's key")
    key.add_argument("--out", type=Path, required=True, help="file of the private part")
    issue = commands.add_parser("issue", parents=[stage], help="make a token")
    issue.add_argument("--key", type=Path, required=True, help="file of the operator's private key")
    issue.add_argument("--owner", required=True, help="who gets it")
    issue.add_argument("--days", type=int, default=30, help="that it is good for")
    commands.add_parser("list", parents=[stage], help="show the tokens")
    revoke = commands.add_parser("revoke", parents=[stage], help="make a token worthless")
    revoke.add_argument("id", metavar="TOKEN_ID")
    return parser


if __name__ == "__main__":
    sys.exit(main())
