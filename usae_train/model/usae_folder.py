"""A USAE folder: config.json, model.safetensors, statistics.safetensors, README.md. Nothing in it can run code."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from usae_train.backbones.bundled_weights import copy_all_weights
from usae_train.files.atomic import atomic_path, check_free, leftovers_of, remove_leftovers
from usae_train.files.json_files import parse_json, read_named_object, read_object, validate
from usae_train.files.place_names import name_as_utf8
from usae_train.files.provenance import commit, file_hash, versions
from usae_train.files.tensor_files import load_file
from usae_train.model.agreement import read_agreement, save_agreement
from usae_train.model.config import CONFIG_SCHEMA, Origin, UsaeConfig
from usae_train.model.file_checks import check_finite, check_statistics_form, check_weights_form
from usae_train.model.places import LABELS, config_file, folder_of
from usae_train.model.private import PrivateConcepts, check_closed
from usae_train.model.statistics import Statistics, read_origin
from usae_train.model.top_maps import MAPS
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import one_line, plural
from usae_train.runtime.torch_defaults import with_torch_defaults

if TYPE_CHECKING:
    from usae_train.backbones.backbone import Backbone
    from usae_train.backbones.spec import BackboneSpec
    from usae_train.model.usae import USAE

WEIGHTS, STATISTICS = "model.safetensors", "statistics.safetensors"


@with_torch_defaults
def write_folder(
    usae: USAE, folder: str | Path, half: bool = False, beside: Sequence[Path] = (), card: str | None = None
) -> Path:
    """See `checkpoint.save`."""
    folder = Path(folder)
    check_free(folder)
    remove_leftovers(leftovers_of(folder))
    with atomic_path(folder) as fresh:
        fresh.mkdir()
        config = _config_of(usae, copy_all_weights(usae.specs, fresh))
        (fresh / "config.json").write_text(config.as_json())
        # in float16 a matrix and its inverse would no longer cancel, and a threshold would change
        exact = ("scales.", "thresholds.")
        tensors = {n: _as_saved(t, half and not n.startswith(exact)) for n, t in usae.state_dict().items()}
        save_file(tensors, fresh / WEIGHTS)
        if usae.statistics is not None:
            origin = origin_of(usae, file_hash(fresh / WEIGHTS))
            usae.statistics.save(fresh / STATISTICS, origin)
            if (maps := usae.maps) is not None:
                maps.save(fresh / MAPS, origin["usae_sha256"], usae.measured_on.fingerprint or "")
        if usae.agreement is not None:
            save_agreement(usae.agreement, fresh, file_hash(fresh / WEIGHTS))
        (fresh / "README.md").write_text(card or _model_card(config))
        for file in beside:
            shutil.copyfile(file, fresh / file.name)
        if usae.labels_file is not None:
            _copy_labels(usae.labels_file, fresh)
    return folder


def _config_of(usae: USAE, specs: Mapping[str, BackboneSpec]) -> UsaeConfig:
    """A USAE's config.json, with its backbones' specs as they are in the folder."""
    return UsaeConfig(
        widths=usae.widths,
        n_concepts=usae.n_concepts,
        k=usae.k,
        batch_norm=usae.batch_norm,
        recipe=usae.recipe,
        grid=usae.grid,
        backbones=dict(specs),
        images=usae.measured_on.name,
        n_images=usae.measured_on.count,
        fingerprint=usae.measured_on.fingerprint,
        factors=usae.factors,
        outliers=usae.outliers,
        weights=usae.weights,
        versions=versions(),
        commit=commit(),
        sparsity=usae.sparsity,
        unit_norm=usae.unit_norm,
        private={name: (concepts.start, concepts.stop) for name, concepts in usae.private.ranges.items()},
    )


@with_torch_defaults
def read_folder(
    kind: type[USAE],
    usae: str | Path,
    device: torch.device | str = "cpu",
    modules: Mapping[str, Backbone] | None = None,
) -> USAE:
    """A USAE of a class; see `checkpoint.load`."""
    folder = folder_of(str(usae))
    config = _read_config(folder)
    weights = folder / WEIGHTS
    check_weights_form(weights, config)  # before memory is taken for it
    specs = {name: spec.relative_to(folder) for name, spec in config.backbones.items()}
    model = kind(
        config.widths,
        config.n_concepts,
        config.k,
        batch_norm=config.batch_norm,
        specs=specs,
        grid=config.grid,
        recipe=config.recipe,
        sparsity=config.sparsity,
        unit_norm=config.unit_norm,
        private=config.private_ranges,
    )
    model.measured_on = config.measured_on
    model.factors, model.outliers, model.weights = config.factors, config.outliers, config.weights
    try:
        tensors = {
            name: tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in load_file(weights).items()
        }
        model.load_state_dict(tensors)
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = one_line(error)[:200]
        raise UsageError(f"{weights} is broken or incomplete ({reason}); save or copy the USAE again") from error
    check_finite(weights, tensors)
    check_closed(model, weights)
    model.source, model.sha256 = name_as_utf8(str(usae)), file_hash(weights)
    model.labels_file = folder / LABELS if (folder / LABELS).is_file() else None
    if (folder / STATISTICS).is_file():
        _take_statistics(model, folder / STATISTICS)
        model.maps_file = folder / MAPS if (folder / MAPS).is_file() else None
    model.modules_given = _fitting(modules or {}, model)
    model.agreement = read_agreement(folder, model.n_concepts, model.sha256)
    return model.eval().requires_grad_(False).to(device)


def _fitting(modules: Mapping[str, Backbone], model: USAE) -> dict[str, Backbone]:
    for name, module in modules.items():
        if module.width != model.widths[model.check_backbone(name)]:
            raise UsageError(
                f"{name}: the module's layer has width {module.width}, and the USAE's {model.widths[name]}"
            )
    return dict(modules)


def upload_folder(usae: USAE, repository: str, *, private: bool = False, token: str | None = None) -> str:
    """Upload a USAE folder to the Hugging Face hub.

    Args:
        usae: what to upload.
        repository: `user/name`; made when it does not exist.
        private: make it private.
        token: of the hub; the one that `hf auth login` keeps by default.

    Returns:
        The address of the commit.

    Raises:
        ValueError: when the hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        api = HfApi(token=token)
        api.create_repo(repository, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as temporary:
            folder = write_folder(usae, Path(temporary) / "usae")
            return str(api.upload_folder(repo_id=repository, folder_path=folder, commit_message="A USAE"))
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, OSError) as error:
        reason = one_line(error)[:200]
        raise UsageError(
            f"{repository} could not be uploaded: {reason}; check the id, the token, the network"
        ) from error


def _read_config(folder: Path) -> UsaeConfig:
    file = config_file(folder)
    values = read_named_object(file)
    schema = values.get("schema")
    if schema != CONFIG_SCHEMA:
        raise UsageError(
            f"{file} has schema {schema!r}; this version reads {CONFIG_SCHEMA}: install a matching usae version"
        )
    try:
        return validate(UsaeConfig.model_validate, values)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error


def origin_of(usae: USAE, sha256: str) -> dict[str, str]:
    """The metadata of statistics.safetensors: in one file with the figures, so that they cannot disagree."""
    images = usae.measured_on
    source = {
        "images": images.name,
        "n_images": images.count,
        "fingerprint": images.fingerprint,
        "factors": usae.factors,
    }
    return {"usae_sha256": sha256, "source": json.dumps(source)}


def _take_statistics(usae: USAE, file: Path) -> None:
    """Read statistics into a USAE, and the record of the pictures that they were measured on."""
    statistics = Statistics.load(file)
    check_statistics_form(file, statistics, usae.names, usae.n_concepts, usae.grid)
    usae.statistics = statistics
    _take_origin(usae, file)
    values = 0 if statistics.auroc is None else statistics.auroc.shape[1]
    if statistics.auroc is not None and values != len(usae.factors):
        raise UsageError(
            f"{file} has the AUROC of {values} factor values, and {len(usae.factors)} are named; remove it, and "
            "measure again with usae-train evaluate"
        )


def _take_origin(usae: USAE, file: Path) -> None:
    origin = read_origin(file)
    if not origin:
        return
    if origin.get("usae_sha256") != usae.sha256:
        raise UsageError(
            f"{file} belongs to another USAE (weights {origin.get('usae_sha256', 'unknown')[:12]}..., here "
            f"{str(usae.sha256)[:12]}...); remove it, and measure again with usae-train evaluate"
        )
    try:
        source = validate(Origin.model_validate, parse_json(origin.get("source", "")))
    except UsageError as error:
        raise UsageError(
            f"{file} does not say what it was measured on ({error}); remove it, and measure again with usae-train "
            "evaluate"
        ) from error
    usae.measured_on, usae.factors = source.measured_on, source.factors


def _as_saved(tensor: torch.Tensor, half: bool) -> torch.Tensor:
    is_weight = tensor.is_floating_point() and tensor.ndim > 0
    return (tensor.half() if half and is_weight else tensor).cpu().contiguous()


def _copy_labels(file: Path, fresh: Path) -> None:
    """Copy names of concepts, with the hash of the saved weights, perhaps in another precision."""
    try:
        labels = read_object(file)
    except UsageError as error:
        raise UsageError(f"{file}, the names of the USAE's concepts, cannot be read: {error}; remove it") from error
    labels["usae_sha256"] = file_hash(fresh / WEIGHTS)
    (fresh / LABELS).write_text(json.dumps(labels, indent=1) + "\n", encoding="utf-8")


def _shared(config: UsaeConfig) -> str:
    private = PrivateConcepts(list(config.widths), config.n_concepts, config.private_ranges)
    if private:
        return f"over {plural(len(config.widths), 'backbone')} ({private.in_words()})"
    return f"shared by {len(config.widths)} backbones" if len(config.widths) > 1 else "of one backbone"


def _model_card(config: UsaeConfig) -> str:
    rows = "\n".join(
        f"| {name} | `{spec.model}` | {config.widths[name]} |" for name, spec in config.backbones.items()
    ) or "\n".join(f"| {name} | (bare activations) | {width} |" for name, width in config.widths.items())
    return f"""---
library_name: usae
tags: [universal-sparse-autoencoder, interpretability]
---
# A universal sparse autoencoder

{plural(config.n_concepts, "concept")} {_shared(config)}, {config.sparsity.in_words(config.k)}.
Recipe `{config.recipe}`.

| backbone | model | width |
| --- | --- | --- |
{rows}

```python
import usae_train as ut
usae = ut.load("this folder")
```

The method: Thasarathan et al., Universal Sparse Autoencoders, ICML 2025, arXiv 2502.03714.
"""
