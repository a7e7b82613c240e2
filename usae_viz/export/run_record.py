"""run.json: what the last command drew into a run's folder, and what those before it did."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from usae_train.files.atomic import write_json
from usae_train.files.json_files import read_object_or_empty, validate
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_viz.export.provenance import provenance
from usae_viz.objectives import Objective
from usae_viz.settings import MaximizeSettings


class PicturesOfFolders(BaseModel):
    """What a record says of its pictures: folders with these names in each."""

    folders: list[str]
    names: list[str]


PICTURES = TypeAdapter(list[PicturesOfFolders])
RUN_SCHEMA = 1
# Two records that agree on these are of one command.
COMMAND_KEYS = ("objectives", "runs", "variants", "recipe", "usae_sha256")


def run_record(usae: USAE, objectives: Sequence[Objective], settings: Sequence[MaximizeSettings]) -> dict[str, Any]:
    """What run.json holds: objectives, all resolved settings, versions, hashes of weights and spectrum."""
    return {
        "schema": RUN_SCHEMA,
        "objectives": [str(objective) for objective in objectives],
        "runs": [each.model_dump(mode="json") for each in settings],
        **provenance(usae, settings),
    }


def write_run_record(out: Path, record: Mapping[str, Any]) -> None:
    """Write run.json, unless it says the same already: the record of this command, and of those before it.

    Records of other commands whose pictures (see `pictures_by_folder`) are still in the folder stay, the latest first,
    under `earlier`.
    """
    before = read_object_or_empty(out / "run.json")
    now = json.loads(json.dumps(record))
    now["earlier"] = _still_there(out, now, _records(before))
    if before != now:
        write_json(out / "run.json", now)


def pictures_by_folder(names_by_folder: Iterable[tuple[str, Iterable[str]]]) -> list[dict[str, list[str]]]:
    """What a record says of its pictures: folders with the names in them, those of equal names together.

    The names are given folder by folder; a folder may be given several times.
    """
    names: dict[str, list[str]] = {}
    for folder, pictures in names_by_folder:
        names.setdefault(folder, []).extend(pictures)
    folders_by_names: dict[tuple[str, ...], list[str]] = {}
    for folder, pictures in names.items():
        folders_by_names.setdefault(tuple(pictures), []).append(folder)
    return [{"folders": folders, "names": list(pictures)} for pictures, folders in folders_by_names.items()]


def _records(before: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The records in a run.json, the latest first, each without those before it."""
    earlier = before.get("earlier", [])
    every = [before, *(earlier if isinstance(earlier, list) else [])]
    records = [
        each
        for each in every
        if isinstance(each, dict) and each.get("schema") == RUN_SCHEMA and isinstance(each.get("objectives", []), list)
    ]
    return [{key: value for key, value in each.items() if key != "earlier"} for each in records]


def _still_there(out: Path, now: Mapping[str, Any], records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records of other commands of which at least one picture is left that no later command has drawn."""
    still_there, pictures_now, objectives = list[dict[str, Any]](), _pictures(now), set(now["objectives"])
    for record in records:
        is_same_command = any(
            all(record.get(key) == other.get(key) for key in COMMAND_KEYS) for other in (now, *still_there)
        )
        pictures, recorded = _pictures(record), set(map(str, record.get("objectives", ())))
        remains = not recorded <= objectives  # of an earlier version, which does not list its pictures
        if pictures:
            remains = any(os.path.isfile(out / f"{name}.png") for name in pictures - pictures_now)
        if not is_same_command and remains:
            still_there.append(record)
        pictures_now |= pictures
        objectives |= recorded
    return still_there


def _pictures(record: Mapping[str, Any]) -> set[str]:
    """The pictures that a record is of, below the run's folder, without `.png`."""
    try:
        pictures = validate(PICTURES.validate_python, record.get("pictures", []))
    except UsageError:  # of a file that this package did not write
        return set()
    return {f"{folder}/{name}" for alike in pictures for folder in alike.folders for name in alike.names}
