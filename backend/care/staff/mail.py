"""What members of staff are written: into their own mailbox, and nobody else learns what it says."""

from django.core.mail import send_mail

from backend.accounts.addresses import address_of
from backend.accounts.services import welcome_link
from backend.care.models import Membership
from backend.care.staff.queries import awaits_welcome

SUBJECT = "You are on the staff of {clinic}"
WELCOME = """Hello,

{clinic} would like you on its staff. Choose a password here, once, within three days:

{link}

If you did not expect this, you need do nothing.
"""
KNOWN = """Hello,

{clinic} has added you to its staff. You can sign in as you always do.

If you did not expect this, you need do nothing.
"""


CHOOSE_ANEW = """Hello,

a colleague at {clinic} has made this link for you. Choose a new password here, once, within three days:

{link}

Your old password and every sign-in are over. If you did not ask for this, please tell {clinic} today.
"""


def send_link(membership: Membership, link: str) -> None:
    """Nothing; the member was sent the link to a new password. OSError where the server takes nothing."""
    clinic = membership.clinic.name
    text = CHOOSE_ANEW.format(clinic=clinic, link=link)
    send_mail("Your new password", text, None, [str(address_of(membership.user))])


def tell(membership: Membership) -> None:
    """Nothing; the member was written to, with a one-time link where they have yet to choose a password.

    Raises OSError where the mail server takes nothing.
    """
    user, clinic = membership.user, membership.clinic.name
    text = WELCOME if awaits_welcome(user) else KNOWN
    link = welcome_link(user) if text is WELCOME else ""
    subject = SUBJECT.format(clinic=" ".join(clinic.split()))
    send_mail(subject, text.format(clinic=clinic, link=link), None, [str(address_of(user))])
