"""Who may sign in: with an address of one spelling, or without any."""

import pytest
from allauth.account.models import EmailAddress
from django.db import IntegrityError, transaction

from backend.accounts.addresses import address_of, lookup, user_of
from backend.accounts.models import User
from backend.accounts.services import create_user
from tests.accounts.phone import MIA


def test_many_have_no_address(db: None) -> None:
    nobodies = [create_user(email=None, password=None) for _ in range(3)]

    assert [user.email for user in nobodies] == [None] * 3
    assert str(nobodies[0]) == f"user {nobodies[0].pk}"


@pytest.mark.parametrize(
    "email", ["mia@cast.example", "", lookup("up@cast.example").upper(), "mia@sealed.invalid", lookup(MIA)]
)
def test_a_user_is_found_by_one_lookup_address_and_never_by_another_text(mia: User, email: str) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create(email=email, password="!")


def test_the_sign_in_package_keeps_no_address_either(mia: User) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        EmailAddress.objects.create(user=mia, email="second@cast.example")


@pytest.mark.parametrize("email", ["mia@cast.example", " MIA@Cast.Example\n", "Mia@cast.example"])
def test_every_spelling_is_one_address(mia: User, email: str) -> None:
    assert user_of(email) == mia
    assert address_of(mia) == MIA


@pytest.mark.parametrize("email", ["mıa@cast.example", "mİa@cast.example", "mi\u0430@cast.example"])
def test_an_address_that_looks_the_same_is_another(mia: User, email: str) -> None:
    assert user_of(email) is None


def test_a_kelvin_sign_is_no_k(db: None) -> None:
    """In small letters it is one (CVE-2019-19844): a code for one would open the other's account."""
    kim = create_user(email="kim@cast.example", password=None)

    assert user_of("\u212aim@cast.example") is None
    other = create_user(email="\u212aim@cast.example", password=None)
    assert (address_of(kim), address_of(other)) == ("kim@cast.example", "\u212aim@cast.example")
