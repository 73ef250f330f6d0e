"""Standard output and error that accept every character in any encoding.

A character that the encoding lacks, such as α and █ on a terminal in Latin-1, is written as a
readable replacement in ASCII. Otherwise printing could end a run that has trained to its end.
"""

import codecs
import io
import os
import sys
import unicodedata

HANDLER = "dstrun.stand_in"
STAND_INS = dict(zip("▁▂▃▄▅▆▇█", ".:-=+*%#", strict=True)) | {
    "α": "a",
    "β": "b",
    "ε": "e",
    "μ": "u",
    "σ": "s",
    "Δ": "D",
    "Σ": "S",
    "×": "x",
    "±": "+-",
    "·": "*",
    "−": "-",
    "–": "-",
    "→": "->",
    "←": "<-",
    "≥": ">=",
    "≤": "<=",
    "≈": "~",
    "─": "-",
    "│": "|",
    "ß": "ss",
}


def accept_all_text() -> None:
    """Let stdout and stderr write every character, and open standard streams that are closed."""
    codecs.register_error(HANDLER, _stand_in)
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def write_utf8_to_files() -> None:
    """Let stdout write UTF-8 to a file or a pipe, unless PYTHONIOENCODING is set."""
    stream = sys.stdout
    if os.environ.get("PYTHONIOENCODING") or not isinstance(stream, io.TextIOWrapper):
        return
    if not stream.isatty():
        stream.reconfigure(encoding="utf-8", errors="replace")


def legible(text: str) -> str:
    """Return text as stdout will show it, to lay out columns by its width."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    codecs.register_error(HANDLER, _stand_in)
    return text.encode(encoding, HANDLER).decode(encoding)


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    """Return the replacement of characters that cannot be encoded, and the position after them."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_ascii, error.object[error.start : error.end])), error.end


def _ascii(letter: str) -> str:
    """Return a letter without accents or its replacement; '?' if it has none."""
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return STAND_INS.get(letter) or plain or "?"


def _open_closed_streams() -> None:
    """Open /dev/null for a closed stdin, stdout or stderr, so that no file gets its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
