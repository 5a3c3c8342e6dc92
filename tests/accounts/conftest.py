"""Mia, who signs in, and her phone."""

import pytest
from django.test import Client

from backend.accounts.models import User
from backend.accounts.services import create_user
from tests.accounts.phone import MIA, PASSWORD
from tests.accounts.phone import phone as new_phone


@pytest.fixture
def mia(db: None) -> User:
    return create_user(email=MIA, password=PASSWORD)


@pytest.fixture
def phone() -> Client:
    return new_phone()
