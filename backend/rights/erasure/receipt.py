"""What somebody who was erased can keep: what is gone, what is kept and why. Names and tells nothing.

Signed are the bytes of the receipt as JSON in UTF-8, its keys sorted and without blanks, so that whoever has
the public key can check it without us.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson

from backend.rights.erasure.models import Erasure
from backend.rights.plan import tables, whose
from backend.wire import rfc3339

# For so long a copy of the key store may lie in a backup of it, and open what an old backup holds.
COPIES_LINGER = timedelta(days=7)
WORDS = (
    "What you had told us is gone, and so are the keys it was sealed under: no backup of ours brings it back"
    " to be read, from the day below on. Thank you for the time you were here. Go well."
)
# What the plan keeps of somebody, as they would call it.
_CALLED = {
    "audit.Entry": "who saw and did what, by number",
    "rights.Erasure": "that you were erased, by number, and this receipt",
}
_HASHES = ("hashes of what your phone had named", "so that nothing of it is taken in again")
_STAFF = ("the sign-in", "it is also somebody's who works here")


def receipt_for(erasure: Erasure, counts: Mapping[str, int], *, at: datetime) -> str:
    """The receipt as it is signed: a JSON object."""
    kept = [(_CALLED[model._meta.label], whose(model).kept) for model in tables() if whose(model).kept]
    stays = [_STAFF] if erasure.account is not None and len(erasure.holders) == 1 else []
    receipt: dict[str, Any] = {
        "id": str(erasure.pk),
        "requested_at": rfc3339(erasure.requested_at),
        "erased_at": rfc3339(at),
        "destroyed": {kind: found for kind, found in counts.items() if found},
        "keys_destroyed": len(erasure.holders),
        "kept": [{"what": what, "why": why} for what, why in (*kept, _HASHES, *stays)],
        "copies_until": rfc3339(at + COPIES_LINGER),
        "words": WORDS,
    }
    return orjson.dumps(receipt, option=orjson.OPT_SORT_KEYS).decode()
