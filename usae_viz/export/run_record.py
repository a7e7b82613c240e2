"""run.json: what the last command drew into a run's folder, and what those before it did."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from usae_train.files.json_files import read_object
from usae_train.runtime.errors import UsageError
from usae_viz.export.concept_folder import write_json

COMMAND = ("objectives", "runs", "variants", "recipe", "usae_sha256")  # what makes two records one command's


def read_record(out: Path) -> dict[str, Any]:
    """A folder's run.json; empty where there is none that can be read."""
    try:
        return read_object(out / "run.json")
    except UsageError:
        return {}


def keep_record(out: Path, record: Mapping[str, Any]) -> None:
    """Write run.json, unless it says the same already.

    Records of other commands whose pictures are still in the folder stay, the latest first, under `earlier`.

    Args:
        out: the run's folder.
        record: of the command at hand; `pictures` are those that it draws, see `pictures_by_folder`.
    """
    before = read_record(out)
    now = json.loads(json.dumps(record))
    now["earlier"] = _still_there(out, now, _records(before))
    if before != now:
        write_json(out / "run.json", now)


def pictures_by_folder(drawn: Iterable[tuple[str, Iterable[str]]]) -> list[dict[str, list[str]]]:
    """What a record says of its pictures: folders with the names in them, those of equal names together.

    Args:
        drawn: folders of the run, and pictures in them; a folder can come several times.
    """
    names: dict[str, list[str]] = {}
    for folder, own in drawn:
        names.setdefault(folder, []).extend(own)
    alike: dict[tuple[str, ...], list[str]] = {}
    for folder, own in names.items():
        alike.setdefault(tuple(own), []).append(folder)
    return [{"folders": folders, "names": list(own)} for own, folders in alike.items()]


def _records(before: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The records in a run.json, the latest first, each without those before it."""
    earlier = before.get("earlier", [])
    every = [before, *(earlier if isinstance(earlier, list) else [])]
    ours = [
        each
        for each in every
        if isinstance(each, dict) and each.get("schema") == 1 and isinstance(each.get("objectives", []), list)
    ]
    return [{key: value for key, value in each.items() if key != "earlier"} for each in ours]


def _still_there(out: Path, now: Mapping[str, Any], records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of some records that are of other commands, and of which a picture is left that none after it drew."""
    kept, drawn, objectives = list[dict[str, Any]](), _pictures(now), set(now["objectives"])
    for record in records:
        same = any(all(record.get(key) == other.get(key) for key in COMMAND) for other in (now, *kept))
        own, said = _pictures(record), set(map(str, record.get("objectives", ())))
        # one of an earlier version does not say which pictures it is of
        left = any(os.path.isfile(out / f"{name}.png") for name in own - drawn) if own else not said <= objectives
        if not same and left:
            kept.append(record)
        drawn |= own
        objectives |= said
    return kept


def _pictures(record: Mapping[str, Any]) -> set[str]:
    """The pictures that a record is of, below the run's folder, without `.png`."""
    try:
        return {
            f"{folder}/{name}"
            for alike in record.get("pictures", ())
            for folder in alike["folders"]
            for name in alike["names"]
        }
    except (TypeError, KeyError, AttributeError):
        return set()
