"""What people are sent, read where the task would hand it on."""

from django.core import mail
from django.utils import timezone

from backend.accounts.mail import send_waiting


def deliver() -> int:
    """How many messages were sent that waited."""
    return send_waiting(now=timezone.now)


def code_sent_to(address: str) -> str:
    """The code in the newest message to that address."""
    deliver()
    text = next(str(m.body) for m in reversed(mail.outbox) if m.to == [address])
    return next(line.strip() for line in text.splitlines() if line.startswith("    "))
