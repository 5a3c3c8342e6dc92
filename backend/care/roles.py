"""Which role may do what: the one table that the code and the access test are both made from. Pure.

A right is named as the audit row is that using it on somebody else leaves: `read` to read, `opened` to
write. A role that a right's row does not name does not have it.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from types import MappingProxyType

from backend.care.consent.text import Stream


class Role(StrEnum):
    """What somebody is here. A user may be several of these, in several clinics."""

    PARTICIPANT = "participant"
    THERAPIST = "therapist"
    SUPERVISOR = "supervisor"
    COORDINATOR = "coordinator"
    CLINIC_ADMIN = "clinic admin"
    RESEARCHER = "researcher"
    OPERATOR = "operator"


class Reach(StrEnum):
    """Whose data a right reaches."""

    OWN = "own"  # one's own
    CARE = "care"  # that of the participants in one's care today, as therapist or while covering for one
    CLINIC = "clinic"  # that of everybody in the clinic


OWN, CARE, CLINIC = Reach.OWN, Reach.CARE, Reach.CLINIC
P, T, S, C, A = Role.PARTICIPANT, Role.THERAPIST, Role.SUPERVISOR, Role.COORDINATOR, Role.CLINIC_ADMIN

# A membership of a clinic's staff is in one of these. An operator keeps the machine running and belongs to
# no clinic; a researcher sees what was exported for research, and nobody by name or number.
STAFF = (T, S, C, A, Role.RESEARCHER)

TABLE: Mapping[str, Mapping[Role, Reach]] = MappingProxyType(
    {
        # Who somebody is, and when their sessions are: what planning needs.
        "caseload.read": {T: CARE, S: CLINIC, C: CLINIC},
        "participant.read": {P: OWN, T: CARE, S: CLINIC, C: CLINIC},
        "dosing_sessions.read": {P: OWN, T: CARE, S: CLINIC, C: CLINIC},
        "dosing_sessions.opened": {P: OWN, T: CARE, C: CLINIC},
        # What somebody answered. Nobody answers for another.
        "administrations.read": {P: OWN, T: CARE, S: CLINIC},
        "administration.read": {P: OWN, T: CARE, S: CLINIC},
        "administration.recorded": {P: OWN},
        "administration.opened": {P: OWN},
        "trends.read": {P: OWN, T: CARE, S: CLINIC},
        "release.opened": {T: CARE, S: CLINIC},
        # What somebody agreed to, and what of their sessions others are shown: theirs alone to say.
        "consents.read": {P: OWN},
        "consent.recorded": {P: OWN},
        "disclosure.read": {P: OWN},
        "disclosure.changed": {P: OWN},
        # Who opened what of theirs. Seeing somebody's data in an emergency, without being in their care, is
        # open to those who could care; that it happened is for those who answer for the clinic.
        "access_log.read": {P: OWN},
        "emergency.opened": {T: CLINIC, S: CLINIC},
        "emergency.read": {S: CLINIC, A: CLINIC},
        # A copy of all that is kept of somebody: made for them, and shown to nobody else.
        "export.requested": {P: OWN},
        "exports.read": {P: OWN},
        "export.downloaded": {P: OWN},
        # To stop, to come back, and to have everything erased.
        "withdrawal.made": {P: OWN},
        "withdrawal.undone": {P: OWN},
        "erasure.read": {P: OWN},
        "erasure.requested": {P: OWN},
        "erasure.cancelled": {P: OWN},
        # Who belongs to the clinic, and who cares for whom.
        "invitation.created": {T: CLINIC, C: CLINIC, A: CLINIC},
        "participant.relinked": {T: CARE, C: CLINIC, A: CLINIC},
        "recovery_codes.made": {P: OWN},
        "staff.managed": {A: CLINIC},
        "care.managed": {C: CLINIC, A: CLINIC},
        # What colleagues saw and did in the clinic.
        "audit.read": {A: CLINIC},
    }
)

# What the participant must have agreed to before others use a right on their data. Planning needs to know
# who there is and when their sessions are, and the clinic must be able to speak with somebody who took a
# consent back: such rights need none, and what was taken is withheld there (`consent.disclosure`).
NEEDS: Mapping[str, Stream] = MappingProxyType(
    {
        "administrations.read": Stream.CARE,
        "administration.read": Stream.CARE,
        "trends.read": Stream.CARE,
        "release.opened": Stream.CARE,
    }
)


def may(right: str, *, own: bool, held: Collection[str], in_care: bool) -> bool:
    """Whether somebody may do this to one participant's data.

    `own`: it is theirs. `held`: their roles today in that participant's clinic. `in_care`: the
    participant is in their care today. KeyError for a right that TABLE does not have.
    """
    reaches = TABLE[right]
    if own and reaches.get(P) == OWN:
        return True
    reached = {reaches.get(Role(role)) for role in held}
    return CLINIC in reached or (in_care and CARE in reached)


class Why(StrEnum):
    """How somebody is entitled to another's data. The first three are ties, which the database knows of."""

    CARE = "care"
    COVER = "cover"  # for whoever cares
    EMERGENCY = "emergency"  # they said so, and why
    OVERSIGHT = "oversight"  # their role reaches the whole clinic


def why(right: str, *, tie: str | None) -> str:
    """How somebody who may do this to a participant's data is entitled, tied to them or not."""
    return Why.EMERGENCY if right == "emergency.opened" else tie or Why.OVERSIGHT


def acted_as(action: str, *, why: str, held: Collection[str]) -> str | None:
    """In which of the roles somebody held they did this: in one that entitled them, if any did."""
    reaches = TABLE.get(action, {})
    wanted = CLINIC if why == Why.OVERSIGHT else CARE

    def rank(role: Role) -> tuple[bool, bool, int]:
        return reaches.get(role) != wanted, role not in reaches, STAFF.index(role)

    return min(map(Role, held), key=rank, default=None)


def clinic_wide(right: str) -> list[str]:
    """The roles whose right reaches their whole clinic."""
    return [role.value for role, reach in TABLE[right].items() if reach == CLINIC]
