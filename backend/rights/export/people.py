"""What others are called in a copy of somebody's own data: by what they are, never by who. Pure."""

from collections import Counter
from collections.abc import Mapping

YOU = "you"
UNKNOWN = "somebody else"


class People:
    """The names of one copy: `therapist 1`. The number is of this copy alone, in the order they turn up."""

    def __init__(self, *, own: int | None, roles: Mapping[int, str], members: Mapping[int, int]) -> None:
        """`own` is the person's own user, `roles` what each user of their clinic is, `members` whose a
        membership is."""
        self._own, self._roles, self._members = own, roles, members
        self._named: dict[int, str] = {}
        self._so_many: Counter[str] = Counter()

    def user(self, number: int | None) -> str | None:
        """What the user of that number is called; None for nobody."""
        if number is None:
            return None
        if number == self._own:
            return YOU
        if number not in self._named:
            role = self._roles.get(number, UNKNOWN)
            self._so_many[role] += 1
            self._named[number] = f"{role} {self._so_many[role]}"
        return self._named[number]

    def member(self, number: int | None) -> str | None:
        """What the member of staff under that membership's number is called; None for nobody."""
        # A membership that is not of the clinic is nobody's we could name: each is somebody of its own.
        return None if number is None else self.user(self._members.get(number, -number))
