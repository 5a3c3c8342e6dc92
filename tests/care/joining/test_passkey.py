"""The way in for somebody who joined without an address: a passkey, made at once, good on the next phone."""

from typing import Any

from backend.care.models import Membership
from tests.accounts.test_second_factor import ORIGIN, add_passkey, login_by_passkey, new_phone
from tests.care.joining.door import invited, phone, post

REDEEM = "/api/v1/invitations/redeem"


def test_a_passkey_made_on_joining_signs_in_without_an_address(thea: Membership, settings: Any) -> None:
    settings.PUBLIC_URL = ORIGIN
    joined = post(phone(), REDEEM, {"code": invited(thea), "timezone": "Europe/Berlin"}).json()

    passkey = add_passkey(new_phone(), joined["access_token"])
    answer = login_by_passkey(new_phone(), passkey)

    assert answer.status_code == 200, answer.content
    token = answer.json()["meta"]["access_token"]
    me = new_phone().get("/api/v1/me", headers={"authorization": f"Bearer {token}"}).json()
    assert (me["email"], me["participant"]) == (None, joined["participant"])
