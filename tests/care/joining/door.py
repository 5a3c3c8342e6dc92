"""What people do at the door: staff invite, somebody shows a code."""

from typing import Any
from uuid import UUID, uuid4

from django.core import mail
from django.test import Client
from django.utils import timezone

from backend.audit.models import Entry
from backend.care import access
from backend.care.codes import grouped
from backend.care.joining import services
from backend.care.joining.models import Invitation
from backend.care.models import Membership, Participant
from tests.accounts.mailbox import deliver
from tests.conftest import sign_in

API = "/api/v1"
INVITATIONS = f"{API}/invitations"
PREVIEW = f"{INVITATIONS}/preview"
REDEEM = f"{INVITATIONS}/redeem"
RECOVERY = f"{API}/recovery"


def sent() -> list[Any]:
    """Every message so far, those that waited included."""
    deliver()
    return mail.outbox


def phone() -> Client:
    """A phone at an address of its own: wrong codes are counted by address."""
    number = uuid4().int % 2**24
    return Client(REMOTE_ADDR=f"127.{number >> 16}.{number >> 8 & 255}.{number & 255}")


def post(client: Client, path: str, body: Any, *, device: UUID | None = None, token: str = "") -> Any:
    headers = {"x-device": str(device)} if device else {}
    headers |= {"authorization": f"Bearer {token}"} if token else {}
    return client.post(path, body, "application/json", headers=headers)


def signed_in(member: Membership | Participant) -> Client:
    assert member.user is not None
    member.user.refresh_from_db()  # which sessions count changes with it
    return Client(headers={"authorization": f"Bearer {sign_in(member.user)}"})


def invited(therapist: Membership, **fields: Any) -> str:
    """A code for somebody new in that therapist's care."""
    given: dict[str, Any] = {
        "id": uuid4(), "protocol": None, "days": 14, "actor": therapist.user_id, "now": timezone.now(),
    }  # fmt: skip
    _, code = services.invite(therapist=therapist, **(given | fields))
    assert code is not None
    return grouped(code)


def recovery_codes(participant: Participant) -> list[str]:
    """A new set of that participant's."""
    with access.participants_of_a_job([participant.pk]) as found:
        return services.make_recovery_codes(
            participant=found[participant.pk], actor=participant.user_id or 0, now=timezone.now()
        )


def new_phone_code(by: Membership, participant: Participant) -> str:
    """A code for that participant's new phone, made over HTTP."""
    answer = post(signed_in(by), f"{API}/participants/{participant.public_id}/relink", {"id": str(uuid4())})
    assert answer.status_code == 201
    return str(answer.json()["code"])


def redeem(code: str, *, client: Client | None = None, device: UUID | None = None, **fields: Any) -> Any:
    body = {"code": code, "timezone": "Europe/Lisbon", **fields}
    return post(client or phone(), REDEEM, body, device=device)


def preview(code: str, *, client: Client | None = None) -> Any:
    return post(client or phone(), PREVIEW, {"code": code})


def recover(code: str, *, client: Client | None = None, device: UUID | None = None) -> Any:
    return post(client or phone(), RECOVERY, {"code": code}, device=device)


def me(token: str) -> Any:
    return Client(headers={"authorization": f"Bearer {token}"}).get(f"{API}/me")


def joined(answer: Any) -> Participant:
    return Participant.objects.get(public_id=answer.json()["participant"]["id"])


def invitation_of(answer: Any) -> Invitation:
    return Invitation.objects.get(pk=answer.json()["id"])


def entries_since(newest: int) -> list[tuple[str, int | None, int | None, int | None]]:
    # That somebody signed in is told of each time, and proved where signing in is.
    rows = Entry.objects.filter(id__gt=newest).exclude(action="session.started").order_by("id")
    return list(rows.values_list("action", "actor", "participant", "clinic"))


def newest_entry() -> int:
    return Entry.objects.order_by("-id").values_list("id", flat=True).first() or 0


def seen(answer: Any) -> tuple[Any, ...]:
    """All of an answer but its reference."""
    return answer.status_code, {k: v for k, v in answer.items() if k != "X-Request-Id"}, answer.content
