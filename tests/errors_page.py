"""docs/errors.md, made from the codes: `python -m tests.errors_page > docs/errors.md`."""

import sys

from backend.errors import CODES, LONGEST_POINTER, MOST_FAULTS

INTRODUCTION = f"""# Errors

Every refusal under `/api/v1` is `application/problem+json` (RFC 9457):

    {{"type": "/docs/errors#validation_failed", "title": "Validation failed", "status": 422,
     "code": "validation_failed", "detail": "...",
     "errors": [{{"pointer": "/responses/scs07", "code": "out_of_range", "detail": "..."}}]}}

`code` is stable: an app decides by it and by `status`, never by `title` or `detail`, whose words may change.
`errors` names the places that are wrong, at most {MOST_FAULTS} of them, each by its JSON pointer
(RFC 6901, cut at {LONGEST_POINTER} characters), and is `[]` where there are none. The answer never repeats
the path or id asked for, nor what was sent. Whoever reports an error quotes the answer's `X-Request-Id`.

A 503 and a 429 carry `Retry-After` in seconds. Sending the same id and content again is always safe.

| code | meaning |
| --- | --- |
"""


def page() -> str:
    """The page, as CODES has it."""
    return INTRODUCTION + "".join(f"| `{code}` | {meaning} |\n" for code, meaning in CODES.items())


if __name__ == "__main__":
    sys.stdout.write(page())
