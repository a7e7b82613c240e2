"""What our PNGs say of themselves, and how to draw them again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_viz.concepts.labels import labels_of
from usae_viz.custom_code.importing import hash_before_import, names_custom_code
from usae_viz.export.provenance import given_hashes
from usae_viz.objectives import Objective, parse_objective
from usae_viz.objectives.binding import bound_in
from usae_viz.objectives.custom_objective import import_objective
from usae_viz.optimization.given_pictures import IN_NO_FILE
from usae_viz.parameterizations.spectra import packaged_with, spectrum_hash
from usae_viz.runs.metadata import ImageMetadata
from usae_viz.runs.plan import RenderPlan, plan_objectives
from usae_viz.settings import MaximizeSettings

SETTINGS_CHANGED_IN = (0, 3)  # the version in which settings changed their meaning
TEMPERATURE_SINCE = (0, 9)  # the version since which the log-probability within `Class` has a temperature


def command_again(file: Path, metadata: ImageMetadata) -> str | None:
    """The command line that draws a picture again; None where there is none, see `why_not_again`.

    Where it would run code (`code_of`) the command asks for permission, which a picture cannot give.
    """
    if why_not_again(metadata) is not None:
        return None
    words = ["usae-viz", "render", str(file), "--out", "again"]
    threads = metadata.drawn_on.get("threads")
    if metadata.drawn_on.get("device") == "cpu" and isinstance(threads, int) and threads > 1:
        words += ["--threads", str(threads)]
    return shlex.join(words)


def why_not_again(metadata: ImageMetadata) -> str | None:
    """What of a picture was not in a file, so that no command draws it again; None where all of it was."""
    for name, does in (("start", "starts from"), ("reference", "is compared with")):
        if str(metadata.settings.get(name)).startswith(IN_NO_FILE):
            return f"the picture that it {does} was not in a file"
    if None in metadata.own_sha256.values():
        return "its parameterization or a transform was given in Python"
    return None if _has_objective(metadata) else "its objective was given in Python"


def _has_objective(metadata: ImageMetadata) -> bool:
    """Whether its objective can be read from its text."""
    if names_custom_code(metadata.objective):
        return metadata.code_sha256 is not None
    try:
        parse_objective(metadata.objective)
    except UsageError:
        return False
    return True


def code_of(metadata: ImageMetadata) -> dict[str, str] | None:
    """What a custom objective would run, drawn again: module, function, and the hash that its file is to have."""
    return _code(metadata.objective, metadata.code_sha256) if names_custom_code(metadata.objective) else None


def parts_of(metadata: ImageMetadata) -> list[dict[str, str]]:
    """The same for a custom parameterization and custom transforms."""
    codes = (_code(text, sha256) for text, sha256 in metadata.own_sha256.items())
    return [code for code in codes if code is not None]


def _code(text: str, sha256: str | None) -> dict[str, str] | None:
    module, _, function = text.strip().partition(":")
    return None if sha256 is None else {"module": module, "function": function, "sha256": sha256}


def plan_again(
    usae: USAE, metadata: ImageMetadata, file: Path, allow_code: bool, labels: str | None = None
) -> RenderPlan:
    """The drawing that a picture came from, by its metadata.

    `labels` name concepts for its code where it keeps no numbers for them (from before 0.7).

    Raises:
        ValueError: when weights, spectrum, code or a given picture have changed, or were not in a file; for labels that
            are not needed.
    """
    _check_same_usae(usae, metadata, file)
    settings = _settings_again(metadata, file)
    _check_same_pictures(metadata, settings, file)
    if settings.parameterization == "maco" and settings.start is None:
        settings = _with_spectrum(metadata, settings, file)
    if allow_code:
        _check_code(metadata, settings, file)
    settings = settings.imported(Path.cwd(), allow_code)
    if names_custom_code(metadata.objective):
        imported = import_objective(metadata.objective, Path.cwd(), allow_code)
        objective, code = imported.objective, imported.sha256
    else:
        objective, code = parse_objective(metadata.objective), None
    return plan_objectives(usae, [_with_numbers(usae, objective, metadata, file, labels)], [settings], code=code)


def _check_same_usae(usae: USAE, metadata: ImageMetadata, file: Path) -> None:
    """Raise a ValueError for other weights, or a part that was not in a file."""
    if metadata.usae_sha256 != usae.sha256:
        raise UsageError(
            f"{file} was drawn with the USAE of sha256 {str(metadata.usae_sha256)[:12]}, and {usae.source} now has "
            f"{str(usae.sha256)[:12]}; say where the other is with --usae"
        )
    for text, sha256 in metadata.own_sha256.items():
        if sha256 is None:
            raise UsageError(f"{file} was drawn with {text}, which was not in a file; it cannot be drawn again")


def _settings_again(metadata: ImageMetadata, file: Path) -> MaximizeSettings:
    try:
        settings = metadata.drawn_with()
    except UsageError as error:
        raise UsageError(f"{file} was drawn with settings that this version does not have: {error}") from error
    if settings.parameterization != "fourier":  # earlier versions kept these for every parameterization
        settings = settings.model_copy(update={"decay": None, "contrast": None})
    if "feature_statistics" not in metadata.settings:  # which did not exist before 0.9, not even for classes
        settings = settings.model_copy(update={"feature_statistics": 0.0})
    return settings


def _check_same_pictures(metadata: ImageMetadata, settings: MaximizeSettings, file: Path) -> None:
    """Raise a ValueError where `start` or `reference` was not in a file, or has changed since."""
    for picture in settings.given_pictures.values():
        if picture.startswith(IN_NO_FILE):
            raise UsageError(f"{file} was drawn beside a picture that was not in a file; it cannot be drawn again")
    for name, sha256 in given_hashes(settings).items():
        if metadata.given_sha256.get(name, sha256) != sha256:
            raise UsageError(f"{file} was drawn beside another picture than {getattr(settings, name)} is now")


def _with_spectrum(metadata: ImageMetadata, settings: MaximizeSettings, file: Path) -> MaximizeSettings:
    """The settings with the spectrum that it was drawn under; before 0.3 the packaged one, of the demo, had no name."""
    settings = settings.model_copy(update={"spectrum": settings.spectrum or packaged_with(metadata.spectrum_sha256)})
    if spectrum_hash(settings.spectrum) != metadata.spectrum_sha256:
        raise UsageError(
            f"{file} was drawn under another spectrum than {settings.spectrum or 'any that this version has'}"
        )
    return settings


def _with_numbers(
    usae: USAE, objective: Objective, metadata: ImageMetadata, file: Path, labels: str | None
) -> Objective:
    """The objective with the numbers that its names had then; a picture from before 0.7 does not keep them."""
    if labels is not None and (metadata.numbers or not objective.is_unbound):
        raise UsageError(f"{file} already says which concepts it is of; leave --labels out")
    if objective.is_unbound and metadata.numbers.keys() >= objective.bound(lambda name: 0).numbers.keys():
        return objective.bound(lambda name: metadata.numbers[name])
    try:
        return bound_in(usae, [objective], None if labels is None else labels_of(usae, labels))[0]
    except UsageError as error:
        advice = "; say with --labels which file of names it was drawn with" if labels is None else ""
        raise UsageError(f"{file} keeps no number for each name in {metadata.objective}: {error}{advice}") from error


def _check_code(metadata: ImageMetadata, settings: MaximizeSettings, file: Path) -> None:
    """Raise a ValueError where any code of a picture is not what it was drawn with. Nothing is run before."""
    hashes = {part.text: metadata.own_sha256.get(part.text) for part in settings.custom_parts}
    if names_custom_code(metadata.objective):
        hashes[metadata.objective] = metadata.code_sha256
    for text, sha256 in hashes.items():
        if sha256 is None or sha256 != hash_before_import(text, Path.cwd()):
            raise UsageError(f"{file} was drawn with other code than {text} is now in {Path.cwd()}; nothing was run")


def changed_since(file: Path, metadata: ImageMetadata, objective: Objective) -> str | None:
    """What to say of a picture of an earlier version that comes out otherwise: by its settings or its objective."""
    match = re.match(r"(\d+)\.(\d+)", metadata.versions.get("usae", ""))
    version = tuple(map(int, match.groups())) if match else None
    if version is not None and version >= SETTINGS_CHANGED_IN:
        if version >= TEMPERATURE_SINCE or "temperature" not in objective.constants:
            return None
        return (
            f"{file} was drawn by usae {metadata.versions['usae']}: Class takes its log-probability at a temperature "
            f"of {objective.constants['temperature']:g} since {'.'.join(map(str, TEMPERATURE_SINCE))}, so that "
            "it comes out as a different picture; before, Class was Logit + LogProbability"
        )
    whose = f"usae {metadata.versions['usae']}" if version is not None else "a usae that it does not name"
    return (
        f"{file} was drawn by {whose}: views, contrast and learning rate mean something else since "
        f"{'.'.join(map(str, SETTINGS_CHANGED_IN))}, so that it comes out as a different picture"
    )


def metadata_lines(metadata: ImageMetadata) -> list[str]:
    """Settings, scores and versions, a line each."""
    lines = [
        f"picture     {metadata.picture}" + (f" of variant {metadata.variant}" if metadata.variant else ""),
        f"objective   {metadata.objective}",
        f"USAE        {metadata.usae}, sha256 {str(metadata.usae_sha256)[:12]}",
        "settings    " + _listed({key: value for key, value in metadata.settings.items() if value not in (None, [])}),
        "drawn on    " + _listed(metadata.drawn_on),
        "versions    " + _listed(metadata.versions) + (f", commit {metadata.commit[:12]}" if metadata.commit else ""),
    ]
    if metadata.spectrum_sha256:
        lines.append(f"spectrum    sha256 {metadata.spectrum_sha256[:12]}")
    if metadata.ended:
        lines.append(f"ended       {metadata.ended}")
    if metadata.scores is not None:
        lines.append(f"verdict     {metadata.verdict}")
        for name, score in metadata.scores.backbones.items():
            verdict, reasons = score.judge(metadata.thresholds)
            figures = {key: value for key, value in asdict(score).items() if value is not None and key != "closer"}
            closer = {f"at {share} of the side": value for share, value in score.closer.items()}
            why = f" ({', '.join(reasons)})" if reasons else ""
            lines.append(f"  through {name}: {verdict}{why}; " + _listed({**figures, **closer}))
    return lines


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {f'{value:.4g}' if isinstance(value, float) else value}" for key, value in values.items())
