"""What encryption costs: CPU of one sealed entry of 500 characters, as JSON: `python -m benchmarks.sealing`.

Runs with the environment of a running stack, and with its key store: as a request has it, from looking the
key up to the value that is stored, opened once to make sure.
"""

import json
import sys
import time
from collections.abc import Callable
from uuid import uuid4

import django

LENGTH = 500
PEOPLE = 20


def each(work: Callable[[int], object], times: int) -> float:
    """The microseconds of CPU that one of so many took, in the best of three goes."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        for number in range(times):
            work(number)
        best = min(best, (time.process_time() - began) / times)
    return round(best * 1e6, 1)


def measure(times: int) -> dict[str, float]:
    """Microseconds to seal (with trying it out) and to open an entry, and to fingerprint its content."""
    from backend.keys import blind
    from backend.keys.sealing import Holder, Place, seal, unseal

    text = "ä word " * (LENGTH // 7) + "." * (LENGTH % 7)
    places = [Place("benchmark", "text", str(n), Holder(uuid4())) for n in range(PEOPLE)]
    sealed = [seal(text, place) for place in places]
    return {
        "seal_us": each(lambda n: seal(text, places[n % PEOPLE]), times),
        "unseal_us": each(lambda n: unseal(sealed[n % PEOPLE], places[n % PEOPLE]), times),
        "fingerprint_us": each(lambda n: blind.fingerprint("benchmark", bytes(32)), times),
        "bytes": len(sealed[0]),
    }


if __name__ == "__main__":
    django.setup()
    sys.stdout.write(json.dumps(measure(int(sys.argv[1]))))
