"""Independent sparse autoencoders, one per backbone: what universality is compared with.

They are USAEs of a single backbone, in a folder of USAE folders named after the backbones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from usae_train.backbones.spec import PRETRAINED, RANDOM, BackboneSpec
from usae_train.evaluation.metrics import SAME_ATOM, matched_cosines, random_like
from usae_train.evaluation.places import check_saes_place
from usae_train.evaluation.report_form import Consistency, MatchedAtoms
from usae_train.files.provenance import file_hash
from usae_train.model.checkpoint import load
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError

# The paper's: how many of the most co-firing concepts count, and the co-fires from which one is frequent.
MAX_COFIRING = 1000


def load_independent(folder: str | Path, usae: USAE) -> dict[str, USAE]:
    """The independent SAEs of a USAE's backbones, on its device.

    Raises:
        ValueError: for a backbone that is missing, or has another width, grid or spec.
    """
    folder = Path(folder)
    check_saes_place(folder, usae.names)
    saes = {}
    for name in usae.names:
        sae = load(folder / name)
        if sae.names != [name] or sae.widths[name] != usae.widths[name] or sae.grid != usae.grid:
            raise UsageError(
                f"{folder / name} is over {sae.widths} on the grid {sae.grid}; expected "
                f"{ {name: usae.widths[name]} } on {usae.grid}: fit it on the same pictures and backbones"
            )
        if differences := _differences(usae.specs.get(name), sae.specs.get(name)):
            raise UsageError(
                f"{folder / name} sees another backbone than the {name} of {usae.source}: it differs in {differences}; "
                "fit it with the same specs"
            )
        saes[name] = sae.to(usae.device)
    return saes


def _differences(spec: BackboneSpec | None, other: BackboneSpec | None) -> str:
    """In what two specs differ; nothing where one is missing (bare activations)."""
    if spec is None or other is None:
        return ""
    a, b = (
        {
            **spec.model_dump(exclude={"classes", "sha256", "tensors"}),
            "model": _model_identity(spec),
            "weights": _identity(spec.weights),
        }
        for spec in (spec, other)
    )
    return ", ".join(key for key in a if a[key] != b[key])


def _model_identity(spec: BackboneSpec) -> str:
    """A local folder's model, identified by its content."""
    folder = spec.local_folder
    if folder is None or not folder.is_dir():
        return spec.model
    return " ".join(file_hash(file) for file in sorted(folder.iterdir()) if file.is_file())


def _identity(weights: str) -> str:
    """A weight file, identified by its content."""
    file = Path(weights)
    return weights if weights in (PRETRAINED, RANDOM) or not file.is_file() else file_hash(file)


def consistency(usae: USAE, independent: Mapping[str, USAE], co_fires: Tensor, seed: int = 0) -> dict[str, Consistency]:
    """Does independent training find the same atoms? {backbone: figures}.

    Atoms are matched one to one by cosine. The baseline matches random atoms that have the mean and variance of each
    dictionary.

    Args:
        usae: the joint space.
        independent: {backbone: its own SAE}.
        co_fires: (concepts,) of the joint space.
        seed: of the random atoms.
    """
    figures: dict[str, Consistency] = {}
    for row, (name, sae) in enumerate(independent.items()):
        has = ~usae.private.is_foreign(name)
        most = co_fires[has].argsort(descending=True, stable=True)[:MAX_COFIRING]
        atoms, others = usae.dictionary(name).cpu()[has], sae.dictionary(name).cpu()
        generator = torch.Generator().manual_seed(seed * len(independent) + row)
        chance = matched_cosines([random_like(atoms, generator)], [random_like(others, generator)])
        cosines = matched_cosines([atoms], [others])
        figures[name] = {
            **_matched(cosines),
            "mean_of_most_co_firing": cosines[most].nanmean().item(),
            "most": len(most),
            "baseline": _matched(chance),
        }
    return figures


def _matched(cosines: Tensor) -> MatchedAtoms:
    share_alike = (cosines > SAME_ATOM).float().mean().item()
    return {"share_alike": share_alike, "mean": cosines.nanmean().item(), "cosines": cosines.tolist()}
