import io
import json
import math
import tracemalloc
from collections.abc import Callable
from time import thread_time
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from backend.body import DRAINED_BYTES, ORDINARY, SYNC, Limits, parse, read_json, read_nothing
from backend.errors import Problem, problem_response
from tests.hostile import ACCEPTED, CANARY, JSON, REFUSED, Case

# What json.dumps can say within the limits: whole numbers that survive a double, finite numbers, text
# PostgreSQL takes.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
values = st.recursive(
    st.none()
    | st.booleans()
    | texts
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(texts, inner, max_size=6),
    max_leaves=40,
)


def post(body: bytes, content_type: str = JSON, **headers: str) -> HttpRequest:
    request = RequestFactory().generic("POST", "/", body, headers=headers)
    request.META["CONTENT_TYPE"] = content_type
    return request


def refusal(action: Callable[[], object]) -> Problem:
    with pytest.raises(Problem) as caught:
        action()
    return caught.value


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_refused_quickly_with_its_own_code_and_without_an_echo(case: Case) -> None:
    request = post(case.body, case.content_type, **case.headers)

    started = thread_time()
    problem = refusal(lambda: read_json(request))
    seconds = thread_time() - started

    assert (problem.status, problem.code) == (case.status, case.code)
    assert CANARY not in problem_response(problem).content.decode()
    assert problem.__cause__ is None
    assert problem.__suppress_context__ or problem.__context__ is None
    assert seconds < 0.25


def test_the_corpus_names_each_case_once() -> None:
    names = [case.name for case in REFUSED] + [name for name, *_ in ACCEPTED]

    assert len(names) == len(set(names))
    assert len(REFUSED) >= 90


@pytest.mark.parametrize(("name", "body", "value"), ACCEPTED, ids=[name for name, *_ in ACCEPTED])
def test_odd_but_right(name: str, body: bytes, value: object) -> None:
    read = read_json(post(body))

    assert read == value
    assert json.dumps(read) == json.dumps(read).replace("-0.0", "0.0")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "Application/JSON;Charset=UTF-8",
     'application/json; charset="utf-8"', "application/json; version=1"],
)  # fmt: skip
def test_types_that_say_json_in_utf8(content_type: str) -> None:
    assert read_json(post(b"{}", content_type)) == {}


def test_identity_is_no_encoding() -> None:
    assert read_json(post(b"{}", **{"Content-Encoding": "Identity"})) == {}


@given(values, st.booleans(), st.sampled_from([None, 2]))
def test_what_json_says_is_read_back_equal(value: object, ascii_only: bool, indent: int | None) -> None:
    said = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()

    assert parse(said) == value


@given(st.binary(max_size=300))
def test_random_bytes_are_a_value_or_a_problem(data: bytes) -> None:
    try:
        parse(data)
    except Problem as problem:
        assert problem.status in {400, 413}


@given(values, st.data())
def test_json_with_some_bytes_changed_is_a_value_or_a_problem(value: object, data: st.DataObject) -> None:
    said = bytearray(json.dumps(value).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(said) - 1))
        said[place : place + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from(
                [b"", b"[", b"}", b'"', b"\\", b",", b"\\ud800", b"\\u0000", b"1e999", b"NaN", b"\xff"]
            )
        )
        said = said or bytearray(b" ")
    try:
        parse(bytes(said))
    except Problem as problem:
        assert problem.status in {400, 413}


def members(value: object) -> int:
    """Members and elements in a value, counted on the value: parse counts on the text."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return len(inner) + sum(map(members, inner))


def levels(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(levels, inner), default=0)


@given(values, st.integers(0, 20), st.integers(1, 4))
def test_members_and_levels_are_counted_as_on_the_value(value: object, items: int, depth: int) -> None:
    limits = Limits(depth=depth, items=items)
    said = json.dumps(value).encode()

    if levels(value) > depth:
        assert refusal(lambda: parse(said, limits)).code in {"too_deep", "too_many_items"}
    elif members(value) > items:
        assert refusal(lambda: parse(said, limits)).code == "too_many_items"
    else:
        assert parse(said, limits) == value


@given(st.lists(st.tuples(texts, st.integers(0, 9)), max_size=6))
def test_a_key_named_twice_is_refused_however_it_is_written(pairs: list[tuple[str, int]]) -> None:
    said = "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in pairs) + "}"

    if len(dict(pairs)) < len(pairs):
        assert refusal(lambda: parse(said.encode())).code == "duplicate_key"
    else:
        assert parse(said.encode()) == dict(pairs)


@given(st.integers() | st.integers(2**53 - 3, 2**53 + 3) | st.integers(-(2**53) - 3, -(2**53) + 3))
def test_whole_numbers_end_at_what_a_double_holds(number: int) -> None:
    if abs(number) < 2**53:
        assert parse(str(number).encode()) == number
    else:
        assert refusal(lambda: parse(str(number).encode())).code == "number_out_of_range"


def test_zero_has_no_sign() -> None:
    assert math.copysign(1, parse(b"-0.0")) == 1  # type: ignore[arg-type]


def test_a_full_sync_of_500_administrations_fits() -> None:
    answers = {f"scs{i:02}": 3 for i in range(1, 27)}
    entry = {"type": "administration", "id": "0" * 36, "instrument": "scs-26", "version": 1,
             "started_at": "2026-04-03T09:00:00+02:00", "completed_at": "2026-04-03T09:05:00+02:00",
             "timezone": "Europe/Berlin", "assessment": None, "responses": answers,
             "skipped": dict.fromkeys(answers, "declined")}  # fmt: skip
    whole = {"device": "0" * 36, "cursor": None, "entries": [entry] * 500}
    said = json.dumps(whole).encode()

    assert len(said) < SYNC.bytes
    assert read_json(post(said), SYNC) == whole
    assert refusal(lambda: read_json(post(said))).code == "body_too_large"


@pytest.mark.parametrize("core", [b"1,", b"[],", b'"",', b"{},", b'"\\"",'])
def test_four_megabytes_of_small_things_are_refused_within_half_a_second(core: bytes) -> None:
    said = b"[" + core * (SYNC.bytes // len(core) - 2) + b"1]"

    # Of our own time: the tests beside this one share the cores.
    started = thread_time()
    assert refusal(lambda: parse(said, SYNC)).code == "too_many_items"
    assert thread_time() - started < 0.5


class Wire(io.RawIOBase):
    """A connection that hands out so many bytes, a few at a time, and then ends or breaks."""

    def __init__(self, total: int, breaks: bool = False, at_a_time: int = 65_536) -> None:
        self.left, self.breaks, self.at_a_time, self.given = total, breaks, at_a_time, 0

    def read(self, size: int = -1) -> bytes:
        count = min(self.left, self.at_a_time, size if size >= 0 else self.left)
        if not count and self.breaks:
            raise ConnectionResetError
        self.left -= count
        self.given += count
        return b"1" * count


def over(wire: Any, **meta: str) -> HttpRequest:
    request = RequestFactory().generic("POST", "/", b"", JSON)
    environ = {**request.META, "wsgi.input": wire, "CONTENT_TYPE": JSON, **meta}
    environ = {key: value for key, value in environ.items() if value != ""}
    return type(request)(environ)


@pytest.mark.parametrize("total", [262_145, 10**9])
def test_a_body_without_declared_length_is_kept_to_the_cap_and_drained_within_limits(total: int) -> None:
    wire = Wire(total)
    request = over(wire, CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="chunked")
    request.META["wsgi.input_terminated"] = True

    tracemalloc.start()
    problem = refusal(lambda: read_json(request))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (problem.status, problem.code) == (413, "body_too_large")
    assert wire.given <= ORDINARY.bytes + DRAINED_BYTES + 65_536
    assert wire.left == 0 or total == 10**9
    assert peak < 2**20


def test_a_short_body_without_declared_length_is_read() -> None:
    request = over(Wire(3, at_a_time=1), CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="chunked")
    request.META["wsgi.input_terminated"] = True

    assert read_json(request) == 111


@pytest.mark.parametrize("declared", [str(DRAINED_BYTES + 1), "1000000000", "9" * 5_000])
def test_a_length_declared_far_over_the_cap_is_refused_unread(declared: str) -> None:
    wire = Wire(10**9)

    problem = refusal(lambda: read_json(over(wire, CONTENT_LENGTH=declared)))

    assert (problem.status, problem.code, wire.given) == (413, "body_too_large", 0)


@pytest.mark.parametrize("declared", [262_145, 8_000_000, DRAINED_BYTES])
@pytest.mark.parametrize("breaks", [False, True])
def test_a_length_declared_over_the_cap_is_let_pass_before_the_answer(declared: int, breaks: bool) -> None:
    wire = Wire(declared, breaks)

    problem = refusal(lambda: read_json(over(wire, CONTENT_LENGTH=str(declared))))

    assert (problem.status, problem.code, wire.left) == (413, "body_too_large", 0)


@pytest.mark.parametrize("declared", ["-5", "5.0", "٣", "1e3", "0x10", " 5"])
def test_a_length_that_is_none_is_refused_unread(declared: str) -> None:
    wire = Wire(10**9)

    problem = refusal(lambda: read_json(over(wire, CONTENT_LENGTH=declared)))

    assert (problem.status, problem.code, wire.given) == (400, "bad_request", 0)


@pytest.mark.parametrize("breaks", [False, True])
@pytest.mark.parametrize("sent", [0, 1, 50])
def test_a_body_cut_off_is_a_400(sent: int, breaks: bool) -> None:
    problem = refusal(lambda: read_json(over(Wire(sent, breaks), CONTENT_LENGTH="100")))

    assert (problem.status, problem.code) == (400, "incomplete_body")


def test_a_body_in_pieces_is_put_together() -> None:
    assert read_json(over(Wire(10, at_a_time=3), CONTENT_LENGTH="10")) == 1111111111


def test_a_body_is_read_once_and_stays() -> None:
    request = post(b'{"a": 1}')

    assert (read_json(request), read_json(request), request.body) == ({"a": 1}, {"a": 1}, b'{"a": 1}')


@pytest.mark.parametrize(("body", "content_type"), [(b"", ""), (b"", JSON), (b"{}", JSON), (b" { } ", JSON)])
def test_no_fields_means_no_body_or_an_empty_object(body: bytes, content_type: str) -> None:
    read_nothing(post(body, content_type))


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b'{"a": 1}', JSON, 422, "unexpected_body"),
        (b"[]", JSON, 422, "wrong_type"),
        (b"null", JSON, 422, "wrong_type"),
        (b'""', JSON, 422, "wrong_type"),
        (b"{", JSON, 400, "malformed_json"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
    ],
)
def test_anything_else_where_there_are_no_fields(
    body: bytes, content_type: str, status: int, code: str
) -> None:
    problem = refusal(lambda: read_nothing(post(body, content_type)))

    assert problem.status == status
    assert code in {problem.code, *(fault.code for fault in problem.errors)}
