"""Verify, try, activate: how a bundle becomes the current one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sam3edge.bundle.artifacts import BundleArtifacts
from sam3edge.bundle.manifest import Manifest
from sam3edge.bundle.proof import ProvenEngine
from sam3edge.bundle.signature import check_signature
from sam3edge.bundle.store import Store
from sam3edge.bundle.verify import model_files, verify
from sam3edge.core.errors import BundleError, EngineError
from sam3edge.core.types import ModelFiles, ModelInfo, PassedOver

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Activated:
    """What was activated, what it ran on, and which providers it did not run on."""

    model: ModelInfo
    passed_over: tuple[PassedOver, ...] = ()


def activate(
    shipment: BundleArtifacts,
    store: Store,
    keys: Sequence[Ed25519PublicKey] | None,
    prove: Callable[[ModelFiles], ProvenEngine],
) -> Activated:
    """Make a bundle the current one of ``store``, once its digests, signature and golden run are right.

    Args:
        keys: one of them must have signed it; None to leave signatures unchecked.
        prove: loads it on a provider that finds in its golden images what it must.

    Raises:
        BundleError: it is refused; the bundle that was current stays current.
    """
    claimed = shipment.manifest()
    if keys is not None:
        check_signature(claimed, keys)  # before gigabytes are copied that nobody vouches for
    renew = partial(store.exchange, shipment, claimed) if store.holds(claimed) else None
    copy = store.install(shipment, claimed)
    try:
        activated = _try(copy, _verified(copy, keys, renew), prove)
    except BundleError:
        store.discard(copy)
        raise
    except Exception as error:  # whatever a file of it makes a library raise, it is the bundle that is refused
        store.discard(copy)
        reason = str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"
        raise BundleError(f"{claimed.name} {claimed.version} does not run on this device: {reason}") from error
    return _made_current(store, copy, activated)


def activate_kept(
    digest: str, store: Store, keys: Sequence[Ed25519PublicKey] | None, prove: Callable[[ModelFiles], ProvenEngine]
) -> Activated:
    """As ``activate``, of a bundle that the store has kept: no byte is downloaded or copied.

    Raises:
        BundleError: it is not there, or no longer good; the bundle that was current stays current.
    """
    copy = store.find(digest)
    if copy is None:
        raise BundleError(
            f"expected the bundle {digest} in the store {store.root}, which has not kept it; deploy the version of the "
            "component that carries it, without Bundle"
        )
    manifest = verify(copy, keys)
    try:
        activated = _try(copy, manifest, prove)
    except EngineError as error:
        raise BundleError(f"{manifest.name} {manifest.version} does not run on this device: {error}") from error
    return _made_current(store, copy, activated)


def _made_current(store: Store, copy: Path, activated: Activated) -> Activated:
    store.activate(copy)
    info = activated.model
    logger.info("activated %s %s on %s", info.name, info.version, info.provider)
    return activated


def _verified(copy: Path, keys: Sequence[Ed25519PublicKey] | None, renew: Callable[[], Path] | None) -> Manifest:
    """The manifest of a copy that is good.

    Args:
        renew: exchanges a copy that was good once, since disks decay and fleets cannot be visited; None when it is new.
    """
    try:
        return verify(copy, keys)
    except BundleError as error:
        if renew is None:
            raise
        logger.warning("the store's copy is no longer good and is made again: %s", error)
        return verify(renew(), keys)


def _try(bundle: Path, manifest: Manifest, prove: Callable[[ModelFiles], ProvenEngine]) -> Activated:
    proven = prove(model_files(bundle, manifest))
    proven.engine.close()
    return Activated(proven.engine.model, proven.passed_over)
