"""How the command line reaches a running nucleus: one JSON object per line over a Unix domain socket.

A request is ``{"command": ..., "arguments": {...}}``; the reply ``{"result": ...}`` or ``{"error": "..."}``.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sam3edge_simulator.deployment_document import ConfigurationUpdate, Deployment, DeploymentFailed, FailurePolicy
from sam3edge_simulator.history import NothingToRestore
from sam3edge_simulator.nucleus import Nucleus

logger = logging.getLogger(__name__)

_ADDRESS_FILE = "control.path"
"""Lies in the nucleus's root folder and names the socket, whose own path may not be longer than 107 bytes."""


class ControlError(Exception):
    """The nucleus does not run, or refused the command."""


class ControlServer:
    """Carries out commands on a nucleus, each connection in its own thread.

    Args:
        nucleus: started by whoever made it.
    """

    def __init__(self, nucleus: Nucleus) -> None:
        self._nucleus = nucleus
        self._path = nucleus.socket_folder / "control.socket"
        self._address = nucleus.root / _ADDRESS_FILE
        self._commands: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
            "deploy": self._deploy,
            "restart": self._restart,
            "rollback": self._rollback,
            "set-config": self._set_configuration,
            "status": self._status,
        }
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = threading.Thread(target=self._accept, name="control", daemon=True)

    def start(self) -> None:
        """Begin to take commands."""
        self._path.unlink(missing_ok=True)
        self._listener.bind(str(self._path))
        self._path.chmod(0o600)
        self._listener.listen()
        self._address.write_text(str(self._path))
        self._thread.start()

    def stop(self) -> None:
        """Take no more commands; one that is being carried out continues."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join()
        self._listener.close()
        self._path.unlink(missing_ok=True)
        self._address.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), name="control-client", daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, peer.makefile("rw", encoding="utf-8") as stream, suppress(OSError):
            for line in stream:
                stream.write(json.dumps(self._reply(line)) + "\n")
                stream.flush()

    def _reply(self, line: str) -> Mapping[str, object]:
        try:
            request = json.loads(line)
            command = self._commands[request["command"]]
            return {"result": command(request.get("arguments", {}))}
        except (DeploymentFailed, NothingToRestore, KeyError, TypeError, ValueError) as error:
            logger.debug("command refused", exc_info=error)
            return {"error": str(error.args[0]) if isinstance(error, KeyError) else str(error)}

    def _deploy(self, arguments: Mapping[str, Any]) -> object:
        return asdict(self._nucleus.deploy(_deployment_from_json(arguments)))

    def _rollback(self, _arguments: Mapping[str, Any]) -> object:
        return asdict(self._nucleus.rollback())

    def _set_configuration(self, arguments: Mapping[str, Any]) -> object:
        self._nucleus.set_configuration(
            arguments["component"], merge=arguments.get("merge"), reset=tuple(arguments.get("reset", ()))
        )
        return self._nucleus.configuration.read(arguments["component"])

    def _restart(self, arguments: Mapping[str, Any]) -> object:
        self._nucleus.restart(arguments["component"])
        return {}

    def _status(self, _arguments: Mapping[str, Any]) -> object:
        return {
            "profile": self._nucleus.profile.name,
            "connected": self._nucleus.cloud.connected,
            "components": [asdict(status) for status in self._nucleus.components],
            "deployments": [
                {"id": record.id, "at": record.at, "status": record.status, "reason": record.reason}
                for record in self._nucleus.deployments
            ],
        }


def deployment_to_json(deployment: Deployment) -> dict[str, Any]:
    """A deployment as arguments of the command ``deploy``."""
    return {
        **asdict(deployment),
        "recipes": str(deployment.recipes or ""),
        "artifacts": str(deployment.artifacts or ""),
        "on_failure": deployment.on_failure.value,
    }


def _deployment_from_json(arguments: Mapping[str, Any]) -> Deployment:
    return Deployment(
        add=arguments["add"],
        remove=tuple(arguments["remove"]),
        exclusive=arguments["exclusive"],
        configuration={
            name: ConfigurationUpdate(update["merge"], tuple(update["reset"]))
            for name, update in arguments["configuration"].items()
        },
        recipes=Path(arguments["recipes"]) if arguments["recipes"] else None,
        artifacts=Path(arguments["artifacts"]) if arguments["artifacts"] else None,
        on_failure=FailurePolicy(arguments["on_failure"]),
        notify_seconds=arguments["notify_seconds"],
    )


def ask(root: Path, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
    """Have the nucleus in ``root`` carry out a command, and wait for its result.

    Raises:
        ControlError: no nucleus runs there, or it refused.
    """
    address = root / _ADDRESS_FILE
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(address.read_text())
        except OSError as error:
            raise ControlError(f"no nucleus runs in {root}; start one with 'run --root {root}'") from error
        with connection.makefile("rw", encoding="utf-8") as stream:
            stream.write(json.dumps({"command": command, "arguments": dict(arguments or {})}) + "\n")
            stream.flush()
            line = stream.readline()
    if not line:
        raise ControlError("the nucleus ended before it answered")
    reply = json.loads(line)
    if "error" in reply:
        raise ControlError(reply["error"])
    return reply["result"]
