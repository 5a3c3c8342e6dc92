"""Bodies nobody should send, each with the answer it gets, and odd ones that are right.

`WHERE` stands at the place of a JSON value in an otherwise sound administration; a case without it is
the entire body. The canary is in as many as can hold it: no answer and no log may repeat it.
"""

from dataclasses import dataclass, field

CANARY = "canary-7f3a9c21d8e4"
JSON = "application/json"


@dataclass(frozen=True)
class Case:
    name: str
    body: bytes
    status: int
    code: str
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


def _nested(levels: int, opening: bytes = b"[", closing: bytes = b"]", core: bytes = b"") -> bytes:
    return opening * levels + core + closing * levels


_SOUND = b'{"note": "' + CANARY.encode() + b'", "value": 1}'


def _with(value: bytes) -> bytes:
    """A sound object with these bytes where a value stands."""
    return b'{"note": "' + CANARY.encode() + b'", "value": ' + value + b"}"


def _encoded(name: str) -> Case:
    return Case(
        f"content encoding {name}", _SOUND, 415, "unsupported_encoding", headers={"Content-Encoding": name}
    )


def _typed(name: str, content_type: str) -> Case:
    return Case(name, _SOUND, 415, "unsupported_media_type", content_type)


REFUSED = [
    # Too much
    Case("257 KB of text", b'"' + b"a" * 262_143 + b'"', 413, "body_too_large"),
    Case("a million numbers", b"[" + b"1," * 999_999 + b"1]", 413, "body_too_large"),
    Case("8 MB of spaces", b" " * 8_000_000, 413, "body_too_large"),
    Case("2,001 elements", b"[" + b"1," * 2_000 + b"1]", 413, "too_many_items"),
    Case("2,001 empty texts", b"[" + b'"",' * 2_000 + b'""]', 413, "too_many_items"),
    Case("2,001 empty lists", b"[" + b"[]," * 2_000 + b"[]]", 413, "too_many_items"),
    Case("1,001 lists of one", b"[" + b'["a"],' * 1_000 + b'["a"]]', 413, "too_many_items"),
    Case(
        "2,001 members", b"{" + b",".join(b'"k%d":1' % i for i in range(2_001)) + b"}", 413, "too_many_items"
    ),
    Case("130,000 empty lists", b"[" + b"[]," * 80_000 + b"[]]", 413, "too_many_items"),
    # Too deep
    Case("33 lists", _nested(33), 400, "too_deep"),
    Case("33 objects", _nested(33, b'{"a":', b"}", b"1"), 400, "too_deep"),
    Case("33 levels, mixed", _nested(16, b'[{"a":', b"}]", b"[]"), 400, "too_deep"),
    Case("20,000 lists", _nested(20_000), 400, "too_deep"),
    Case("130,000 lists left open", b"[" * 130_000, 400, "too_deep"),
    Case("100,000 objects left open", b'{"":' * 65_000, 400, "too_deep"),
    Case("33 levels behind a text of brackets", b'["]]]]]]\\"]]",' + _nested(32) + b"]", 400, "too_deep"),
    # Encodings and types
    _encoded("gzip"),
    _encoded("zstd"),
    _encoded("br"),
    _encoded("deflate"),
    _encoded("x-gzip"),
    _encoded("gzip, identity"),
    _encoded("IDENTITY, gzip"),
    _typed("no content type", ""),
    _typed("plain text", "text/plain"),
    _typed("a form", "application/x-www-form-urlencoded"),
    _typed("a form of parts", "multipart/form-data; boundary=x"),
    _typed("a problem", "application/problem+json"),
    _typed("a longer name", "application/jsonp"),
    _typed("two types", "application/json, text/plain"),
    _typed("latin-1", "application/json; charset=iso-8859-1"),
    _typed("utf-16 by name", "application/json; charset=utf-16"),
    _typed("utf-7", 'application/json; charset="utf-7"'),
    _typed("no such charset", "application/json; charset=x-none"),
    _typed("two charsets", "application/json; charset=utf-8; charset=utf-16"),
    # Not UTF-8
    Case("byte order mark", b"\xef\xbb\xbf" + _SOUND, 400, "invalid_utf8"),
    Case("latin-1 text", _with(b'"Gr\xfc\xdfe"'), 400, "invalid_utf8"),
    Case("overlong slash", _with(b'"\xc0\xaf"'), 400, "invalid_utf8"),
    Case("overlong NUL", _with(b'"\xc0\x80"'), 400, "invalid_utf8"),
    Case("surrogate in UTF-8", _with(b'"\xed\xa0\x80"'), 400, "invalid_utf8"),
    Case("above U+10FFFF", _with(b'"\xf4\x90\x80\x80"'), 400, "invalid_utf8"),
    Case("cut character", _with(b'"\xe2\x82"'), 400, "invalid_utf8"),
    Case("utf-16 with its mark", _SOUND.decode().encode("utf-16"), 400, "invalid_utf8"),
    Case("utf-16 without", _SOUND.decode().encode("utf-16-le"), 400, "malformed_json"),
    Case("utf-32", _SOUND.decode().encode("utf-32-be"), 400, "malformed_json"),
    # Characters
    Case("NUL in a value", _with(b'"\\u0000"'), 400, "nul_character"),
    Case("NUL within a text", _with(b'"abc\\u0000def"'), 400, "nul_character"),
    Case("NUL in a key", b'{"a\\u0000": 1}', 400, "nul_character"),
    Case("NUL behind a backslash", _with(b'"\\\\\\u0000"'), 400, "nul_character"),
    Case("NUL deep inside", _with(b'[[{"a": ["\\u0000"]}]]'), 400, "nul_character"),
    Case("raw NUL in a text", _with(b'"a\x00b"'), 400, "malformed_json"),
    Case("high surrogate alone", _with(b'"\\ud83d"'), 400, "lone_surrogate"),
    Case("low surrogate alone", _with(b'"\\uDE00"'), 400, "lone_surrogate"),
    Case("surrogates in the wrong order", _with(b'"\\ude00\\ud83d"'), 400, "lone_surrogate"),
    Case("surrogate in a key", b'{"\\ud800": 1}', 400, "lone_surrogate"),
    Case("surrogate before a real pair", _with(b'"\\ud83d\\ud83d\\ude00"'), 400, "lone_surrogate"),
    # Numbers
    Case("NaN", _with(b"NaN"), 400, "not_finite"),
    Case("Infinity", _with(b"Infinity"), 400, "not_finite"),
    Case("minus Infinity", _with(b"[[-Infinity]]"), 400, "not_finite"),
    Case("1e999", _with(b"1e999"), 400, "number_out_of_range"),
    Case("-1e999", _with(b"-1e999"), 400, "number_out_of_range"),
    Case("a long road to infinity", _with(b"9" * 400 + b".0"), 400, "number_out_of_range"),
    Case("2^53", _with(b"9007199254740992"), 400, "number_out_of_range"),
    Case("-2^53", _with(b"-9007199254740992"), 400, "number_out_of_range"),
    Case("2^63", _with(b"9223372036854775808"), 400, "number_out_of_range"),
    Case("2^64", _with(b"18446744073709551616"), 400, "number_out_of_range"),
    Case("5,000 digits", _with(b"7" * 5_000), 400, "number_out_of_range"),
    Case("200,000 digits", _with(b"7" * 200_000), 400, "number_out_of_range"),
    Case("minus 5,000 digits", _with(b"-" + b"7" * 5_000), 400, "number_out_of_range"),
    Case("Arabic digit", _with("٣".encode()), 400, "malformed_json"),
    Case("full-width digit", _with("３".encode()), 400, "malformed_json"),
    Case("leading zero", _with(b"01"), 400, "malformed_json"),
    Case("plus sign", _with(b"+1"), 400, "malformed_json"),
    Case("no digit before the point", _with(b".5"), 400, "malformed_json"),
    Case("no digit after the point", _with(b"1."), 400, "malformed_json"),
    Case("hexadecimal", _with(b"0x10"), 400, "malformed_json"),
    Case("underscore", _with(b"1_000"), 400, "malformed_json"),
    # Keys
    Case("duplicate key", b'{"a": 1, "a": 2}', 400, "duplicate_key"),
    Case("duplicate key, same value", b'{"a": 1, "a": 1}', 400, "duplicate_key"),
    Case("duplicate key, written otherwise", b'{"a": 1, "\\u0061": 2}', 400, "duplicate_key"),
    Case("duplicate key, deep", _with(b'[{"b": {"a": 1, "a": 2}}]'), 400, "duplicate_key"),
    Case("duplicate empty key", b'{"": 1, "": 2}', 400, "duplicate_key"),
    Case("key without quotes", b"{a: 1}", 400, "malformed_json"),
    Case("number as key", b"{1: 1}", 400, "malformed_json"),
    # Not JSON
    Case("nothing", b"", 400, "malformed_json"),
    Case("only spaces", b" \n\t ", 400, "malformed_json"),
    Case("left open", b'{"note": "' + CANARY.encode(), 400, "malformed_json"),
    Case("two values", _SOUND + _SOUND, 400, "malformed_json"),
    Case("comma at the end", b"[1, 2,]", 400, "malformed_json"),
    Case("comma at the end of an object", b'{"a": 1,}', 400, "malformed_json"),
    Case("only commas", b"[" + b"," * 3_000 + b"]", 413, "too_many_items"),
    Case("closed too often", b"[]" + b"]" * 300 + b"[" * 300, 400, "malformed_json"),
    Case("closed crosswise", b'{"a": [1}]', 400, "malformed_json"),
    Case("comment", b'{"a": 1 /* ' + CANARY.encode() + b" */}", 400, "malformed_json"),
    Case("single quotes", b"{'a': 1}", 400, "malformed_json"),
    Case("Python's True", _with(b"True"), 400, "malformed_json"),
    Case("undefined", _with(b"undefined"), 400, "malformed_json"),
    Case("raw line break in a text", _with(b'"a\nb"'), 400, "malformed_json"),
    Case("raw tab in a text", _with(b'"a\tb"'), 400, "malformed_json"),
    Case("no-break space between", b'{"a":\xc2\xa01}', 400, "malformed_json"),
    Case("form feed between", b'{"a":\x0c1}', 400, "malformed_json"),
    Case("unknown escape", _with(b'"\\x41"'), 400, "malformed_json"),
    Case("short escape", _with(b'"\\u12"'), 400, "malformed_json"),
    Case("escape at the end", b'"\\', 400, "malformed_json"),
    Case("130,000 escaped quotes, never closed", b'"' + b'\\"' * 130_000, 400, "malformed_json"),
    Case("130,000 quotes", b'"' * 130_000, 400, "malformed_json"),
    Case("XML", b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', 400, "malformed_json"),
    Case("a pickle", b"\x80\x04\x95\x0c\x00", 400, "invalid_utf8"),
]

# Odd, and right: what is read.
ACCEPTED: list[tuple[str, bytes, object]] = [
    ("32 levels", _nested(32), eval("[" * 32 + "]" * 32)),  # noqa: S307 - brackets only
    ("2,000 elements", b"[" + b"1," * 1_999 + b"1]", [1] * 2_000),
    ("2,000 empty texts", b"[" + b'"",' * 1_999 + b'""]', [""] * 2_000),
    ("256 KB", b'"' + b"a" * 262_142 + b'"', "a" * 262_142),
    ("brackets in a text", b'"' + b"[" * 3_000 + b'"', "[" * 3_000),
    ("commas in a text", b'"' + b"," * 3_000 + b'"', "," * 3_000),
    ("brackets behind escaped quotes", b'["\\"[[", "\\\\"]' + b" " * 40, ['"[[', "\\"]),
    ("minus zero", b"[-0.0, -0, 0.0, -0e9]", [0, 0, 0, 0]),
    ("2^31", b"2147483648", 2147483648),
    ("2^53 - 1", b"[9007199254740991, -9007199254740991]", [2**53 - 1, 1 - 2**53]),
    ("largest double", b"1.7976931348623157e308", 1.7976931348623157e308),
    ("too small to tell from zero", b"1e-999", 0),
    ("one half with 100,000 noughts", b"0.5" + b"0" * 100_000, 0.5),
    ("a pair of surrogates", b'"\\ud83d\\ude00"', "\U0001f600"),
    ("the same as bytes", '"\U0001f600"'.encode(), "\U0001f600"),
    ("backslash and u0000", b'"\\\\u0000"', "\\u0000"),
    ("backslash and ud800", b'"\\\\ud800"', "\\ud800"),
    ("controls by escape", b'"\\u0001\\u001f\\u007f"', "\x01\x1f\x7f"),
    ("not a character", b'"\\uffff"', "\uffff"),
    ("right-to-left mark", '"\u202e"'.encode(), "\u202e"),
    ("keys of the object's own", b'{"__proto__": 1, "__class__": 2}', {"__proto__": 1, "__class__": 2}),
    ("keys that only look the same", '{"é": 1, "e\u0301": 2}'.encode(), {"é": 1, "e\u0301": 2}),
    ("true, false, null", b"[true, false, null]", [True, False, None]),
    ("a lone value", b" 3 ", 3),
    ("all the white space there is", b"\r\n\t [ \r\n\t] \n", []),
]
