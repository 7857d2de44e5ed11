"""Errors that travel to the client, named as the SDK's model names them.

    IpcError
    ├── ServiceError                   cannot be done now, or not at all on this nucleus
    ├── UnauthorizedError              the component's accessControl does not allow it
    ├── InvalidArgumentsError          the request itself is wrong
    ├── ResourceNotFoundError          no such component or configuration key
    ├── ConflictError                  the update contradicts another one
    ├── FailedUpdateConditionCheckError   the value is newer than the update's time stamp
    └── InvalidTokenError              no component has this token

and one that closes the whole connection instead of answering: ``ConnectionDropped``.
"""

from __future__ import annotations


class IpcError(Exception):
    """Answered to the client as ``aws.greengrass#<name of the class>``.

    Args:
        message: what was expected, got what, what to do.
        fields: further members of the error's shape, in the names of the wire (``resourceName``).
    """

    def __init__(self, message: str, **fields: str) -> None:
        super().__init__(message)
        self.fields = {"message": message, **fields}

    @property
    def model(self) -> str:
        """Value of the header ``service-model-type``."""
        return f"aws.greengrass#{type(self).__name__}"


class ServiceError(IpcError):
    """The nucleus cannot do it now, or not at all."""


class UnauthorizedError(IpcError):
    """The component's access control does not allow the operation on the resource."""


class InvalidArgumentsError(IpcError):
    """The request is malformed."""


class ResourceNotFoundError(IpcError):
    """The component or configuration key does not exist."""


class ConflictError(IpcError):
    """The update contradicts another one."""


class FailedUpdateConditionCheckError(IpcError):
    """The configuration value is newer than the time stamp of the update."""


class InvalidTokenError(IpcError):
    """The token belongs to no component."""


class ConnectionDropped(Exception):
    """Raised by a service to close the caller's whole connection without an answer, as nucleus lite does."""
