"""Multipart bodies (RFC 7578): a file ``image`` and plain fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import python_multipart
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field as ParsedField
from python_multipart.multipart import File as ParsedFile

from sam3edge_serving.http.errors import BadRequest

MULTIPART = "multipart/form-data"
IMAGE = "image"
MAX_FIELDS = 64
REPEATED = ("text_prompt", "prompt")
"""Fields that may come several times, once for each phrase."""


@dataclass(frozen=True, slots=True)
class File:
    """An uploaded file; ``name`` is the client's and may be empty."""

    data: bytes = field(repr=False)
    name: str


@dataclass(frozen=True, slots=True)
class Form:
    """A parsed body.

    Attributes:
        members: fields by name; those of ``REPEATED`` are lists when they came several times.
        image: the file.
    """

    members: dict[str, Any] = field(repr=False)
    image: File | None


def read_form(content_type: str, body: bytes) -> Form:
    """Parse.

    Args:
        content_type: the whole header, which names the boundary.

    Raises:
        BadRequest: no multipart body, too many fields, a file that was not asked for, a field twice.
    """
    fields: list[tuple[str, str]] = []
    files: list[tuple[str, File]] = []
    ended: list[bool] = []

    def on_field(parsed: ParsedField) -> None:
        fields.append((_text(parsed.field_name), _text(parsed.value)))

    def on_file(parsed: ParsedFile) -> None:
        parsed.file_object.seek(0)
        files.append((_text(parsed.field_name), File(parsed.file_object.read(), _text(parsed.file_name))))
        parsed.close()

    headers = {"Content-Type": content_type.encode()}
    config = {"MAX_MEMORY_FILE_SIZE": len(body) + 1}  # it is in memory: never written to a file
    try:
        parser = python_multipart.create_form_parser(headers, on_field, on_file, config=config)
        parser.on_end = lambda: ended.append(True)
        parser.write(body)
        parser.finalize()
    except (FormParserError, UnicodeDecodeError, ValueError) as error:
        raise BadRequest(
            "the body is not multipart/form-data as its header says; let the HTTP library make header and body"
        ) from error
    if not ended:
        raise BadRequest("the multipart body was cut short: it has no closing boundary")
    return _form(fields, files)


def _form(fields: list[tuple[str, str]], files: list[tuple[str, File]]) -> Form:
    if len(fields) > MAX_FIELDS or len(files) > 1 or any(name != IMAGE for name, _ in files):
        raise BadRequest(
            f"a multipart body must have one file, {IMAGE!r}, and at most {MAX_FIELDS} fields", param=IMAGE
        )
    members: dict[str, Any] = {}
    for name, value in fields:
        if name in REPEATED and name in members:
            former = members[name]
            members[name] = [*(former if isinstance(former, list) else [former]), value]
        elif name in members:
            raise BadRequest(f"the field {name[:60]!r} was sent twice", param=name[:60])
        else:
            members[name] = value
    image = files[0][1] if files else None
    if image is not None and (IMAGE in members or "upload" in members):
        raise BadRequest("give the image once: as a file, as a field, or as an upload", param=IMAGE)
    return Form(members, image)


def _text(value: bytes | None) -> str:
    return (value or b"").decode()
