"""What a phone does: sends answers, and sends them again."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import orjson
from django.test import Client

from backend.audit.models import Entry
from backend.care.models import Membership, Participant
from backend.keys.envelope import Holder
from backend.keys.fields import sealed
from scales.models import Administration, Correction, Quarantined, Trend

ClientFor = Callable[[Participant | Membership], Client]
URL = "/api/v1/administrations"
VERSION_TWO = "scs-26.v2.toml"


def post(client: Client, body: Any, url: str = URL, **headers: Any) -> Any:
    return client.post(url, body, "application/json", headers=headers)


def correct(client: Client, administration: str, body: Any) -> Any:
    return post(client, body, f"{URL}/{administration}/corrections")


def counts() -> dict[str, int]:
    """How many rows there are of what a submission may leave."""
    kinds = (Administration, Correction, Quarantined, Trend)
    return {kind.__name__: kind.objects.count() for kind in kinds}


def kept() -> list[tuple[str, UUID | None]]:
    """What quarantine holds: kind and id of each, in the order it came."""
    return list(Quarantined.objects.order_by("id").values_list("kind", "administration"))


def opened(found: Quarantined, name: str = "body") -> Any:
    """What was sent, or what was wrong with it, out of what is sealed in quarantine."""
    holder = Holder(found.participant.public_id, found.participant.clinic_id)
    text = sealed(Quarantined, name).unseal(getattr(found, name), row=found.pk, holder=holder)
    return orjson.loads(text)


def actions(participant: Participant) -> list[str]:
    """What the audit says of a participant since they were enrolled and agreed to be cared for."""
    found = Entry.objects.filter(participant=participant.pk).order_by("id").values_list("action", flat=True)
    began = ("participant.enrolled", "care.started", "consent.given")
    return [action for action in found if action not in began]


def pointers(answer: Any) -> list[tuple[str, str]]:
    """Where a problem points, and with which code."""
    return [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]]


def value(answer: Any, subscale: str) -> Any:
    return next(s for s in answer.json()["scores"] if s["subscale"] == subscale)["value"]
