"""The one reader of request bodies: strict JSON, or a problem that says which rule was broken.

What it returns can be stored as jsonb, sent on and compared without another look: finite numbers,
integers that survive a double, text PostgreSQL takes, one value a key, a bounded number of everything.
"""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from math import isinf
from time import monotonic
from typing import Any

from django.http import HttpRequest

from backend.errors import Fault, Problem


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a body may be: bytes on the wire, levels of nesting, and members and elements in all."""

    bytes: int = 262_144
    depth: int = 32
    items: int = 2_000


ORDINARY = Limits()
# 500 entries (a 26-item administration with as many reasons for skipping counts about 65) three times over.
SYNC = Limits(bytes=4 * 1024 * 1024, items=100_000)

# So much of a body that is refused for its size is still taken from the wire, and let go: an answer
# given while the sender is sending is one that many senders never see.
DRAINED_BYTES = 16 * 1024 * 1024
DRAINED_SECONDS = 2.0
_PIECE = 65_536

LARGEST_INTEGER = 2**53 - 1
_DIGITS = len(str(LARGEST_INTEGER)) + 1  # with a sign
_PLAIN = frozenset({"application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"})
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Possessive, and content with an open end: however it is built, a text is passed over once.
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_EMPTY = re.compile(rb"\[[ \t\n\r]*+\]|\{[ \t\n\r]*+\}")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_SUSPECT_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


def read_json(request: HttpRequest, limits: Limits = ORDINARY) -> object:
    """The JSON value in the request's body.

    Raises a Problem: 415 for another type or encoding, 413 for too much, 400 for what cannot be read.
    """
    _check_type(request)
    return parse(_read(request, limits.bytes), limits)


def read_nothing(request: HttpRequest) -> None:
    """For a route without fields: nothing, if the body is empty or `{}`; else 422."""
    if read_object_or_nothing(request):
        raise Problem(422, "validation_failed", errors=[Fault("", "unexpected_body")])


def read_object_or_nothing(request: HttpRequest) -> dict[str, object]:
    """The JSON object in the request's body, of any type if it is empty; 422 for another value."""
    _check_encoding(request)
    data = _read(request, ORDINARY.bytes)
    if not data:
        return {}
    _check_type(request)
    value = parse(data)
    if not isinstance(value, dict):
        raise Problem(422, "validation_failed", errors=[Fault("", "wrong_type")])
    return value


def parse(data: bytes, limits: Limits = ORDINARY) -> object:
    """The JSON value these bytes hold; 413 or 400 as a Problem."""
    if len(data) > limits.bytes:
        raise Problem(413, "body_too_large")
    if data.startswith(_BYTE_ORDER_MARK):
        raise Problem(400, "invalid_utf8")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Problem(400, "invalid_utf8") from None
    _check_shape(data, limits)
    try:
        value = _DECODER.decode(text)
    except ValueError:  # its message and its `doc` hold the body: neither may travel on
        raise Problem(400, "malformed_json") from None
    if _SUSPECT_ESCAPE.search(data):
        _check_text(value)
    return value


def _check_type(request: HttpRequest) -> None:
    _check_encoding(request)
    content_type = request.META.get("CONTENT_TYPE", "")
    if content_type in _PLAIN:
        return
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if kind != "application/json":
        raise Problem(415, "unsupported_media_type")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip().strip('"') != "utf-8":
            raise Problem(415, "unsupported_media_type")


def _check_encoding(request: HttpRequest) -> None:
    encoding = request.META.get("HTTP_CONTENT_ENCODING")
    if encoding is not None and encoding.strip().lower() != "identity":
        raise Problem(415, "unsupported_encoding")


def _read(request: HttpRequest, most: int) -> bytes:
    """The body's bytes, of which never more than `most` and one are held.

    A declared length over the limit is refused for what it says; a smaller one is not believed but compared.
    """
    request = getattr(request, "_request", request)  # REST framework's wrapper, or the request itself
    if hasattr(request, "_body"):
        return request.body
    declared = request.META.get("CONTENT_LENGTH") or ""
    if declared:
        length = _length(declared)
        if length > most:
            if length <= DRAINED_BYTES:
                _drain(request)
            raise Problem(413, "body_too_large")
        data = _exactly(request, length)
    elif request.META.get("wsgi.input_terminated"):  # chunked, from a server that knows where it ends
        stream = request.META["wsgi.input"]
        data = _until_end(stream, most + 1)
        if len(data) > most:
            _drain(stream)
            raise Problem(413, "body_too_large")
    else:
        data = b""
    request._body = data  # what reads `request.body` afterwards finds the same bytes
    return data


def _length(declared: str) -> int:
    if not (declared.isascii() and declared.isdecimal()):
        raise Problem(400, "bad_request")
    if len(declared) > 15:
        raise Problem(413, "body_too_large")
    return int(declared)


def _drain(stream: Any) -> None:
    """Nothing; what the sender still sends was let go, within limits."""
    until = monotonic() + DRAINED_SECONDS
    left = DRAINED_BYTES
    with suppress(OSError, EOFError):
        while left > 0 and monotonic() < until:
            piece = stream.read(_PIECE)
            if not piece:
                return
            left -= len(piece)


def _exactly(stream: Any, length: int) -> bytes:
    """As many bytes as were declared; 400 where the sender stopped, or went away, before that."""
    data: bytes = _until_end(stream, length)
    if len(data) < length:
        raise Problem(400, "incomplete_body")
    return data


def _until_end(stream: Any, most: int) -> bytes:
    """Up to `most` bytes of the stream, in as many reads as it takes."""
    parts: list[bytes] = []
    left = most
    while left:
        try:
            part = stream.read(left)
        except (OSError, EOFError):  # the connection broke
            raise Problem(400, "incomplete_body") from None
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _check_shape(data: bytes, limits: Limits) -> None:
    """Refuses too much nesting and too many members, before anything recursive sees the text.

    Counting every bracket and comma, those within texts included, is enough for almost every body.
    """
    opened = data.count(b"[") + data.count(b"{")
    if opened <= limits.depth and opened + data.count(b",") <= limits.items:
        return
    # A member is at most two texts and, but for the outermost value, two brackets. What comes after too
    # many need not be looked at: a refusal takes no longer than the largest body that fits.
    excess = next(islice(_TEXT.finditer(data), 2 * limits.items + 1, None), None)
    bare = _TEXT.sub(b"0", data[: excess.start()] if excess else data)
    brackets = bare.translate(None, _NOT_BRACKETS)
    depth = 0
    for bracket in brackets[: 2 * limits.items + 3]:
        depth += 1 if bracket in b"[{" else -1
        if depth > limits.depth:
            raise Problem(400, "too_deep")
    if excess or len(brackets) > 2 * limits.items + 2:
        raise Problem(413, "too_many_items")
    # A container of n members has n - 1 commas, except that an empty one has none either.
    if bare.count(b"[") + bare.count(b"{") + bare.count(b",") - len(_EMPTY.findall(bare)) > limits.items:
        raise Problem(413, "too_many_items")


def _check_text(value: object) -> None:
    """Refuses U+0000 and half surrogate pairs in any text or key: PostgreSQL takes neither."""
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, str):
            if "\0" in current:
                raise Problem(400, "nul_character")
            try:
                current.encode()
            except UnicodeEncodeError:
                raise Problem(400, "lone_surrogate") from None
        elif isinstance(current, dict):
            waiting.extend(current)
            waiting.extend(current.values())
        elif isinstance(current, list):
            waiting.extend(current)


def _object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Problem(400, "duplicate_key")
    return members


def _integer(text: str) -> int:
    # By length first: Python takes time quadratic in the digits, and refuses above 4,300.
    value = int(text) if len(text) <= _DIGITS else LARGEST_INTEGER + 1
    if not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
        raise Problem(400, "number_out_of_range")
    return value


def _float(text: str) -> float:
    value = float(text)
    if isinf(value):
        raise Problem(400, "number_out_of_range")
    return value or 0.0  # -0.0 becomes 0


def _constant(_text: str) -> object:
    raise Problem(400, "not_finite")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
