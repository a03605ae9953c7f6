"""Reading zstd without trusting its end.

zstandard's own stream reader ends a file that is cut short quietly, and so does every library that reads through it
(fsspec, and with it `datasets`): a broken download would become a smaller corpus.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from myopia.common.errors import MyopiaError

_CHUNK = 1 << 20


def zstd_blocks(handle: Any, name: str) -> Iterator[bytes]:
    """Decompressed pieces of the zstd frames in a binary file; `name` stands in the error.

    Raises MyopiaError for data that is cut short or damaged.
    """
    import zstandard

    frame = None
    while chunk := handle.read(_CHUNK):
        while chunk:
            if frame is None or frame.eof:
                frame = zstandard.ZstdDecompressor().decompressobj()
            try:
                block = frame.decompress(chunk)
            except zstandard.ZstdError as error:
                raise MyopiaError(f"{name}: damaged zstd data ({error}); fetch the file again.") from None
            chunk = frame.unused_data if frame.eof else b""
            if block:
                yield block
    if frame is None or not frame.eof:
        raise MyopiaError(f"{name}: the zstd file is cut short; fetch the file again.")


class ZstdFile(io.RawIOBase):
    """`zstd_blocks` as a binary file for reading; of the shape that fsspec asks of a compression."""

    def __init__(self, handle: Any, mode: str = "rb") -> None:
        if mode not in ("r", "rb"):
            raise ValueError(f"mode {mode!r}: zstd files are only read here")
        self._handle = handle
        self._blocks = zstd_blocks(handle, str(getattr(handle, "path", getattr(handle, "name", "zstd data"))))
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`; 0 at the end of the last frame, and only there."""
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size

    def close(self) -> None:
        """Close the compressed file, too."""
        if not self.closed:
            self._handle.close()
        super().close()
