"""Standard output and error that take every character, whatever their encoding. Knows nothing.

A character that the encoding lacks, as a terminal in Latin-1 lacks α and █, is written as a
readable stand-in in ASCII: what is shown is never worth a traceback, and never a run that has
trained to its end."""

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
    "─": "-",
    "│": "|",
    "ß": "ss",
}


def accept_all_text() -> None:
    """Let stdout and stderr write every character, and open what was closed before we were
    started."""
    codecs.register_error(HANDLER, _stand_in)
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def write_utf8_to_files() -> None:
    """Let stdout write UTF-8 where it leads into a file or a pipe, unless PYTHONIOENCODING says
    otherwise."""
    stream = sys.stdout
    if (
        isinstance(stream, io.TextIOWrapper)
        and not stream.isatty()
        and not os.environ.get("PYTHONIOENCODING")
    ):
        stream.reconfigure(encoding="utf-8", errors="replace")


def legible(text: str) -> str:
    """Return the text as stdout will show it, so that columns can be laid out by its width."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    codecs.register_error(HANDLER, _stand_in)
    return text.encode(encoding, HANDLER).decode(encoding)


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_ascii, error.object[error.start : error.end])), error.end


def _ascii(letter: str) -> str:
    """A letter without its accents, or what stands for it; '?' for what nothing does, as for a part
    of a character."""
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return STAND_INS.get(letter) or plain or "?"


def _open_closed_streams() -> None:
    """Open /dev/null where stdin, stdout or stderr is closed, else a run's file would get its
    number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
