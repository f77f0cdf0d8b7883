"""Texts that break programs which expect ASCII, trimmed text or one code point a glyph."""

import random

ODD_TEXTS = (
    "",
    " ",
    "trailing spaces   ",
    "\ttabs\t",
    "👩🏽\u200d⚕️👨\u200d👩\u200d👧\u200d👦🇩🇪",
    "שלום עולם",
    "مرحبا \u202eabc\u202c",
    "e\u0301 is not \u00e9",
    "\u0915\u094d\u0937\u093f",
    "Z\u0351\u0350\u034aa\u0346l\u0300g\u0301o",
    "\x01\x02\x07\x08\x1b[31mred\x1b[0m\x7f",
    "carriage\rreturn",
    "ends with carriage return\r",
    "\u2028line\u2029separators\u0085",
    "\x0b\x0c vertical tab, form feed",
    "\ufeffa byte order mark",
    "\U0010ffff\ue000 the last code point, a private one",
    "𝕬𝖘𝖙𝖗𝖆𝖑",
    '{"id": "not json", "text": null}',
    "\\n \\u0000 %s %d {0}",
    "-1",
    "--count",
    "'; DROP TABLE messages; --",
    "漢字かな交じり文",
    "ﷺ﷽",
)


def unicode_texts(count: int) -> list[str]:
    """Return as many texts without newline and NUL; the same ones every time."""
    source = random.Random(20)
    alphabets = ("abc ", "äöüß", "אבגד", "дежз", "😀🤖🏳\u200d🌈", "a\u0300\u0301", "\t\x1f\x80")
    texts = list(ODD_TEXTS)
    while len(texts) < count:
        alphabet = source.choice(alphabets) + source.choice(alphabets)
        texts.append("".join(source.choices(alphabet, k=source.randint(1, 300))))
    return texts[:count]


BIG_TEXT = "é漢😀x " * (50_000 // 11)
