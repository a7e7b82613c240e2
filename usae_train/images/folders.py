"""Picture files below a folder: links to folders are followed, each real folder is gone through once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from usae_train.images.kinds import begins_as_a_picture, ending_of, is_hidden, is_picture_name
from usae_train.images.samples import split_annotation


def pictures_below(folder: Path) -> tuple[list[Path], Counter[str]]:
    """The picture files below a folder, in the order of their paths, and how many of what were left out.

    Hidden files and folders, and those that other programs put beside pictures, are left out, and so are masks, depths
    and the like of a picture in the same folder, which have its name with such a word after it; files without an ending
    are taken when they begin as pictures do. A folder that is there and linked to as well is taken where it is; a link
    to a folder that it lies in itself is left out.
    """
    tree = _Tree(folder.resolve())
    tree.add_folder(folder)
    while tree.links:
        link = min(tree.links)
        tree.links.remove(link)
        tree.follow(link)
    return sorted(_without_annotations(tree.files, tree.left_out)), tree.left_out


def _without_annotations(files: list[Path], left_out: Counter[str]) -> Iterator[Path]:
    """The files but for those that are a mask or the like of another in their folder: `5_mask.png` beside `5.jpg`."""
    stems = {(file.parent, file.stem) for file in files}
    for file in files:
        annotation = split_annotation(file.stem)
        if annotation is not None and (file.parent, annotation[0]) in stems:
            left_out[f"{annotation[1]}{file.suffix.lower()} beside a picture"] += 1
        else:
            yield file


class _Tree:
    """What has been found so far; `links` to folders are still to be followed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: list[Path] = []
        self.links: set[Path] = set()
        self.left_out: Counter[str] = Counter()
        self._gone_through: set[tuple[int, int]] = set()

    def add_folder(self, folder: Path) -> None:
        """Go through a folder and those in it, but for links."""
        waiting = [folder]
        while waiting:
            place = waiting.pop()
            try:
                if not self._first_time(place):
                    self.left_out["folders that are there twice"] += 1
                    continue
                with os.scandir(place) as entries:
                    for entry in entries:
                        self._take(entry, waiting)
            except OSError:
                self.left_out["folders that cannot be opened"] += 1

    def follow(self, link: Path) -> None:
        """Go through the folder that a link leads to, if that is not done, and the link does not lie in it."""
        place = link.resolve()
        if self.root.is_relative_to(place) or link.parent.resolve().is_relative_to(place):
            self.left_out["links to a folder that they lie in"] += 1
        else:
            self.add_folder(link)

    def _take(self, entry: os.DirEntry[str], waiting: list[Path]) -> None:
        if is_hidden(entry.name):
            self.left_out["hidden"] += 1
            return
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:  # a link to itself
            is_folder = is_file = False
        place = Path(entry.path)
        if is_folder and entry.is_symlink():
            self.links.add(place)
        elif is_folder:
            waiting.append(place)
        elif not is_file:
            self.left_out["links that lead nowhere" if entry.is_symlink() else "pipes, sockets or devices"] += 1
        elif is_picture_name(entry.name) or (not place.suffix and begins_as_a_picture(place)):
            self.files.append(place)
        else:
            self.left_out[ending_of(entry.name)] += 1

    def _first_time(self, folder: Path) -> bool:
        status = folder.stat()
        key = status.st_dev, status.st_ino
        visited = key in self._gone_through
        self._gone_through.add(key)
        return not visited
