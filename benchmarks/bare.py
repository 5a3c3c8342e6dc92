"""The limit with HTTP: the same job with nothing around it, as a bare ASGI application on asyncpg.

It does what one submission must: find the token in PostgreSQL, check and score the answers, insert one
row durably under the phone's id. And what one reader must: the last 50 scores, and the trend as it was
left by whoever computed it. No audit, no change feed, no trend request, no quarantine, no logs.
"""

import hashlib
import os
import tomllib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import orjson

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

TABLES = """
CREATE TABLE person (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, token_hash bytea NOT NULL UNIQUE);
CREATE TABLE submission (
    id uuid PRIMARY KEY, person bigint NOT NULL REFERENCES person, instrument text NOT NULL,
    version int NOT NULL, completed_at timestamptz NOT NULL, received_at timestamptz NOT NULL,
    responses jsonb NOT NULL, scores jsonb NOT NULL
);
CREATE INDEX ON submission (person, completed_at DESC, id DESC);
CREATE INDEX ON submission (person, instrument, completed_at DESC, id DESC);
CREATE TABLE trend (person bigint PRIMARY KEY REFERENCES person, result bytea NOT NULL);
"""
FIND = "SELECT id FROM person WHERE token_hash = $1"
INSERT = """
INSERT INTO submission (id, person, instrument, version, completed_at, received_at, responses, scores)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING RETURNING id
"""
LAST = """
SELECT id, completed_at, received_at, scores::text AS scores FROM submission
WHERE person = $1 AND instrument = $2 ORDER BY completed_at DESC, id DESC LIMIT 50
"""
TREND = "SELECT result FROM trend WHERE person = $1"

_FILE = Path(__file__).parent.parent / "scales" / "instruments" / "scs-26.v1.toml"
_SUBSCALES: dict[str, dict[str, Any]] = tomllib.loads(_FILE.read_text())["subscales"]
_ITEMS = [f"scs{number:02}" for number in range(1, 27)]
_KEYS = [(name, shape["of"], shape["higher_is"] == "better") for name, shape in _SUBSCALES.items()][:6]
_pool: asyncpg.Pool | None = None


def score(responses: dict[str, int]) -> list[dict[str, Any]]:
    """The twelve scores of the SCS-26: six means, the total over them, and five other totals in use."""
    means = [sum(responses[item] for item in items) / len(items) for _, items, _ in _KEYS]
    toward = [mean if better else 6 - mean for mean, (_, _, better) in zip(means, _KEYS, strict=True)]
    all_items = sum(
        responses[item] if better else 6 - responses[item] for _, items, better in _KEYS for item in items
    )
    warm = [mean for mean, (_, _, better) in zip(means, _KEYS, strict=True) if better]
    cold = [mean for mean, (_, _, better) in zip(means, _KEYS, strict=True) if not better]
    return [
        *(
            _score(name, mean, len(items), better)
            for mean, (name, items, better) in zip(means, _KEYS, strict=True)
        ),
        _score("total", sum(toward) / 6, 26, True),
        _score("total_mean26", all_items / 26, 26, True),
        _score("total_sum_of_means", sum(toward), 26, True),
        _score("total_sum26", float(all_items), 26, True),
        _score("cs", sum(warm) / 3, 13, True),
        _score("ucs", sum(cold) / 3, 13, False),
    ]


def _score(name: str, value: float, count: int, better: bool) -> dict[str, Any]:
    return {
        "subscale": name, "value": round(value, 4), "answered": count, "of": count,
        "higher_is": "better" if better else "worse",
    }  # fmt: skip


def checked(body: bytes) -> tuple[UUID, datetime, dict[str, int]]:
    """Id, completion and answers; ValueError, KeyError or TypeError for what does not fit."""
    sent = orjson.loads(body)
    responses = sent["responses"]
    if sent["instrument"] != "scs-26" or sent["version"] != 1 or len(responses) != 26:
        raise ValueError
    for item in _ITEMS:
        if type(responses[item]) is not int or not 1 <= responses[item] <= 5:
            raise ValueError
    completed_at = datetime.fromisoformat(sent["completed_at"])
    if completed_at.tzinfo is None:
        raise ValueError
    return UUID(sent["id"]), completed_at, responses


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application."""
    global _pool
    if scope["type"] == "lifespan":
        await receive()
        _pool = await asyncpg.create_pool(os.environ["BARE_DATABASE_URL"], min_size=2, max_size=8)
        await send({"type": "lifespan.startup.complete"})
        return
    if scope["type"] != "http" or _pool is None:
        return
    token = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    async with _pool.acquire() as connection:
        person = await connection.fetchval(FIND, hashlib.sha256(token).digest())
        if person is None:
            status, answer = 401, b"{}"
        elif scope["method"] == "POST":
            status, answer = await _record(connection, person, await _body(receive))
        elif scope["path"] == "/trend":
            status, answer = 200, await connection.fetchval(TREND, person) or b"{}"
        else:
            status, answer = 200, await _last(connection, person)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _record(connection: Any, person: int, body: bytes) -> tuple[int, bytes]:
    try:
        id_, completed_at, responses = checked(body)
    except (ValueError, KeyError, TypeError):
        return 422, b"{}"
    scores = score(responses)
    received_at = datetime.now(UTC)
    new = await connection.fetchval(
        INSERT, id_, person, "scs-26", 1, completed_at, received_at,
        orjson.dumps(responses).decode(), orjson.dumps(scores).decode(),
    )  # fmt: skip
    return (201 if new else 200), orjson.dumps(_shown(id_, completed_at, received_at, scores))


async def _last(connection: Any, person: int) -> bytes:
    rows = await connection.fetch(LAST, person, "scs-26")
    results = [_shown(str(row[0]), row[1], row[2], orjson.Fragment(row[3])) for row in rows]
    return orjson.dumps({"results": results, "next": None})


def _shown(id_: UUID | str, completed_at: datetime, received_at: datetime, scores: object) -> dict[str, Any]:
    return {
        "id": id_, "instrument": "scs-26", "version": 1, "started_at": completed_at,
        "completed_at": completed_at, "received_at": received_at, "timezone": "Europe/Berlin",
        "assessment": None, "clock": None, "scores": scores, "safety": None, "revision": 1,
    }  # fmt: skip
