"""Passwords in tests: the product's own algorithm, at a cost that hundreds of sign-ins can bear.

What the product ships is Django's Argon2 as it is: `tests/conftest.py` makes sure of that.
"""

from django.contrib.auth.hashers import Argon2PasswordHasher

SHIPPED = ["django.contrib.auth.hashers.Argon2PasswordHasher"]


class QuickArgon2(Argon2PasswordHasher):
    time_cost = 1
    memory_cost = 512
    parallelism = 1
