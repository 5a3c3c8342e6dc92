"""T17, measured: how long a token lives after what should have ended it."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from django.test import Client

from backend.accounts import services
from backend.accounts.models import User
from backend.wire import uuid
from tests.accounts.phone import PASSWORD, phone, refresh, send, signed_in, status, tokens

# Each is given the user, the phone with its access token, and somebody else of the staff.
Ending = Callable[[User, Client, str, User], None]


@dataclass(frozen=True)
class Revoked:
    """How often, the slowest in milliseconds from the answer that said so, and what outlived it."""

    times: int
    slowest_ms: float
    still_let_in: int
    still_renewed: int


def _sign_out(user: User, mine: Client, access: str, rosa: User) -> None:
    assert send(mine, "auth/session", token=access, method="delete").status_code == 401


def _revoke_own(user: User, mine: Client, access: str, rosa: User) -> None:
    headers = {"authorization": f"Bearer {access}"}
    device = mine.defaults["HTTP_X_DEVICE"]
    assert mine.delete(f"/api/v1/me/devices/{device}", headers=headers).status_code == 204


def _revoke_elsewhere(user: User, mine: Client, access: str, rosa: User) -> None:
    installation = uuid(mine.defaults["HTTP_X_DEVICE"])
    assert installation is not None
    services.revoke_device(user=user.pk, installation=installation)


def _change_password_elsewhere(user: User, mine: Client, access: str, rosa: User) -> None:
    other = phone()
    elsewhere, _ = tokens(other, user)
    body = {"current_password": PASSWORD, "new_password": "six loud herons flying"}
    assert send(other, "account/password/change", body, token=elsewhere).status_code == 200


ENDINGS: dict[str, Ending] = {
    "signing out": _sign_out,
    "revoking the device": _revoke_own,
    "revoking it from elsewhere": _revoke_elsewhere,
    "changing the password elsewhere": _change_password_elsewhere,
    "suspending": lambda user, mine, access, rosa: services.suspend_user(user=user, by=rosa),
    "resetting the second factor": lambda user, mine, access, rosa: services.reset_second_factor(
        user=user, by=rosa
    ),
    "resetting the password": lambda user, mine, access, rosa: _drop(
        services.reset_password_link(user=user, by=rosa)
    ),
    "ending every session": lambda user, mine, access, rosa: services.end_sessions(user=user),
}


def _drop(link: str) -> None:
    assert "/welcome/" in link


def measure(ending: str, *, times: int) -> Revoked:
    """What ending a sign-in that way, so many times, came to."""
    rosa = services.create_user(email="rosa@cast.example", password=None)
    user = services.create_user(email="ending@cast.example", password=None)
    slowest, let_in, renewed = 0.0, 0, 0
    for _ in range(times):
        mine = phone()
        if ending == "changing the password elsewhere":
            user.set_password(PASSWORD)
            user.save()
        user.refresh_from_db()
        access, token = signed_in(mine, user)
        assert status(mine, access) == 200
        ENDINGS[ending](user, mine, access, rosa)
        ended = perf_counter()
        let_in += status(mine, access) != 401
        slowest = max(slowest, (perf_counter() - ended) * 1000)
        renewed += refresh(mine, token) is not None
        if ending == "suspending":
            services.restore_user(user=user, by=rosa)
            let_in += status(mine, access) != 401
    return Revoked(times, round(slowest, 2), let_in, renewed)
