import json
import pickle
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import redis
from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpResponse, UnreadablePostError
from hypothesis import given
from hypothesis import strategies as st
from rest_framework import exceptions as drf
from rest_framework import serializers

from backend import errors
from backend.errors import CODES, Fault, Problem, exception_handler, pointer, problem_response
from tests.errors_page import page

CANARY = "canary-0b5e77c1"
PAGE = Path(__file__).parent.parent / "docs" / "errors.md"


def body(response: HttpResponse) -> dict[str, object]:
    read: dict[str, object] = json.loads(response.content)
    return read


def handled(error: Exception) -> HttpResponse:
    return exception_handler(error, {})


def test_the_page_of_errors_is_made_from_the_codes() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.errors_page > docs/errors.md"


def test_a_problem_has_these_members_and_no_others() -> None:
    fault = Fault(pointer("responses", "scs07"), "out_of_range", "1 to 5")

    response = problem_response(Problem(422, "validation_failed", errors=[fault]))

    assert (response.status_code, response["Content-Type"]) == (422, "application/problem+json")
    assert body(response) == {
        "type": "/docs/errors#validation_failed",
        "title": "Validation failed",
        "status": 422,
        "code": "validation_failed",
        "detail": CODES["validation_failed"],
        "errors": [{"pointer": "/responses/scs07", "code": "out_of_range", "detail": "1 to 5"}],
    }
    assert body(problem_response(Problem(409, "conflict")))["errors"] == []


def test_a_code_that_nothing_explains_is_refused() -> None:
    for make in (lambda: Problem(400, CANARY), lambda: Fault("", CANARY)):
        with pytest.raises(ValueError, match="explain"):
            make()


def test_a_404_is_the_same_bytes_whatever_was_asked_for() -> None:
    answers = [
        problem_response(Problem(404, "not_found")),
        problem_response(Problem(404, "conflict", f"no {CANARY}", [Fault("/id", "invalid_uuid")])),
        handled(Http404(f"/api/v1/{CANARY}")),
        handled(drf.NotFound(f"no participant {uuid4()}")),
        errors.handler404(None, Http404(CANARY)),  # type: ignore[arg-type]
    ]

    assert {answer.content for answer in answers} == {answers[0].content}
    assert {tuple(answer.items()) for answer in answers} == {tuple(answers[0].items())}
    assert {answer.status_code for answer in answers} == {404}


@pytest.mark.parametrize(
    ("error", "status", "code", "header"),
    [
        (drf.NotAuthenticated(), 401, "not_signed_in", ("WWW-Authenticate", "Bearer")),
        (drf.AuthenticationFailed(CANARY), 401, "not_signed_in", ("WWW-Authenticate", "Bearer")),
        (drf.PermissionDenied(CANARY), 403, "not_allowed", None),
        (PermissionDenied(CANARY), 403, "not_allowed", None),
        (drf.MethodNotAllowed(CANARY), 405, "method_not_allowed", None),
        (drf.NotAcceptable(), 406, "not_acceptable", None),
        (drf.UnsupportedMediaType(CANARY), 415, "unsupported_media_type", None),
        (drf.ParseError(CANARY), 400, "malformed_json", None),
        (drf.Throttled(wait=3.2), 429, "too_many_requests", ("Retry-After", "4")),
        (drf.Throttled(), 429, "too_many_requests", ("Retry-After", "1")),
        (RequestDataTooBig(CANARY), 413, "body_too_large", None),
        (SuspiciousOperation(CANARY), 400, "bad_request", None),
        (BadRequest(CANARY), 400, "bad_request", None),
        (UnreadablePostError(CANARY), 400, "incomplete_body", None),
        (OperationalError(CANARY), 503, "unavailable", ("Retry-After", "2")),
        (InterfaceError(CANARY), 503, "unavailable", ("Retry-After", "2")),
        (redis.ConnectionError(CANARY), 503, "unavailable", ("Retry-After", "2")),
        (redis.TimeoutError(CANARY), 503, "unavailable", ("Retry-After", "2")),
        (IntegrityError(CANARY), 500, "internal", None),
        (KeyError(CANARY), 500, "internal", None),
        (drf.APIException(CANARY), 500, "internal", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_exception_has_its_problem(
    error: Exception,
    status: int,
    code: str,
    header: tuple[str, str] | None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    response = handled(error)

    assert (response.status_code, body(response)["code"]) == (status, code)
    assert header is None or response[header[0]] == header[1]
    assert CANARY not in response.content.decode() + str(response.headers)
    logged = capfd.readouterr().err
    assert CANARY not in logged
    assert (type(error).__name__ in logged) == (status >= 500)


def test_a_database_that_is_gone_is_a_503() -> None:
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect("postgresql://nobody@127.0.0.1:1/nothing", connect_timeout=2)

    assert handled(refused.value).status_code == 503


def test_serializer_faults_become_pointers_and_quote_nothing() -> None:
    class Inner(serializers.Serializer):
        kind = serializers.ChoiceField(["a"])

    class Outer(serializers.Serializer):
        name = serializers.CharField(max_length=3)
        entries = Inner(many=True)

    outer = Outer(data={"name": CANARY, "entries": [{"kind": "a"}, {"kind": CANARY}, {}]})
    with pytest.raises(drf.ValidationError) as invalid:
        outer.is_valid(raise_exception=True)

    response = handled(invalid.value)

    assert response.status_code == 422
    assert [(fault["pointer"], fault["code"]) for fault in body(response)["errors"]] == [  # type: ignore[attr-defined]
        ("/name", "invalid_value"),
        ("/entries/1/kind", "invalid_value"),
        ("/entries/2/kind", "required"),
    ]
    assert CANARY not in response.content.decode()


def test_a_serializers_own_word_may_be_one_of_our_codes() -> None:
    response = handled(drf.ValidationError({"zone": [drf.ErrorDetail(CANARY, code="unknown_timezone")]}))

    assert body(response)["errors"] == [
        {"pointer": "/zone", "code": "unknown_timezone", "detail": CODES["unknown_timezone"]}
    ]


@pytest.mark.parametrize(
    ("steps", "expected"),
    # RFC 6901, section 5
    [((), ""), (("foo",), "/foo"), (("foo", 0), "/foo/0"), (("",), "/"), (("a/b",), "/a~1b"),
     (("c%d",), "/c%d"), (('k"l',), '/k"l'), ((" ",), "/ "), (("m~n",), "/m~0n"), (("~1",), "/~01")],
)  # fmt: skip
def test_pointers_are_those_of_the_standard(steps: tuple[str | int, ...], expected: str) -> None:
    assert pointer(*steps) == expected


@given(st.lists(st.text(max_size=400), max_size=3))
def test_a_hostile_key_in_a_pointer_is_cut_and_made_unicode(keys: list[str]) -> None:
    response = problem_response(
        Problem(422, "validation_failed", errors=[Fault(pointer(*keys), "unknown_field")])
    )

    shown = json.loads(response.content.decode("utf-8"))["errors"][0]["pointer"]
    assert len(shown) <= 200
    shown.encode("utf-8")


def test_surrogates_in_a_pointer_are_replaced() -> None:
    response = problem_response(
        Problem(422, "validation_failed", errors=[Fault("/a\ud800b", "unknown_field")])
    )

    assert body(response)["errors"][0]["pointer"] == "/a?b"  # type: ignore[index]


def test_two_thousand_faults_are_told_as_a_hundred() -> None:
    faults = [Fault(f"/responses/x{number}", "unknown_item") for number in range(2_000)]

    told = body(problem_response(Problem(422, "validation_failed", errors=faults)))["errors"]

    assert [fault["pointer"] for fault in told] == [f"/responses/x{number}" for number in range(100)]  # type: ignore[attr-defined]


def test_a_problem_survives_a_process_boundary() -> None:
    problem = Problem(422, "validation_failed", "why", [Fault("/a", "required")], {"X-Why": "b"})

    copy = pickle.loads(pickle.dumps(problem))  # noqa: S301 - our own, just made

    assert problem_response(copy).serialize() == problem_response(problem).serialize()
