"""What can this project, and what can its peers? Every cell of the README's table, tried.

A cell that says yes has run: two steps of a drawing, a training on a few random tokens, an attribution of a small
network. A cell that says no has searched the installed package: none of the words that name the ability stands in its
Python files. `own code`: the ability is not offered, and a function or module of one's own gave it here. Networks that
are downloaded (saev, overcomplete) and SAELens' language models are there, and were not run.
A peer that is not installed is left out. They cannot all live in one environment; what each found is added to one file:

    pip install captum==0.9.0 sae-lens==6.54.12 horama==0.3.0 overcomplete==0.3.0 matplotlib==3.8.4
    pip install --no-deps saev==0.1.0 torch-lucent==0.1.8 && pip install beartype jaxtyping wandb decorator future
    python tests/benchmarks/peers_table.py --found found.json
    pip install xplique==2.0.2                                  # in an environment of its own: it brings TensorFlow
    python tests/benchmarks/peers_table.py --found found.json   # a table of both; about a minute each

saev 0.1.0 wants a cluster, torch-lucent kornia 0.4.1, overcomplete a matplotlib before 3.9: without their dependencies
the first two run here, lucent with the two names that it takes from kornia put back.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import peers_drawing as drawing
import peers_training as training
from peers_drawing import Check

PACKAGES = {  # the column, the distribution, the module
    "usae": ("usae", "usae_viz"),
    "lucent": ("torch-lucent", "lucent"),
    "Horama": ("horama", "horama"),
    "captum": ("captum", "captum"),
    "Xplique": ("xplique", "xplique"),
    "SAELens": ("sae-lens", "sae_lens"),
    "saev": ("saev", "saev"),
    "overcomplete": ("overcomplete", "overcomplete"),
}


def lacks(peer: str, *words: str) -> Check:
    """A check that none of the words stands in a Python file of a peer."""

    def check() -> str:
        spec = find_spec(PACKAGES[peer][1])
        assert spec is not None
        assert spec.submodule_search_locations is not None
        for file in Path(spec.submodule_search_locations[0]).rglob("*.py"):
            text = file.read_text(errors="replace").lower()
            for word in words:
                if word in text:
                    return f"look again: {word} in {file.name}"
        return "no"

    return check


def no(*words: str) -> Callable[[str], Check]:
    """A cell that is no, by the words that would name the ability."""
    return lambda peer: lacks(peer, *words)


DRAWN_BY_NAME = no("feature visualization", "feature_visualization", "activation maximization", "render_vis")
TRAINS = no("sparse autoencoder", "sparse_autoencoder", "sparseautoencoder", "topksae", "top_k_sae")
ATTRIBUTES = no(
    "integrated gradients", "integratedgradients", "integrated_gradients", "occlusion", "grad-cam", "gradcam"
)
LANGUAGE = no("tokenizer", "language model", "llmattribution")

ROWS: Mapping[str, tuple[Mapping[str, Check], Callable[[str], Check] | None]] = {
    "draws what a network looks for": (
        {
            "usae": drawing.usae_draws(),
            "lucent": drawing.lucent_draws(),
            "Horama": drawing.horama_draws("fourier"),
            "Xplique": drawing.xplique_draws("optimize"),
        },
        DRAWN_BY_NAME,
    ),
    "MACO": (
        {
            "usae": drawing.usae_draws(parameterization="maco"),
            "Horama": drawing.horama_draws("maco"),
            "Xplique": drawing.xplique_draws("maco"),
        },
        no("maco_", "magnitude constrained", "maco("),
    ),
    "accentuates a photograph": (
        {"usae": drawing.usae_accentuates, "Horama": drawing.horama_draws("accentuation")},
        no("accentuat"),
    ),
    "draws a concept of an autoencoder": (
        {
            "usae": drawing.usae_draws(),
            "lucent": drawing.lucent_by_hand,
            "Horama": drawing.horama_by_hand,
            "Xplique": drawing.xplique_by_hand,
        },
        DRAWN_BY_NAME,
    ),
    "one picture for several networks": (
        {
            "usae": drawing.usae_draws(mode="shared"),
            "Horama": drawing.horama_by_hand,
            "lucent": drawing.lucent_several,
            "Xplique": drawing.xplique_several,
        },
        no("backbones", "per_model", "models: list", "models: sequence"),
    ),
    "says whether to believe a picture": ({"usae": drawing.usae_judges}, no("verdict", "believe", "noise_floor")),
    "trains sparse autoencoders": (
        {
            "usae": training.usae_trains,
            "SAELens": training.saelens_trains,
            "saev": training.saev_trains,
            "overcomplete": training.overcomplete_trains,
        },
        TRAINS,
    ),
    "kinds of them": (
        {
            "usae": training.usae_kinds,
            "SAELens": training.saelens_kinds,
            "saev": lambda: "1",
            "overcomplete": training.overcomplete_kinds,
        },
        TRAINS,
    ),
    "one concept space of several networks": (
        {"usae": training.usae_trains},
        no("universal sparse", "crosscoder", "cross_coder"),
    ),
    "other dictionaries (NMF, k-means)": (
        {
            "overcomplete": training.overcomplete_factors,
            "Xplique": lambda: "yes" if drawing.xplique_concepts() else "wrong",
            "lucent": training.lucent_factors,
        },
        no("nmf", "kmeans", "k-means"),
    ),
    "takes tokens from pictures itself": (
        {"usae": training.usae_tokens, "saev": training.saev_tokens, "overcomplete": training.overcomplete_tokens},
        no("extract_features", "get_patches", "imagefolder"),
    ),
    "reads others' autoencoders": (
        {"usae": training.usae_formats, "SAELens": training.saelens_formats},
        no("sparsify", "dictionary_learning"),
    ),
    "autoencoders to download": (
        {"usae": lambda: "2 within", "SAELens": training.saelens_hub},
        no("pretrained_saes", "from_pretrained(cls"),
    ),
    "language models": (
        {"captum": drawing.captum_language, "SAELens": lambda: "yes" if training.saelens_edits() else ""},
        LANGUAGE,
    ),
    "attribution to pixels": ({"captum": drawing.captum_attributes, "Xplique": drawing.xplique_attributes}, ATTRIBUTES),
    "metrics of attributions": (
        {"captum": drawing.captum_metrics, "Xplique": drawing.xplique_metrics},
        no("infidelity", "mufidelity"),
    ),
    "what a concept does to the answer": (
        {
            "usae": drawing.usae_edits,
            "captum": drawing.captum_concepts,
            "Xplique": drawing.xplique_concepts,
            "SAELens": training.saelens_edits,
        },
        no("tcav", "intervene", "run_with_saes"),
    ),
    "trains over many machines": (
        {"usae": training.usae_spreads},
        no("torch.distributed", "init_process_group"),
    ),
}


def told(check: Check) -> str:
    """What a check says, or why it could not be made."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as room, redirect_stdout(sys.stderr):
        os.chdir(room)
        try:
            return check()
        except Exception as error:  # whatever a peer raises is the cell's finding
            traceback.print_exc()
            return f"failed: {type(error).__name__}"
        finally:
            os.chdir(before)


def installed(peer: str) -> str | None:
    """The version of a peer, or None."""
    try:
        return version(PACKAGES[peer][0])
    except PackageNotFoundError:
        return None


def column(peer: str) -> dict[str, str]:
    """{row: what was found} of a peer."""
    cells = {}
    for row, (checks, otherwise) in ROWS.items():
        check = checks.get(peer) or (otherwise(peer) if otherwise else None)
        cells[row] = told(check) if check else "?"
    return cells


def main() -> None:
    """Try the peers that are installed, add what was found to a file, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--found", type=Path, help="a JSON file of columns that were found before, which is added to")
    parser.add_argument("--peers", default=",".join(PACKAGES))
    chosen = parser.parse_args()
    found: dict[str, dict[str, str]] = {}
    if chosen.found and chosen.found.exists():
        found = json.loads(chosen.found.read_text())
    for peer in chosen.peers.split(","):
        version = installed(peer)
        if version is not None:
            found[peer] = {"version": version, **column(peer)}
    if chosen.found:
        chosen.found.write_text(json.dumps(found, indent=1))
    peers = [peer for peer in PACKAGES if peer in found]
    print("| | " + " | ".join(f"{peer} {found[peer]['version']}" for peer in peers) + " |")
    print("| --- " * (len(peers) + 1) + "|")
    for row in ROWS:
        print(f"| {row} | " + " | ".join(found[peer][row] for peer in peers) + " |")


if __name__ == "__main__":
    main()
