"""Recording what a terminal shows, as asciicast v2 (docs.asciinema.org/manual/asciicast/v2).

A file of lines: a header, then events `[seconds, "o", text]`. Each is written as it happens, so a
recording that is cut short can be played up to there.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from io import TextIOBase
from pathlib import Path
from typing import Self, TextIO, cast

from labctl.errors import UsageError


class Recording(TextIOBase):
    """A stream that passes on what is written to it, and records it. As a context manager it
    stands in for sys.stdout.

    Raises UsageError when the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        stream: TextIO,
        title: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._begun = clock()
        size = shutil.get_terminal_size()
        header = {
            "version": 2,
            "width": size.columns,
            "height": size.lines,
            "timestamp": int(time.time()),
            "title": title,
            "env": {"TERM": os.environ.get("TERM", "")},
        }
        try:
            self._file = path.open("w", encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}", "Name another file with --record."
            ) from error
        self._line(header)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's."""
        return self._stream.encoding

    def isatty(self) -> bool:
        """Say whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the stream's descriptor."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, text: str) -> int:
        """Pass a text on, and record it as the terminal shows it: each line feed begins a line."""
        written = self._stream.write(text)
        if text:
            shown = text.replace("\r\n", "\n").replace("\n", "\r\n")
            self._line([round(self._clock() - self._begun, 6), "o", shown])
        return written

    def flush(self) -> None:
        """Pass it on."""
        self._stream.flush()

    def _line(self, value: object) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False) + "\n")
        self._file.flush()

    def __enter__(self) -> Self:
        self._before = sys.stdout
        sys.stdout = cast("TextIO", self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout = self._before
        self._file.close()
