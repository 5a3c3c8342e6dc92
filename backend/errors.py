"""Every refusal as problem+json (RFC 9457), under a code that stays.

A problem says what was wrong in words chosen beforehand. It never repeats the path or id asked for,
nor anything of the body but the place in it: what is not in an answer cannot leak from one.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import django.core.exceptions
import django.db
import orjson
import psycopg
import redis.exceptions
import structlog
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from rest_framework import exceptions as drf

log = structlog.get_logger()

CODES: dict[str, str] = {
    # Who asks
    "not_signed_in": "There is no valid access token with this request.",
    "not_allowed": "You do not have the right to do this.",
    "second_factor_required": "This needs a sign-in with a second factor or a passkey.",
    "no_consent": "The participant has not agreed to share this with those who care for them.",
    "https_required": "This address is only served over HTTPS.",
    "too_many_requests": "Too many requests; Retry-After says when to come back.",
    # What is asked for
    "not_found": "There is nothing here that you may see.",
    "method_not_allowed": "This address does not take this method; Allow lists those it takes.",
    "not_acceptable": "Answers are JSON, and nothing else was accepted.",
    "bad_request": "The request line or a header cannot be read.",
    "invalid_parameter": "A query parameter has a value it cannot have.",
    "invalid_limit": "The page size must be a whole number from 1 to 200.",
    "invalid_cursor": "The cursor is not one that was given out for this list.",
    # A body that cannot be read: nothing is stored
    "unsupported_media_type": "The body must be application/json, in UTF-8.",
    "unsupported_encoding": "The body must be sent without a content encoding.",
    "body_too_large": "The body is larger than this address takes.",
    "incomplete_body": "The body ended before its declared length.",
    "malformed_json": "The body is not JSON.",
    "invalid_utf8": "The body is not UTF-8 without a byte order mark.",
    "duplicate_key": "An object names the same key twice.",
    "not_finite": "NaN and Infinity are not numbers in JSON.",
    "number_out_of_range": "A number is too large: integers go to 2^53 - 1, others to what a double holds.",
    "nul_character": "A text holds the character U+0000.",
    "lone_surrogate": "A text holds half of a surrogate pair.",
    "too_deep": "The body is nested deeper than 32 levels.",
    "too_many_items": "The body holds more members and elements than this address takes.",
    # A body that can be read, and is wrong
    "validation_failed": "The request can be read but does not fit; errors names each place.",
    "unexpected_body": "This address takes no body, or {}.",
    "required": "This must be given.",
    "unknown_field": "There is no such field.",
    "wrong_type": "This has the wrong JSON type.",
    "invalid_uuid": "This is not a UUID.",
    "invalid_datetime": "This is not an RFC 3339 date and time with an offset.",
    "unknown_timezone": "This is not an IANA time zone.",
    "invalid_value": "This value is not one that can stand here.",
    # Codes to join with, and to come back with
    "code_mistyped": "There is a slip in this code. Please look at it once more.",
    "code_unusable": "This code cannot be used: there is none like it, or it is used up, out of date or "
    "withdrawn. Please ask for a new one.",
    "already_redeemed": "This invitation has been redeemed, so there is nothing to withdraw.",
    "password_too_weak": "This password is too short, or one of those that are guessed first.",
    "only_when_joining": "This can be given with a first code only, not with one for a new phone.",
    # Answers to an instrument
    "unknown_item": "The instrument has no such item.",
    "not_a_number": "An answer to an item is a number or null.",
    "out_of_range": "The answer is off the item's scale.",
    "off_step": "The answer lies between two points of the item's scale.",
    "answered_and_skipped": "The item is both answered and skipped.",
    "not_enabled": "This instrument is not switched on here.",
    # Consent
    "unknown_text": "No consent text here has this version, language, rules and hash together.",
    # What stands against it
    "erased": "This person asked for their data to be erased, and they were. Nothing is kept any more.",
    "unreadable": "Something stored here does not open as it should. It was noted for the operators.",
    "export_not_ready": "This copy is still being made. Please look again in a little while.",
    "export_failed": "This copy could not be made; we are sorry. Nothing is lost. Please ask for another.",
    "export_expired": "This copy was kept for seven days, then deleted. Ask for another at any time.",
    "conflict": "This id is already taken with other content.",
    "in_care": "They are in your care already: there is nothing more to open.",
    "withdrawn": "You take no part at present. Come back first, if you like: then this can be asked anew.",
    "erasure_began": "The erasing has begun, and what is gone cannot be brought back.",
    "caseload_not_empty": "Participants are in this member's care: hand them over first, or suspend.",
    "last_admin": "Nobody else administers this clinic: add another administrator first.",
    "membership_ended": "This membership is over; add the person again.",
    # Us
    "unavailable": "A part of the service is not available; nothing was stored. Try again.",
    "internal": "Something went wrong here. Quote the X-Request-Id of this answer.",
}

CONTENT_TYPE = "application/problem+json"
MOST_FAULTS = 100
LONGEST_POINTER = 200
RETRY_AFTER_SECONDS = 2

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong at one place of the body (`pointer`, RFC 6901) or the query."""

    pointer: str
    code: str
    detail: str = ""

    def __post_init__(self) -> None:
        _known(self.code)


class Problem(Exception):
    """A refusal, raised anywhere under a view and answered as problem+json."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str = "",
        errors: Sequence[Fault] = (),
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> None:
        super().__init__(_known(code))
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = headers

    def __reduce__(self) -> tuple[type["Problem"], tuple[Any, ...]]:
        return type(self), (self.status, self.code, self.detail, self.errors, dict(self.headers))


def pointer(*steps: str | int) -> str:
    """The RFC 6901 pointer to the place these keys and indexes lead to."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def body_of(problem: Problem) -> dict[str, object]:
    """What problem_response sends, for those who put a problem inside another answer."""
    return {
        "type": f"/docs/errors#{problem.code}",
        "title": problem.code.replace("_", " ").capitalize(),
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail or CODES[problem.code],
        "errors": [
            {
                "pointer": _shown(fault.pointer),
                "code": fault.code,
                "detail": fault.detail or CODES[fault.code],
            }
            for fault in problem.errors[:MOST_FAULTS]
        ],
    }


def problem_response(problem: Problem) -> HttpResponse:
    """The problem as an answer. A 404 is the same bytes whatever was asked for, and by whom."""
    if problem.status == HTTPStatus.NOT_FOUND:
        problem = Problem(404, "not_found")
    response = HttpResponse(orjson.dumps(body_of(problem)), status=problem.status, content_type=CONTENT_TYPE)
    if problem.status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = "Bearer"
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    for name, value in problem.headers.items():
        response[name] = value
    return response


def problem_for(error: BaseException) -> Problem:
    """The problem an exception amounts to. What nobody foresaw is logged and answered as `internal`."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, _UNAVAILABLE):
        log.warning("unavailable", exc_info=error)
        return Problem(503, "unavailable")
    for kind, status, code in _MEANINGS:
        if isinstance(error, kind):
            return Problem(status, code, headers=_headers(error))
    if isinstance(error, drf.ValidationError):
        return Problem(422, "validation_failed", errors=tuple(_faults(error.get_codes())))
    if isinstance(error, drf.APIException) and error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Problem(error.status_code, "bad_request")
    log.error("internal", exc_info=error)
    return Problem(500, "internal")


def exception_handler(error: Exception, context: Mapping[str, object]) -> HttpResponse:
    """For REST framework's EXCEPTION_HANDLER: every exception under a view as problem+json."""
    return problem_response(problem_for(error))


def handler400(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return problem_response(problem_for(exception) if exception else Problem(400, "bad_request"))


def handler403(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return problem_response(Problem(403, "not_allowed"))


def handler404(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return problem_response(Problem(404, "not_found"))


def handler500(request: HttpRequest) -> HttpResponse:
    """Django calls this while it handles the exception, without naming it."""
    error = sys.exc_info()[1]
    return problem_response(problem_for(error) if error else Problem(500, "internal"))


# Nothing was stored and trying again may succeed. A task that cannot be queued is no reason to be here
# (`wake` never raises); a rate limit that cannot be counted is.
_UNAVAILABLE = (
    django.db.OperationalError,
    django.db.InterfaceError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
)

_MEANINGS: tuple[tuple[type[BaseException], int, str], ...] = (
    (Http404, 404, "not_found"),
    (drf.NotFound, 404, "not_found"),
    (drf.NotAuthenticated, 401, "not_signed_in"),
    (drf.AuthenticationFailed, 401, "not_signed_in"),
    (django.core.exceptions.PermissionDenied, 403, "not_allowed"),
    (drf.PermissionDenied, 403, "not_allowed"),
    (drf.MethodNotAllowed, 405, "method_not_allowed"),
    (drf.NotAcceptable, 406, "not_acceptable"),
    (drf.UnsupportedMediaType, 415, "unsupported_media_type"),
    (drf.ParseError, 400, "malformed_json"),
    (drf.Throttled, 429, "too_many_requests"),
    (django.core.exceptions.RequestDataTooBig, 413, "body_too_large"),
    (django.core.exceptions.SuspiciousOperation, 400, "bad_request"),
    (django.core.exceptions.BadRequest, 400, "bad_request"),
    (UnreadablePostError, 400, "incomplete_body"),
)

# REST framework's own words for what is wrong with a field; a serializer may also say one of ours.
_FIELD_CODES = {
    "null": "wrong_type",
    "blank": "required",
    "empty": "required",
    "max_length": "invalid_value",
    "not_a_list": "wrong_type",
    "not_a_dict": "wrong_type",
}


def _known(code: str) -> str:
    if code not in CODES:
        raise ValueError("a code that CODES does not explain")
    return code


def _headers(error: BaseException) -> Mapping[str, str]:
    if isinstance(error, drf.Throttled):
        return {"Retry-After": str(max(1, math.ceil(getattr(error, "wait", None) or 1)))}
    return _NO_HEADERS


def _faults(codes: object, *place: str | int) -> Iterator[Fault]:
    """REST framework's tree of codes as a list of faults. Its messages stay behind: they quote values."""
    if isinstance(codes, str):
        yield Fault(pointer(*place), codes if codes in CODES else _FIELD_CODES.get(codes, "invalid_value"))
    elif isinstance(codes, Mapping):
        for key, inner in codes.items():
            yield from _faults(inner, *(place if key == "non_field_errors" else (*place, key)))
    elif isinstance(codes, Sequence):
        for index, inner in enumerate(codes):
            yield from _faults(inner, *(place if isinstance(inner, str) else (*place, index)))


def _shown(text: str) -> str:
    """A pointer fit to be sent: of valid Unicode, cut where a hostile key made it long."""
    return text[:LONGEST_POINTER].encode("utf-8", "replace").decode()
