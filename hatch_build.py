"""The packages' long description: the README, as it can be read where nothing lies beside it.

Its relative pictures and links lead to the address `Source` of `project.urls`, laid out as GitHub does it. Without that
address, as today, a picture gives way to its words, and a link to its text: none leads nowhere, and none is invented.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

AWAY = r"(?!https?://|#|mailto:)"  # what follows is an address of its own
PICTURE = re.compile(rf"!\[(?P<words>[^\]]*)\]\({AWAY}(?P<place>[^)]+)\)")
TAG = re.compile(rf'<img src="{AWAY}(?P<place>[^"]+)" alt="(?P<words>[^"]*)"(?P<rest>[^>]*)>')
LINK = re.compile(rf"(?<!!)\[(?P<words>[^\]]+)\]\({AWAY}(?P<place>[^)]+)\)")


class LongDescription(MetadataHookInterface):
    """Gives the project its readme."""

    def update(self, metadata: dict[str, Any]) -> None:
        """As hatchling asks."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        source = metadata.get("urls", {}).get("Source")
        metadata["readme"] = {"content-type": "text/markdown", "text": standing_alone(text, source)}


def standing_alone(text: str, source: str | None) -> str:
    """Markdown without relative addresses.

    Args:
        text: with such, relative to the project's folder.
        source: where that is to be seen; None where it is nowhere.
    """
    if source is None:
        text = PICTURE.sub(r"*(Picture: \g<words>)*", text)
        text = TAG.sub(r"*(Picture: \g<words>)*", text)
        return LINK.sub(r"\g<words>", text)
    raw, page = f"{source.rstrip('/')}/raw/HEAD", f"{source.rstrip('/')}/blob/HEAD"
    text = PICTURE.sub(rf"![\g<words>]({raw}/\g<place>)", text)
    text = TAG.sub(rf'<img src="{raw}/\g<place>" alt="\g<words>"\g<rest>>', text)
    return LINK.sub(rf"[\g<words>]({page}/\g<place>)", text)
