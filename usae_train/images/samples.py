"""Which member of a WebDataset's sample is its picture; which pictures are annotations of others, by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from usae_train.runtime.errors import UsageError

_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
# Fields that name pictures, and those that name what is drawn over or measured of one.
_PICTURES = {"image", "img", "picture", "photo", "photograph", "rgb"}
_ANNOTATIONS = {
    "mask",
    "masks",
    "seg",
    "segm",
    "segmentation",
    "semantic",
    "instance",
    "instances",
    "panoptic",
    "label",
    "labels",
    "annotation",
    "annotations",
    "depth",
    "disparity",
    "normal",
    "normals",
    "flow",
    "edge",
    "edges",
    "alpha",
    "matte",
    "saliency",
    "heatmap",
    "thumb",
    "thumbnail",
}
# What photographs are kept in; a mask, which must not lose a bit, is beside them in another kind.
_OF_PHOTOGRAPHS = {"jpg", "jpeg", "jpe", "jfif", "webp", "avif", "jp2"}
_ANNOTATION = re.compile(r"(.*[^/_. -])([_. -]+([A-Za-z]+))", re.DOTALL)
_NAMED, _PLAIN, _OTHER, _NEVER = range(4)


class MemberName(NamedTuple):
    """A member's name, taken apart."""

    sample: str  # what all members of a sample have in common
    field: str  # what it is of the sample, such as `jpg` or `mask.png`; empty without a dot


def split_member_name(name: str) -> MemberName:
    """A member's name as sample and field.

    WebDataset divides at the first dot. But what is not a word is not a field: `holiday v2.5.jpg` is the `jpg` of
    `holiday v2.5`, as `0.left.jpg` is the `left.jpg` of `0`.
    """
    folder, _, file = name.rpartition("/")
    parts = file.split(".")
    first = max(1, len(parts) - 1)  # of the field's parts
    while first > 1 and _WORD.fullmatch(parts[first - 1]):
        first -= 1
    return MemberName(f"{folder}/{'.'.join(parts[:first])}", ".".join(parts[first:]).lower())


def split_annotation(stem: str) -> tuple[str, str] | None:
    """What a name without its ending is an annotation of, and the rest of it; None for one that says no such thing.

    Example:
        >>> split_annotation("scans/5_mask"), split_annotation("mask"), split_annotation("5_left")
        (('scans/5', '_mask'), None, None)
    """
    parts = _ANNOTATION.fullmatch(stem)
    return None if parts is None or parts[3].lower() not in _ANNOTATIONS else (parts[1], parts[2])


def picture_of(sample: str, fields: Iterable[str], asked_field: str | None = None) -> str | None:
    """The field that is a sample's picture; None when none is.

    With `asked_field` (`left.jpg`, or several as in `jpg;png`) the first of these that is there. Else one that is
    called a picture (`image.png`), before one without a name (`jpg`), before one of another name; never one that is
    called something drawn over or measured of a picture (`mask.png`). Of several the one that is kept as photographs
    are.

    Args:
        sample: its name.
        fields: of its members that end as pictures do.
        asked_field: which to take.

    Raises:
        ValueError: when several are left; names them.
    """
    names = list(fields)
    if asked_field is not None:
        return next((each for each in asked_field.lower().split(";") if each in names), None)
    best_rank = min(map(_field_rank, names), default=_NEVER)
    if best_rank == _NEVER:
        return None
    best = [each for each in names if _field_rank(each) == best_rank]
    photographs = [each for each in best if each.rpartition(".")[2] in _OF_PHOTOGRAPHS]
    if len(best) > 1 and photographs:
        best = photographs
    if len(best) > 1:
        raise UsageError(
            f"sample {sample.lstrip('/')} has {len(best)} pictures, {' and '.join(best)}; say after a colon which is "
            f"meant, as in shard.tar:{best[0]}"
        )
    return best[0]


def _field_rank(field: str) -> int:
    name = field.rpartition(".")[0]
    words = set(re.split(r"[\W\d_]+", name))
    if words & _ANNOTATIONS:
        return _NEVER
    return _NAMED if words & _PICTURES else _OTHER if name else _PLAIN
