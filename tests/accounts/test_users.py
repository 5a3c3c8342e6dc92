"""Who may sign in: with an address of one spelling, or without any."""

import pytest
from django.db import IntegrityError, transaction

from backend.accounts.models import User
from backend.accounts.services import create_user


def test_many_have_no_address(db: None) -> None:
    nobodies = [create_user(email=None, password=None) for _ in range(3)]

    assert [user.email for user in nobodies] == [None] * 3
    assert str(nobodies[0]) == f"user {nobodies[0].pk}"


@pytest.mark.parametrize("email", ["mia@cast.example", "", "Upper@cast.example"])
def test_an_address_is_one_persons_in_one_spelling_and_never_empty(mia: User, email: str) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create(email=email, password="!")

    assert create_user(email="New@Cast.Example", password=None).email == "new@cast.example"
