"""What an audit row says of where it came from."""

from uuid import UUID, uuid4

from django.test import Client

from backend.audit.models import Entry
from backend.care.models import Membership, Participant
from tests.conftest import ClientFor, submission


def test_rows_name_the_installation_that_asked(
    ana: Participant, thea: Membership, client_for: ClientFor
) -> None:
    phone, desk = uuid4(), uuid4()
    record(client_for(ana), phone)
    read(client_for(thea), ana, str(desk))

    assert written("administration.recorded") == [(ana.user_id, phone)]
    assert written("administrations.read") == [(thea.user_id, desk)]


def test_an_installation_that_cannot_be_read_is_none(
    ana: Participant, thea: Membership, client_for: ClientFor
) -> None:
    read(client_for(thea), ana, "the blue one")

    assert written("administrations.read") == [(thea.user_id, None)]


def record(client: Client, device: UUID) -> None:
    answer = client.post(
        "/api/v1/administrations", submission(), "application/json", headers={"x-device": str(device)}
    )
    assert answer.status_code == 201


def read(client: Client, ana: Participant, device: str) -> None:
    address = f"/api/v1/participants/{ana.public_id}/administrations"
    assert client.get(address, headers={"x-device": device}).status_code == 200


def written(action: str) -> list[tuple[int | None, UUID | None]]:
    return list(Entry.objects.filter(action=action).order_by("pk").values_list("actor", "device"))
