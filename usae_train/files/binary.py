"""What a file is that holds no text, where text was expected, by the bytes that it begins with."""

from __future__ import annotations

PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")  # how their files begin


def is_picture_content(content: bytes) -> bool:
    """Whether a file begins as a picture's does."""
    return content.startswith(PICTURES) or content[8:12] == b"WEBP"


def binary_kind(content: bytes) -> str | None:
    """What a file is in words; None for text.

    Args:
        content: the file, or how it begins: its last character may be cut off.

    Example:
        >>> binary_kind(b"GIF89a" + bytes(8)), binary_kind("BMW: größer".encode())
        ('a picture', None)
    """
    fault = None
    try:
        content.decode()
    except UnicodeDecodeError as error:
        fault = None if error.reason == "unexpected end of data" else error
    if fault is None and b"\0" not in content:
        return None
    if is_picture_content(content):
        return "a picture"
    return None if fault is None else f"not text: it is not UTF-8 at byte {fault.start}"
