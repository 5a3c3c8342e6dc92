"""Every action the audit knows, and the words in which a participant is told of it. Pure.

The one table: `services.record` takes no other action. What was once written stays, and must be told of
years later, so nothing is ever taken out. Words name no score, substance or instrument, and say neither
who it was nor why: that stands beside them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Action:
    """`words`: what was done, to the person it was done to. `refused`: it was only tried. `own`: the subject
    of its rows is the id of something of the participant's, who may be told it."""

    words: str
    refused: bool = False
    own: bool = False


ACTIONS: Mapping[str, Action] = MappingProxyType(
    {
        # Reading
        "caseload.read": Action("You appeared in a list of the participants somebody works with."),
        "participant.read": Action("Somebody looked up who you are here, under your pseudonym."),
        "dosing_sessions.read": Action("Somebody looked at your sessions, as far as you show them."),
        "administrations.read": Action("Somebody looked at your answers and scores."),
        "administration.read": Action("Somebody looked at one of your questionnaires closely.", own=True),
        "trends.read": Action("Somebody looked at how your scores have changed over time."),
        "consents.read": Action("Somebody looked at what you agreed to."),
        "disclosure.read": Action("Somebody looked at what you show of your sessions."),
        "access_log.read": Action("Somebody looked at this list of who opened what."),
        "care.managed": Action("Somebody looked at, or arranged, who cares for you."),
        "operator.viewed": Action(
            "Somebody who keeps this service running saw that there is an entry about you: of which kind and"
            " since when, never your words or answers.",
            own=True,
        ),
        "history.read": Action("Somebody at the server looked at how an entry about you was before."),
        # Turned away
        "participant.refused": Action(
            "Somebody without the right to see your data tried to. They saw nothing.", refused=True
        ),
        "participant.no_consent": Action(
            "Somebody wanted to see what you have not agreed to share. They saw nothing.", refused=True
        ),
        "clinic.refused": Action("Somebody asked for more than they may. They saw nothing.", refused=True),
        "second_factor.missing": Action(
            "Somebody asked without signing in securely enough. They saw nothing.", refused=True
        ),
        # Writing. `opened` is the door, which stands before what came through it.
        "dosing_sessions.opened": Action("Somebody opened your sessions to enter one."),
        "dosing_session.recorded": Action("One of your sessions was entered.", own=True),
        "administration.opened": Action(
            "Somebody opened one of your questionnaires to correct it.", own=True
        ),
        "administration.recorded": Action("A filled-in questionnaire of yours was recorded.", own=True),
        "administration.quarantined": Action(
            "Something you sent did not fit, and was kept aside so that nothing is lost."
        ),
        "administration.corrected": Action("One of your questionnaires was corrected.", own=True),
        "release.opened": Action("Somebody opened one of your questionnaires to show you its scores."),
        "administration.released": Action("The scores of a questionnaire were released to you.", own=True),
        "participant.enrolled": Action("You were enrolled."),
        "participant.relinked": Action("Somebody asked for a code for your new phone."),
        "participant.suspended": Action("Your account was shut. What it holds stays as it is."),
        "participant.restored": Action("Your account was opened again."),
        "care.started": Action("A therapist began to care for you."),
        "care.ended": Action("A therapist's care for you ended."),
        # In an emergency
        "emergency.opened": Action("Somebody asked to see your data in an emergency."),
        "emergency.started": Action("Your data was opened in an emergency, for a few hours.", own=True),
        "emergency.read": Action("Somebody looked at the list of emergencies you are in."),
        # Joining and coming back
        "invitation.created": Action("An invitation was made for you."),
        "invitation.withdrawn": Action("An invitation that was made for you was withdrawn."),
        "invitation.redeemed": Action("An invitation was used."),
        "recovery_codes.made": Action("New recovery codes were made."),
        "recovery.used": Action("A recovery code was used."),
        "code.wrong": Action("A code was tried that is none.", refused=True),
        "code.refused": Action("Too many wrong codes were tried.", refused=True),
        # What one agreed to
        "consent.recorded": Action("A decision of yours was recorded."),
        "consent.given": Action("An agreement of yours was recorded."),
        "consent.withdrawn": Action("It was recorded that you took an agreement back."),
        "consent.pending": Action("An agreement of yours waits until you say it again."),
        "disclosure.changed": Action("What you show of your sessions was changed."),
        "consent_text.loaded": Action("A text to agree to was added."),
        # A clinic and its staff
        "clinic.created": Action("A clinic was set up."),
        "clinic.hold_changed": Action("A clinic changed when scores are shown."),
        "staff.managed": Action("Somebody looked at, or arranged, who works in a clinic."),
        "staff.listed": Action("Somebody at the server listed who works in the clinics."),
        "membership.started": Action("Somebody joined a clinic's staff."),
        "membership.ended": Action("Somebody left a clinic's staff."),
        "membership.suspended": Action("Somebody's work for a clinic was suspended."),
        "membership.restored": Action("Somebody's work for a clinic goes on."),
        "cover.arranged": Action("It was arranged who cares while a therapist is away."),
        "cover.ended": Action("A therapist is back, or somebody else cares in their place."),
        "caseload.handed_over": Action("A therapist's participants went on to another."),
        "reads.many": Action("Somebody looked at unusually many people."),
        # Accounts
        "session.started": Action("Somebody signed in."),
        "session.ended": Action("Somebody signed out."),
        "sign_in.refused": Action("A sign-in was refused.", refused=True),
        "sign_in.throttled": Action("Too many sign-ins were tried.", refused=True),
        "refresh.replayed": Action("A used-up sign-in was tried again, and ended.", refused=True),
        "user.suspended": Action("An account was shut."),
        "user.restored": Action("An account was opened again."),
        "account.changed": Action("An account was changed."),
        "password.changed": Action("A password was changed."),
        "password.reset": Action("A password was chosen anew."),
        "password.reset_by_staff": Action("A password was ended, so that a new one is chosen."),
        "password.reset_refused": Action("A password was not ended.", refused=True),
        "email.changed": Action("An address was changed."),
        "email.verified": Action("An address was confirmed."),
        "email.removed": Action("An address was removed."),
        "second_factor.added": Action("A second factor was added."),
        "second_factor.removed": Action("A second factor was removed."),
        "second_factor.enrolled": Action("A second factor was set up."),
        "second_factor.reset_by_staff": Action("A second factor was taken off."),
        "second_factor.reset_refused": Action("A second factor was not taken off.", refused=True),
        "user.named": Action("Somebody said what they want to be called."),
        "user.name_removed": Action("Somebody took back what they wanted to be called."),
        "device.named": Action("A device was given a name."),
        "device.revoked": Action("A device was signed out."),
        # Keys
        "key.made": Action("A key was made that keeps what you write sealed."),
        "backup.made": Action("A copy was made of the database, and one of the keys."),
        "backup.failed": Action("A copy of the database could not be made."),
        "backup.verified": Action("A copy was restored to see that it holds, and it did."),
        "backup.refused": Action("A copy was restored to see that it holds, and it did not."),
        "key.recovery_made": Action("A key was made that only a clinic or its server's keeper holds."),
        "key.master_turned": Action("The key that keeps all others was changed for a new one."),
        "keys.rotation_began": Action("Everybody's keys began to be changed for new ones."),
        "keys.rotation_turned": Action("Everybody has a new key from now on."),
        "keys.rotation_ended": Action("Everybody's older keys are used no more."),
        "keys.taken_back": Action("Older keys open what was brought back from a copy."),
        "keys.retired_forgotten": Action("Older keys that nothing needs any more are gone."),
        "key.rotated": Action("The key that keeps what you write sealed was changed for a new one."),
        "key.recovered": Action("A key that was lost was recovered."),
        "sealed.unreadable": Action("Something sealed could not be opened, and was not shown."),
        # A person's own rights
        "export.requested": Action("You asked for a copy of everything that is yours."),
        "exports.read": Action("Somebody looked at which copies were asked for."),
        "export.made": Action("A copy of everything that is yours was made."),
        "export.downloaded": Action("A copy of everything that is yours was fetched."),
        "export.failed": Action("A copy of everything that is yours could not be made."),
        "export.expired": Action("A copy of everything that is yours is kept no longer."),
        "withdrawal.made": Action("It was recorded that you take no part any more."),
        "withdrawal.undone": Action("It was recorded that you are back."),
        "erasure.read": Action("Somebody looked at how far the erasing of your data is."),
        "erasure.requested": Action("It was asked that everything of yours be erased."),
        "erasure.cancelled": Action("It was asked that your data be kept after all."),
        "erasure.done": Action("Everything of yours was erased."),
        "key.destroyed": Action("The key that keeps what you wrote was destroyed."),
        # The audit itself
        "audit.read": Action("Somebody looked at what a member of staff saw and did."),
        "audit.reported": Action("Somebody at the server looked at what a person saw and did."),
        "audit.anchored": Action("Proofs of what was noted were put away elsewhere."),
        # Those who keep the service running
        "operator.created": Action("Somebody became an operator."),
        "operator.ended": Action("Somebody is no operator any more."),
        "operator.signed_in": Action("An operator signed in."),
        "operator.refused": Action("An operator's sign-in was refused.", refused=True),
        "instrument.loaded": Action("A questionnaire was added."),
        "wording.loaded": Action("The words of a questionnaire were added."),
    }
)


def known(action: str) -> str:
    """The action. Raises ValueError for one that ACTIONS does not have words for."""
    if action not in ACTIONS:
        raise ValueError("an action that ACTIONS does not explain")
    return action
