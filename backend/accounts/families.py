"""Refresh tokens: one good one at a time for each sign-in, and the end of all of them when one is replayed.

A family is the line of refresh tokens that follow from one sign-in. Whoever uses one gets its successor.
A token that was used up and comes again was copied, by whoever came first or second: nobody can tell
which, so the family ends. Except that replies get lost: the same device, within the leeway, is given the
same successor once more, never another one, so that there is one living line whatever happens.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any
from uuid import UUID

from allauth.headless.internal.sessionkit import lookup_session
from allauth.headless.tokens.strategies.jwt import internal
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import transaction

from backend.accounts.models import Device, TokenFamily, User
from backend.audit import services as audit
from backend.wire import uuid as parsed_uuid

LEEWAY = timedelta(seconds=20)
FAMILY_KEY = "selfkind_family"  # in a session's data
_BEFORE_FAMILIES = "headless_refresh_tokens"  # where the sign-in package kept the good ones


class Turn(Enum):
    """What a refresh token of a living family is due."""

    NEXT = auto()
    SAME_AGAIN = auto()
    REPLAYED = auto()


@dataclass(frozen=True, slots=True)
class Renewed:
    """A living session, its user, and the family whose newest token is theirs."""

    user: User
    session: Any
    family: TokenFamily


def turn(family: TokenFamily, *, jti: UUID, installation: UUID | None, now: datetime) -> Turn:
    """What a token with this id is due, coming from that installation at that instant."""
    if jti == family.jti:
        return Turn.NEXT
    if (
        jti == family.previous_jti
        and installation is not None
        and installation == family.rotated_by
        and family.rotated_at is not None
        and now - family.rotated_at <= LEEWAY
    ):
        return Turn.SAME_AGAIN
    return Turn.REPLAYED


@transaction.atomic
def start_family(*, user: User, session: Any, installation: UUID | None, now: datetime) -> TokenFamily:
    """The family of a session that has just been signed in, on that installation's device.

    Asked for once more within the same sign-in, as the package does, it is the same one.
    """
    if begun := TokenFamily.objects.filter(user=user, session_key=session.session_key).first():
        return begun
    seen = _seen(user=user, installation=installation, now=now)
    family = TokenFamily(user=user, device=seen, session_key=session.session_key)
    _issue(family, now=now)
    family.save(force_insert=True)
    session[FAMILY_KEY] = str(family.pk)
    audit.record(actor=user.pk, action="session.started", subject=family.pk)
    return family


@transaction.atomic
def renew(*, token: dict[str, Any], installation: UUID | None, now: datetime) -> Renewed | None:
    """The session behind a refresh token's claims, with the family's newest token; None if it is over.

    A replayed token ends its family here and now. The row lock makes two of the same token two turns.
    """
    jti = parsed_uuid(token["jti"])
    family = _locked_family(token, now=now) if jti else None
    if jti is None or family is None:
        return None
    session = lookup_session(family.session_key)
    user = internal.validate_token_user(token, session) if session is not None else None
    if session is None or user is None or user.pk != family.user_id:
        return None
    due = turn(family, jti=jti, installation=installation, now=now)
    if due is Turn.REPLAYED:
        end_families(TokenFamily.objects.filter(pk=family.pk))
        audit.record(actor=user.pk, action="refresh.replayed", subject=family.pk)
        return None
    if due is Turn.NEXT:
        family.previous_jti, family.rotated_at, family.rotated_by = family.jti, now, installation
        _issue(family, now=now)
        family.save()
        _seen(user=user, installation=installation, now=now, new=False)
        Session.objects.filter(pk=family.session_key).update(
            expire_date=now + timedelta(seconds=settings.SESSION_COOKIE_AGE)
        )
    return Renewed(user, session, family)


def signed(family: TokenFamily) -> str:
    """The family's newest refresh token: the same text every time, until the next is issued."""
    config = internal._get_jwt_config()
    return str(
        internal.jwt.encode(
            {
                "iat": int(family.issued_at.timestamp()),
                "exp": int(family.expires_at.timestamp()),
                "sid": str(family.pk),
                "jti": str(family.jti),
                "token_use": "refresh",
                "sub": str(family.user_id),
            },
            config.signing_key,
            algorithm=config.algorithm,
            headers=internal.get_jwt_headers(config),
        )
    )


def end_families(families: Any) -> None:
    """Nothing; their sessions are over for the next request, and their refresh tokens with them."""
    with transaction.atomic():
        ending = list(families.select_for_update().order_by("pk").values_list("pk", "session_key"))
        Session.objects.filter(pk__in=[key for _, key in ending]).delete()
        TokenFamily.objects.filter(pk__in=[pk for pk, _ in ending]).delete()


def follow(session: Any) -> None:
    """Nothing; the session's family goes with it to its new key. The user's other families end."""
    own = session.get(FAMILY_KEY)
    theirs = TokenFamily.objects.filter(user_id=session[SESSION_KEY])
    with transaction.atomic():
        if own:
            theirs.filter(pk=own).update(session_key=session.session_key)
            theirs = theirs.exclude(pk=own)
        end_families(theirs)


def _issue(family: TokenFamily, *, now: datetime) -> None:
    # Whole seconds, as a token carries them: what is kept must sign to the same text again.
    family.jti = uuid.uuid4()
    family.issued_at = now.replace(microsecond=0)
    family.expires_at = family.issued_at + timedelta(seconds=settings.HEADLESS_JWT_REFRESH_TOKEN_EXPIRES_IN)


def _locked_family(token: dict[str, Any], *, now: datetime) -> TokenFamily | None:
    locked = TokenFamily.objects.select_for_update()
    if (id_ := parsed_uuid(token["sid"])) is not None:
        return locked.filter(pk=id_).first()
    key = internal.session_key_from_sid(token["sid"])
    if not key:
        return None
    _adopt(token, key, now=now)
    return locked.filter(session_key=key).first()


def _adopt(token: dict[str, Any], session_key: str, *, now: datetime) -> None:
    """Nothing; a session from before there were families has one now, if this token was good in it."""
    session = lookup_session(session_key)
    if session is None or FAMILY_KEY in session:
        return
    user = internal.validate_token_user(token, session)
    if user is None or session.get(_BEFORE_FAMILIES, {}).get(token["jti"], 0) <= now.timestamp():
        return
    family, new = TokenFamily.objects.get_or_create(
        session_key=session_key,
        defaults={
            "user": user,
            "jti": token["jti"],
            "issued_at": datetime.fromtimestamp(token["iat"], UTC),
            "expires_at": datetime.fromtimestamp(token["exp"], UTC),
        },
    )
    if new:
        session[FAMILY_KEY] = str(family.pk)
        session.save()


def _seen(*, user: User, installation: UUID | None, now: datetime, new: bool = True) -> Device | None:
    """The user's device of that installation, seen today; made where it signs in for the first time."""
    if installation is None:
        return None
    today = now.date()
    mine = Device.objects.filter(user=user, installation=installation)
    if new:
        Device.objects.bulk_create(
            [Device(user=user, installation=installation, first_seen_on=today, last_seen_on=today)],
            ignore_conflicts=True,
        )
    mine.filter(last_seen_on__lt=today).update(last_seen_on=today)
    return mine.first()
