"""QR codes of short texts: as an SVG image, and as lines for a terminal."""

import io
from typing import Final

import segno

from client_sdk.wire.errors import MisuseError

ERROR_CORRECTION: Final = "m"
"""Level M: a code is still read with 15 % of it hidden, and stays small."""

SHORT_TEXT_BYTES: Final = 500
"""Longer texts are drawn at level L, 7 %: at level M their modules would be too fine to scan."""

MAX_TEXT_BYTES: Final = 2953
"""What the largest code holds at level L; ISO/IEC 18004, table 7."""

QUIET_MODULES: Final = 4
"""The light border around a code; ISO/IEC 18004 asks for 4 modules."""

SVG_SCALE: Final = 6
"""Pixels a module where the viewer does not scale."""

_HALVES: Final = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
"""Two modules, one above the other, as one character; light ones are the drawn ones."""


class TextTooLongError(MisuseError):
    """A text that no QR code holds."""

    code = "text_too_long"


def svg(text: str) -> str:
    """Return a whole SVG document with the QR code of ``text``.

    Raises:
        TextTooLongError: It has over ``MAX_TEXT_BYTES``; pass it on as text.
    """
    buffer = io.BytesIO()
    _code(text).save(
        buffer, kind="svg", scale=SVG_SCALE, border=QUIET_MODULES, xmldecl=False, light="#fff"
    )
    return buffer.getvalue().decode()


def lines(text: str) -> str:
    """Return the QR code of ``text`` in half blocks, for a light font on a dark terminal.

    Where the terminal is light the code shows inverted, which scanners read as well.
    """
    rows = [[bool(one) for one in row] for row in _code(text).matrix_iter(border=QUIET_MODULES)]
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return "\n".join(
        "".join(_HALVES[one, below] for one, below in zip(upper, lower, strict=True))
        for upper, lower in pairs
    )


def _code(text: str) -> segno.QRCode:
    length = len(text.encode())
    if length > MAX_TEXT_BYTES:
        raise TextTooLongError(
            f"{length} bytes do not fit into a QR code, which holds {MAX_TEXT_BYTES}; nothing was"
            " written: pass the text on as it is"
        )
    return segno.make_qr(text, error=ERROR_CORRECTION if length <= SHORT_TEXT_BYTES else "l")
