import json
from typing import Any
from uuid import UUID

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.urls import ResolverMatch

from backend.middleware import RequestMiddleware, SignInBodyMiddleware, networks
from tests.hostile import CANARY, JSON, REFUSED, Case

ELSEWHERE = "203.0.113.9"
PROXY = "10.0.0.7"


class Echo:
    """The rest of the service: answers, and keeps the request it was given."""

    def __init__(self, response: HttpResponse | None = None) -> None:
        self.response = response or HttpResponse(b"{}", content_type=JSON)
        self.request: HttpRequest | None = None

    def __call__(self, request: HttpRequest) -> HttpResponse:
        self.request = request
        return self.response

    @property
    def seen(self) -> HttpRequest:
        assert self.request is not None
        return self.request


def through(
    echo: Echo,
    peer: str = "127.0.0.1",
    proxy: str = "",
    secure: bool = False,
    said: dict[str, str] | None = None,
) -> Any:
    request = RequestFactory().get("/api/v1/x", secure=secure, headers=said, REMOTE_ADDR=peer)
    with override_settings(TRUSTED_PROXY=proxy):
        return RequestMiddleware(echo)(request)


def test_every_answer_has_an_id_of_ours_and_safe_headers() -> None:
    first, second = (through(Echo(), said={"X-Request-Id": "mine"}) for _ in range(2))

    assert {UUID(answer["X-Request-Id"]).version for answer in (first, second)} == {4}
    assert first["X-Request-Id"] != second["X-Request-Id"]
    assert {name: first[name] for name in first.headers if name not in ("X-Request-Id", "Content-Type")} == {
        "Content-Length": "2",
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def test_what_a_view_says_about_keeping_and_sources_stands() -> None:
    said = {"Cache-Control": "private, max-age=60", "Content-Security-Policy": "default-src 'self'"}

    answer = through(Echo(HttpResponse(headers=said)))

    assert {name: answer[name] for name in said} == said


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_declares_no_length(status: int) -> None:
    assert "Content-Length" not in through(Echo(HttpResponse(status=status)))


def test_https_is_kept_to_only_where_it_was_used() -> None:
    assert through(Echo(), secure=True)["Strict-Transport-Security"] == "max-age=31536000"
    assert "Strict-Transport-Security" not in through(Echo())


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1"])
def test_plain_http_is_served_on_this_machine(peer: str) -> None:
    assert through(Echo(), peer).status_code == 200


@pytest.mark.parametrize(
    "peer", [ELSEWHERE, "10.0.0.1", "2001:db8::1", "::ffff:203.0.113.9", "0.0.0.0", "", "x"]
)
def test_plain_http_from_elsewhere_is_refused_before_anything_sees_it(peer: str) -> None:
    echo = Echo()

    answer = through(echo, peer)

    assert (answer.status_code, json.loads(answer.content)["code"]) == (403, "https_required")
    assert answer["X-Request-Id"]
    assert echo.request is None
    assert through(Echo(), peer, secure=True).status_code == 200


@pytest.mark.parametrize("proxy", [PROXY, "10.0.0.0/24", f"192.0.2.1, {PROXY}"])
def test_a_trusted_proxy_says_who_and_how(proxy: str) -> None:
    echo = Echo()

    answer = through(
        echo, PROXY, proxy, said={"X-Forwarded-For": f"127.0.0.1, {ELSEWHERE}", "X-Forwarded-Proto": "https"}
    )

    assert answer.status_code == 200
    assert "Strict-Transport-Security" in answer
    assert echo.seen.is_secure()
    assert echo.seen.META["REMOTE_ADDR"] == ELSEWHERE
    assert "HTTP_X_FORWARDED_FOR" not in echo.seen.META


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Forwarded-For": ELSEWHERE},
        {"X-Forwarded-For": ELSEWHERE, "X-Forwarded-Proto": "http"},
        {"X-Forwarded-For": ELSEWHERE, "X-Forwarded-Proto": "https, http"},
        {"X-Forwarded-For": "nonsense"},
    ],
)
def test_plain_http_in_front_of_the_proxy_is_refused(headers: dict[str, str]) -> None:
    assert through(Echo(), PROXY, PROXY, said=headers).status_code == 403


def test_plain_http_to_a_proxy_on_this_machine_is_refused() -> None:
    answer = through(Echo(), "127.0.0.1", "127.0.0.1", said={"X-Forwarded-For": ELSEWHERE})

    assert answer.status_code == 403


@pytest.mark.parametrize(("peer", "proxy"), [(ELSEWHERE, ""), (ELSEWHERE, PROXY), ("127.0.0.1", PROXY)])
def test_nobody_else_is_believed(peer: str, proxy: str) -> None:
    echo = Echo()
    forged = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https"}

    answer = through(echo, peer, proxy, said=forged)

    assert answer.status_code == (403 if peer == ELSEWHERE else 200)
    if echo.request is not None:
        assert (echo.seen.META["REMOTE_ADDR"], echo.seen.is_secure()) == (peer, False)
        assert not {"HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO"} & set(echo.seen.META)


def test_a_proxy_that_is_no_address_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="proxy"):
        networks("proxy.example")


def test_one_line_a_request_with_the_route_in_place_of_the_path(capfd: pytest.CaptureFixture[str]) -> None:
    class Routed(Echo):
        def __call__(self, request: HttpRequest) -> HttpResponse:
            request.resolver_match = ResolverMatch(
                Echo(), (), {}, route="api/v1/participants/<uuid:participant>"
            )
            request.user = type("Signed", (), {"id": 7})()
            return HttpResponse(status=201)

    request = RequestFactory().get(f"/api/v1/participants/{CANARY}?q={CANARY}", headers={"X-Device": CANARY})
    answer = RequestMiddleware(Routed())(request)

    logged = capfd.readouterr().err
    assert CANARY not in logged
    line = json.loads(logged)
    assert line.pop("at").endswith("+00:00")
    assert 0 <= line.pop("ms") < 1_000
    assert line == {
        "level": "info", "event": "request", "request_id": answer["X-Request-Id"], "method": "GET",
        "route": "api/v1/participants/<uuid:participant>", "status": 201, "user": 7,
    }  # fmt: skip


def test_an_exception_outside_rest_framework_is_a_problem_too(capfd: pytest.CaptureFixture[str]) -> None:
    middleware = RequestMiddleware(Echo())

    answer = middleware.process_exception(RequestFactory().get("/"), ValueError(CANARY))

    assert (answer.status_code, answer["Content-Type"]) == (500, "application/problem+json")
    assert CANARY not in capfd.readouterr().err


def sign_in(
    body: bytes, content_type: str = JSON, path: str = "/_allauth/app/v1/auth/login", **headers: str
) -> Any:
    request = RequestFactory().generic("POST", path, body, headers=headers)
    request.META["CONTENT_TYPE"] = content_type
    echo = Echo()
    return SignInBodyMiddleware(echo)(request), echo


@pytest.mark.parametrize("case", [case for case in REFUSED if case.body], ids=lambda case: case.name)
def test_what_sign_in_cannot_read_never_reaches_it(case: Case) -> None:
    answer, echo = sign_in(case.body, case.content_type, **case.headers)

    assert (answer.status_code, json.loads(answer.content)["code"]) == (case.status, case.code)
    assert echo.request is None


@pytest.mark.parametrize("body", [b'{"email": "x", "password": "y"}', b"", b"{}"])
def test_sign_in_finds_the_body_as_it_came(body: bytes) -> None:
    answer, echo = sign_in(body, JSON if body else "")

    assert answer.status_code == 200
    assert echo.seen.body == body


def test_sign_in_takes_an_object() -> None:
    answer, _ = sign_in(b"[1]")

    assert (answer.status_code, json.loads(answer.content)["errors"][0]["code"]) == (422, "wrong_type")


def test_bodies_elsewhere_are_left_to_their_views() -> None:
    answer, echo = sign_in(b"{", path="/api/v1/x")

    assert answer.status_code == 200
    assert echo.seen.read(1) == b"{"


def test_a_host_that_is_not_ours_is_refused() -> None:
    echo = Echo()

    with override_settings(ALLOWED_HOSTS=["127.0.0.1"]):
        answer = through(echo, said={"Host": "evil.example"})

    assert answer.status_code == 400
    assert json.loads(answer.content)["code"] == "bad_request"
    assert echo.request is None
