"""Which images something was made of or measured on: enough to open them again, and to see that they are the same."""

from __future__ import annotations

from dataclasses import dataclass

from usae_train.images.fingerprints import same_pictures
from usae_train.images.sources import ImageSource, open_images


@dataclass(frozen=True)
class SourceRecord:
    """A source as it was then.

    Attributes:
        name: what `open_images` takes; None for images that are not named, such as a path of another machine.
        count: how many there were.
        fingerprint: of all of them.
    """

    name: str | None = None
    count: int | None = None
    fingerprint: str | None = None

    @classmethod
    def of(cls, source: ImageSource) -> SourceRecord:
        """A source as it is now; its images are looked at for their fingerprint."""
        return cls(source.name, len(source), source.fingerprint())

    @property
    def state_fields(self) -> dict[str, str | None]:
        """What a training state says of the images that it is trained on."""
        return {"pictures": self.name, "fingerprint": self.fingerprint}

    def matches(self, source: ImageSource) -> bool:
        """Whether a source has the same images, wherever they lie."""
        return same_pictures(source.fingerprint(), self.fingerprint)

    def reopened(self) -> ImageSource | None:
        """The images, opened again; None where there are different ones now, or there is no name.

        Versions before 0.4 took the first `count` ones of a source, and still find those.

        Raises:
            UsageError: for a source that cannot be opened.
        """
        if self.name is None:
            return None
        source = open_images(self.name, self.count)
        if self.matches(source):
            return source
        if getattr(source, "drawn_from", None) is None:
            return None
        all_images = open_images(self.name)
        first = all_images.chosen(range(len(source)))  # type: ignore[attr-defined]  # what was drawn from can be chosen from
        return first if self.matches(first) else None
