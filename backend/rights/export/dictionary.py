"""What every table and column says that is somebody's, in a plain sentence; and why a column is left out.

Data only. A column that is not decided here fails a test, so none is exported or forgotten by accident.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType


class How(Enum):
    """How a column's value is told."""

    AS_IT_IS = auto()  # opened first, where it is sealed
    PERSON = auto()  # a user's number: "you", or what somebody else is
    MEMBER = auto()  # a membership's number: what that member of staff is
    PARTICIPANT = auto()  # a participant's number: your public id
    CLINIC = auto()  # a clinic's number: its public id
    DEVICE = auto()  # a device's number: the id of that installation
    JSON_TEXT = auto()  # a text that holds JSON
    UUID_TEXT = auto()  # a text, where it is an id as the API shows them
    OWN_PARTS = auto()  # an object, without the database's numbers for others
    IF_YOU = auto()  # only where the row's `actor` is you


@dataclass(frozen=True, slots=True)
class Told:
    """An exported column, in a sentence."""

    sentence: str
    how: How = How.AS_IT_IS


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A column that is in no copy, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Described:
    """A table, what its rows are, and each of its columns. A bare text is a sentence, told as it is."""

    title: str
    sentence: str
    columns: Mapping[str, str | Told | LeftOut]


NUMBER = LeftOut("A number of the database's own. It says nothing of you.")
YOUR_NUMBER = LeftOut("A number of the database's own for you. Every row here is yours.")
FINGERPRINT = LeftOut("A fingerprint of what you sent, which tells when it is sent twice. It says no more.")
YOU = Told("You, by the id that the API shows.", How.PARTICIPANT)
CLINIC = Told("Your clinic, by the id that the API shows.", How.CLINIC)
DEVICE = "The installation of the app it came from, if the app said."
RECEIVED = "When it arrived here."


def secret(what: str) -> LeftOut:
    """A column that would let somebody in."""
    return LeftOut(f"Secret: {what}. Nobody is shown it, so that a copy in wrong hands lets nobody in.")


# In the order in which a copy tells of them.
TABLES: Mapping[str, Described] = MappingProxyType(
    {
        "care.Participant": Described(
            "You, here",
            "What you are called here, and since when.",
            {
                "id": NUMBER,
                "public_id": "Your id, as the API shows it. It never changes and tells nothing of you.",
                "clinic_id": CLINIC,
                "user_id": LeftOut("A number of the database's own for your sign-in."),
                "pseudonym": "What you are called here instead of your name.",
                "timezone": "The time zone your days are counted in.",
                "enrolled_at": "When you joined.",
                "withdrawn_at": "Since when you take no part. Empty: you take part.",
            },
        ),
        "scales.Administration": Described(
            "What you answered",
            "Each time that you filled in a questionnaire, as you first sent it.",
            {
                "id": "Its id.",
                "participant_id": YOU,
                "instrument_code": "Which questionnaire.",
                "instrument_version": "Which version of it.",
                "started_at": "When you began, by your phone's clock.",
                "completed_at": "When you finished, by your phone's clock.",
                "utc_offset": "How many minutes your phone's clock was ahead of UTC.",
                "timezone": "The time zone of your phone.",
                "received_at": RECEIVED,
                "clock": "What was doubtful about your phone's clock, if anything. The answers count all the"
                " same.",
                "assessment": "The occasion that asked for it, by id.",
                "device": DEVICE,
                "responses": "Your answers, by item.",
                "skipped": "Why you left an item out, by item, where you said.",
                "scores": "For each score: its unrounded value, and how many items were answered.",
                "answer": Told(
                    "What was made of it: every score, those included that first waited for a conversation"
                    " with your therapist.",
                    How.JSON_TEXT,
                ),
                "missing_answers": "How left-out items were counted: `strict` or `prorate`.",
                "content_hash": FINGERPRINT,
            },
        ),
        "scales.Correction": Described(
            "What you corrected",
            "Each later version of answers of yours. All versions are kept.",
            {
                "id": "Its id.",
                "administration_id": "What it corrects, by id.",
                "revision": "Which version it is; the first is 1.",
                "responses": "Your answers in this version, by item.",
                "scores": "For each score: its unrounded value, and how many items were answered.",
                "answer": Told("What was made of this version: every score.", How.JSON_TEXT),
                "reason": "Why, in your own words.",
                "corrected_by_id": Told("Who sent it.", How.PERSON),
                "received_at": RECEIVED,
                "content_hash": FINGERPRINT,
            },
        ),
        "scales.Trend": Described(
            "How your scores went over time",
            "One line for each questionnaire, with what was last worked out from your scores.",
            {
                "id": NUMBER,
                "participant_id": YOU,
                "instrument_code": "Which questionnaire.",
                "requested": "How often something new was to be worked in.",
                "computed": "How much of that has been.",
                "computed_at": "When it was last worked out.",
                "result": Told("What was worked out, score by score.", How.JSON_TEXT),
            },
        ),
        "scales.Held": Described(
            "Scores that waited for a conversation",
            "Each time that scores waited until your therapist could speak with you, as you were told. In"
            " this copy nothing waits: every score is in it.",
            {
                "id": NUMBER,
                "clinic_id": CLINIC,
                "participant_id": YOU,
                "administration_id": "Whose scores, by id.",
                "revision": "Of which version.",
                "scores": "Which scores waited.",
                "answer": Told("What you were shown meanwhile.", How.JSON_TEXT),
                "release_at": "Until when they waited at the longest.",
            },
        ),
        "scales.Release": Described(
            "Scores you were shown after a conversation",
            "Each time that somebody who cares for you let you see such scores.",
            {
                "administration_id": "Whose scores, by id.",
                "clinic_id": CLINIC,
                "participant_id": YOU,
                "released_by_id": Told("Who let you see them.", How.PERSON),
                "released_at": "When.",
            },
        ),
        "scales.Quarantined": Described(
            "What could not be scored",
            "Each sending that could be read but not scored. It is kept as it came.",
            {
                "id": NUMBER,
                "participant_id": YOU,
                "kind": "Why: it did not fit (`rejected`), its id was taken (`conflict`), or its version was"
                " not known (`unknown_version`).",
                "administration": "The id it came with.",
                "instrument_code": "Which questionnaire it named.",
                "instrument_version": "Which version it named.",
                "sent_by_id": Told("Who sent it.", How.PERSON),
                "device": DEVICE,
                "body": "What was sent, as it came.",
                "content_hash": FINGERPRINT,
                "faults": "What did not fit, and where.",
                "received_at": RECEIVED,
                "resolved_at": "When it could be scored after all.",
            },
        ),
        "care.DosingSession": Described(
            "Your dosing sessions",
            "Each dosing session that was written down.",
            {
                "id": "Its id.",
                "participant_id": YOU,
                "started_at": "When it began.",
                "substance": "The substance, if it was said.",
                "dose": "How much, if it was said.",
                "dose_unit": "In which unit.",
                "route": "How it was taken.",
                "setting": "Where it was, in a word.",
                "supervised": "Whether somebody was there to look after you.",
                "recorded_by_id": Told("Who wrote it down.", How.PERSON),
                "recorded_at": "When it was written down.",
            },
        ),
        "care.Disclosure": Described(
            "What you show of your sessions",
            "Each time that you said what others are shown of your dosing sessions.",
            {
                "id": NUMBER,
                "clinic_id": CLINIC,
                "participant_id": YOU,
                "wanted": "What you wanted others to be shown.",
                "in_force": "What others were shown from then on.",
                "received_at": RECEIVED,
                "device": DEVICE,
                "ask_again_at": "From when on you are asked again, where the two differ.",
            },
        ),
        "care.Consent": Described(
            "What you agreed to",
            "Each time that you agreed to something, or took it back.",
            {
                "id": "Its id.",
                "clinic_id": CLINIC,
                "participant_id": YOU,
                "stream": "What it is about: `care`, `research`, `journal_therapist` or `contact_after`.",
                "decision": "Whether you gave it or took it back.",
                "version": "The version of the text you were shown.",
                "language": "The language of that text.",
                "text_hash": "The SHA-256 of exactly the text you were shown.",
                "rules": "The rules of your clinic that the text told you of.",
                "decided_at": "When you decided, by your phone's clock.",
                "timezone": "The time zone of your phone.",
                "received_at": RECEIVED,
                "device": DEVICE,
                "ask_again_at": "From when on you are asked again, where it waits: until then it is not in"
                " force.",
            },
        ),
        "care.CareRelationship": Described(
            "Who cares for you",
            "Each therapist who cares or cared for you.",
            {
                "id": NUMBER,
                "public_id": "Its id.",
                "clinic_id": CLINIC,
                "participant_id": YOU,
                "therapist_id": Told("Who cares for you.", How.MEMBER),
                "started_at": "Since when.",
                "ended_at": "Until when. Empty: still.",
                "ended_because": "Why it ended, in a word: `away`, `left`, `workload`, `asked` or `other`.",
            },
        ),
        "audit.Entry": Described(
            "Who saw and did what",
            "Each time that something of yours was looked at, made or changed: by you, or by somebody else.",
            {
                "id": NUMBER,
                "at": "When.",
                "actor": Told("Who: you, or what somebody else is. Empty: the service itself.", How.PERSON),
                "action": "What was done. `.read` and `.opened` are others looking; `.refused` saw nothing.",
                "participant": YOU,
                "clinic": CLINIC,
                "subject": Told(
                    "The id of what it was about, where that is an id that the API shows.", How.UUID_TEXT
                ),
                "request": Told(
                    "The reference of the request, where it was yours: the X-Request-Id of its answer.",
                    How.IF_YOU,
                ),
                "device": Told("The installation it came from, where it was yours.", How.IF_YOU),
                "why": "How somebody else was entitled: `care`, `cover`, `oversight`, or `emergency`.",
            },
        ),
        "audit.History": Described(
            "What was changed",
            "What a line about you was, each time before somebody changed it or took it away.",
            {
                "id": NUMBER,
                "at": "When it was changed.",
                "actor": Told("Who changed it. Empty: at the server.", How.PERSON),
                "request": LeftOut("The reference of a request that may have been somebody else's."),
                "change": "Whether it was changed (`update`) or taken away (`delete`).",
                "table": "Which table the line was in.",
                "row": LeftOut("A number of the database's own for the line."),
                "participant": YOU,
                "clinic": CLINIC,
                "before": Told("What the line was before.", How.OWN_PARTS),
            },
        ),
        "care.EmergencyAccess": Described(
            "Emergencies",
            "Each time that somebody who does not care for you opened your data in an emergency.",
            {
                "id": "Its id.",
                "clinic_id": CLINIC,
                "participant_id": YOU,
                "membership_id": Told("Who it was.", How.MEMBER),
                "opened_at": "When.",
                "until": "Until when they could see it.",
                "reason": "Why, in their words.",
            },
        ),
        "accounts.User": Described(
            "Your sign-in",
            "That you may sign in, and how you can be reached.",
            {
                "id": NUMBER,
                "password": secret("your password, hashed"),
                "last_login": "When you last signed in, where that is kept.",
                "key": LeftOut("What your keys are found by. It tells nothing of you."),
                "email": LeftOut(
                    "A keyed hash that your address is found by. The address itself is in this copy."
                ),
                "name": "What you want to be called.",
                "is_active": "Whether you may sign in.",
                "is_operator": "Whether you keep this server running.",
                "joined_at": "When your sign-in was made.",
                "session_salt": secret("it goes into what keeps you signed in"),
            },
        ),
        "account.EmailAddress": Described(
            "Your addresses",
            "Each e-mail address of yours.",
            {
                "id": NUMBER,
                "user_id": YOUR_NUMBER,
                "email": LeftOut(
                    "A keyed hash that the address is found by. The address itself is in this copy."
                ),
                "verified": "Whether you showed that it is yours.",
                "primary": "Whether messages go to it.",
            },
        ),
        "accounts.Address": Described(
            "Your addresses, as you wrote them",
            "Each e-mail address that you gave.",
            {
                "id": NUMBER,
                "user_id": YOUR_NUMBER,
                "lookup": LeftOut("A keyed hash that the address is found by."),
                "sealed": "The address.",
                "made_at": "When you gave it.",
            },
        ),
        "accounts.PasskeyName": Described(
            "What you call your passkeys",
            "Each name you gave one.",
            {
                "id": NUMBER,
                "user_id": YOUR_NUMBER,
                "label": LeftOut("What ties the name to its passkey here."),
                "name": "The name.",
                "made_at": "When you gave it.",
            },
        ),
        "account.EmailConfirmation": Described(
            "Addresses to confirm",
            "Each message that asked you to confirm an address.",
            {
                "id": NUMBER,
                "email_address_id": LeftOut("A number of the database's own for one of your addresses."),
                "created": "When it was made.",
                "sent": "When it was sent.",
                "key": secret("it confirms the address"),
            },
        ),
        "mfa.Authenticator": Described(
            "Your passkeys and second factors",
            "Each further way in that you set up.",
            {
                "id": NUMBER,
                "user_id": YOUR_NUMBER,
                "type": "What it is: an authenticator app, a passkey, or codes to keep.",
                "data": secret("what the passkey, app or codes are checked with"),
                "created_at": "When you set it up.",
                "last_used_at": "When you last used it.",
            },
        ),
        "accounts.Device": Described(
            "Your devices",
            "Each installation of an app that you signed in on.",
            {
                "id": NUMBER,
                "user_id": YOUR_NUMBER,
                "installation": "The id the app gave itself.",
                "name": "What you call it.",
                "first_seen_on": "The day you first signed in on it.",
                "last_seen_on": "The day it last signed in or renewed its sign-in.",
            },
        ),
        "accounts.TokenFamily": Described(
            "Your sign-ins",
            "Each sign-in that is not over.",
            {
                "id": secret("it names a sign-in that is not over"),
                "user_id": YOUR_NUMBER,
                "device_id": Told("The installation you signed in on, if the app said.", How.DEVICE),
                "session_key": secret("it is the sign-in"),
                "jti": secret("it names the token that renews the sign-in"),
                "issued_at": "When it was last renewed.",
                "expires_at": "When it ends by itself.",
                "previous_jti": secret("it names the token before"),
                "rotated_at": "When the token before was used.",
                "rotated_by": "The installation that used it, if it said.",
            },
        ),
        "care.Invitation": Described(
            "Your invitations",
            "Each one-time code you were given: to join, or for a new phone.",
            {
                "id": "Its id.",
                "clinic_id": CLINIC,
                "kind": "To join (`join`), or for a new phone (`relink`).",
                "digest": secret("a fingerprint of the code"),
                "therapist_id": Told("Who was to care for you.", How.MEMBER),
                "participant_id": YOU,
                "protocol": "The course of integration you were invited to.",
                "created_by_id": Told("Who made it.", How.PERSON),
                "created_at": "When it was made.",
                "expires_at": "Until when it could be used.",
                "withdrawn_at": "When it was taken back.",
                "redeemed_at": "When you used it.",
                "redeemed_by_device": "The installation you used it on, if the app said.",
                "repeats": "How often your phone asked again, not having got the answer.",
            },
        ),
        "care.RecoveryCode": Described(
            "Your recovery codes",
            "One line for each code you keep for the day you lose every other way in; never the code itself.",
            {
                "id": NUMBER,
                "clinic_id": CLINIC,
                "participant_id": YOU,
                "digest": secret("a fingerprint of the code"),
                "made_at": "When it was made.",
                "used_at": "When you used it. Empty: it is still good.",
                "used_by_device": "The installation you used it on, if the app said.",
                "repeats": "How often your phone asked again, not having got the answer.",
            },
        ),
        "rights.Export": Described(
            "Copies you asked for",
            "Each copy like this one, this one included.",
            {
                "id": "Its id.",
                "participant_id": YOU,
                "status": "How far it is. While this copy was being made it was `running`.",
                "progress": "How much of it is done, of 100.",
                "attempts": "How often it was begun.",
                "leased_until": "Until when whoever is making it has for that.",
                "requested_at": "When you asked.",
                "ready_at": "When it was ready.",
                "expires_at": "Until when it can be fetched.",
                "size": "How large it is, in bytes.",
            },
        ),
        "rights.ExportPart": Described(
            "Copies that can be fetched",
            "The pieces that such copies lie in, under your own key, until they are deleted.",
            {
                "id": "The copy's id, and the number of the piece.",
                "export_id": "Of which copy.",
                "number": "Which piece, from 1.",
                "content": LeftOut("A piece of such a copy itself. What is in it is in this one too."),
            },
        ),
        "rights.Erasure": Described(
            "Erasures you asked for",
            "Each time that you asked for everything of yours to be erased.",
            {
                "id": "Its id.",
                "participant": YOU,
                "account": LeftOut("A number of the database's own for your sign-in."),
                "clinic": CLINIC,
                "holders": LeftOut("What your keys are found by. It tells nothing of you."),
                "state": "How far it is.",
                "requested_at": "When you asked.",
                "erases_at": "From when on it is done, if you do not take it back.",
                "leased_until": "Until when whoever is doing it has for that.",
                "cancelled_at": "When you took it back.",
                "done_at": "When it was done.",
                "receipt": "What was destroyed and what is kept.",
                "signature": LeftOut("The signature under the receipt, which is told with it."),
            },
        ),
        "changes.Change": Described(
            "What changed, for your phone",
            "One line for each change that your phone may need to hear of.",
            {
                "id": NUMBER,
                "participant": YOU,
                "kind": "What kind of thing changed.",
                "object": "Its id.",
                "deleted": "Whether it was taken away.",
                "at": "When.",
                "transaction": NUMBER,
            },
        ),
    }
)


def described(label: str) -> Mapping[str, Told | LeftOut]:
    """How every column of that table was decided. KeyError for a table that was not."""
    return {
        name: Told(column) if isinstance(column, str) else column
        for name, column in TABLES[label].columns.items()
    }
