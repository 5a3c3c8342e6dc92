"""Reading declared data with a complaint for every slip: file, key and reason.

Pure: text goes in, values come out.
"""

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any


class MalformedInstrument(Exception):
    """A file that does not say what an instrument file must say; names the file, the key and the reason."""

    def __init__(self, file: str, key: str, reason: str) -> None:
        super().__init__(f"{file}: {key}: {reason}")
        self.file = file
        self.key = key
        self.reason = reason


class Table:
    """One table of a file. Each value is taken once, by its type; `done()` refuses what nobody took."""

    def __init__(self, values: Mapping[str, Any], file: str, path: str = "") -> None:
        self._values = dict(values)
        self._file = file
        self._path = path

    @classmethod
    def of_text(cls, text: str, file: str) -> "Table":
        """The top table of a TOML text; a text that is not TOML (a key given twice too) is refused."""
        try:
            return cls(tomllib.loads(text), file)
        except tomllib.TOMLDecodeError as error:
            raise MalformedInstrument(file, "(file)", f"not readable as TOML: {error}") from None

    def fault(self, key: str, reason: str) -> MalformedInstrument:
        """The complaint about one key of this table, to be raised."""
        return MalformedInstrument(self._file, f"{self._path}.{key}".strip("."), reason)

    def has(self, key: str) -> bool:
        return key in self._values

    def names(self) -> list[str]:
        """The keys not yet taken, in the order of the file."""
        return list(self._values)

    def done(self) -> None:
        """Nothing when every key was taken; otherwise the first left over is refused as unknown."""
        for key in self._values:
            raise self.fault(key, "unknown key")

    def value(self, key: str) -> Any:
        if key not in self._values:
            raise self.fault(key, "missing")
        return self._values.pop(key)

    def text(self, key: str) -> str:
        """A text that says something."""
        value = self.value(key)
        if not isinstance(value, str):
            raise self.fault(key, "must be a text")
        if not value.strip():
            raise self.fault(key, "must not be empty")
        return value

    def optional_text(self, key: str) -> str | None:
        return self.text(key) if self.has(key) else None

    def one_of(self, key: str, words: tuple[str, ...]) -> str:
        word = self.text(key)
        if word not in words:
            raise self.fault(key, f"unknown {key} {word!r}; known: {', '.join(words)}")
        return word

    def number(self, key: str) -> float:
        """A whole or decimal number, kept as it was written; a boolean is none."""
        value = self.value(key)
        if not is_number(value):
            raise self.fault(key, "must be a number")
        return value  # type: ignore[no-any-return]

    def optional_number(self, key: str) -> float | None:
        return self.number(key) if self.has(key) else None

    def whole(self, key: str, least: int) -> int:
        value = self.value(key)
        if type(value) is not int or value < least:
            raise self.fault(key, f"must be a whole number of at least {least}")
        return value

    def optional_whole(self, key: str, least: int) -> int | None:
        return self.whole(key, least) if self.has(key) else None

    def flag(self, key: str) -> bool:
        value = self.value(key)
        if not isinstance(value, bool):
            raise self.fault(key, "must be true or false")
        return value

    def optional_flag(self, key: str, otherwise: bool) -> bool:
        return self.flag(key) if self.has(key) else otherwise

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, not empty."""
        value = self.value(key)
        if not isinstance(value, list) or not value or not all(isinstance(x, str) and x for x in value):
            raise self.fault(key, "must be a list of texts, not empty")
        return tuple(value)

    def optional_texts(self, key: str) -> tuple[str, ...]:
        return self.texts(key) if self.has(key) else ()

    def pair(self, key: str) -> tuple[float, float]:
        """Two numbers, the first below the second."""
        value = self.value(key)
        if not isinstance(value, list) or len(value) != 2 or not all(map(is_number, value)):
            raise self.fault(key, "must be two numbers, low and high")
        low, high = value
        if low >= high:
            raise self.fault(key, f"empty: {low} is not below {high}")
        return low, high

    def table(self, key: str) -> "Table":
        value = self.value(key)
        if not isinstance(value, dict):
            raise self.fault(key, "must be a table")
        return Table(value, self._file, f"{self._path}.{key}".strip("."))

    def optional_table(self, key: str) -> "Table":
        """The table, or an empty one."""
        return self.table(key) if self.has(key) else Table({}, self._file, key)

    def text_or_table(self, key: str) -> "Table":
        """The table; a bare text stands for a table holding only `text`."""
        if isinstance(self._values.get(key), str):
            self._values[key] = {"text": self._values[key]}
        return self.table(key)

    def tables(self, key: str) -> Iterator["Table"]:
        """Each table of a list of tables."""
        value = self.value(key)
        if not isinstance(value, list) or not value or not all(isinstance(row, dict) for row in value):
            raise self.fault(key, "must be a list of tables, not empty")
        for position, row in enumerate(value):
            yield Table(row, self._file, f"{self._path}.{key}[{position}]".strip("."))


def is_number(value: object) -> bool:
    """True for a finite int or float; a boolean is not a number."""
    return type(value) in (int, float) and value == value and value not in (float("inf"), float("-inf"))
