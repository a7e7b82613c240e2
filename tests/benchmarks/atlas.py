"""How well a plane keeps who is near whom, and in how long: the atlas's layout against PCA and scikit-learn's t-SNE.

    python tests/benchmarks/atlas.py                    # the demo, photos, and 6144 made-up concepts

Prints, for each: processor seconds, and the share of the 10 nearest in the full space that are among the 10 nearest in
the plane, mean over the concepts. scikit-learn is measured where it is installed.

Last, on one core (atlas, PCA, scikit-learn):
demo 0.314, 0.106, 0.316 in 0.4, 0.0, 1.7 s; photos 0.257, 0.045, 0.263 in 0.5, 0.0, 1.4 s;
made up 0.811, 0.033, 0.838 in 6.2, 0.1, 31.3 s.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn.functional import normalize

import usae_train as ut
from usae_viz.explorer.atlas import atom_similarity
from usae_viz.explorer.tsne import PERPLEXITY, nearest_points, principal_axes, tsne

NEAREST = 10
FAMILIES = (40, 600)  # of the made-up concepts: families of families


def made_up(n_concepts: int = 6144, width: int = 1920) -> Tensor:
    """Rows in families of families, as wide as the paper's three dictionaries together."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(FAMILIES[0], width, generator=generator)
    for size, noise in ((FAMILIES[1], 1.2), (n_concepts, 1.5)):
        of = torch.randint(len(drawn), (size,), generator=generator)
        drawn = drawn[of] + noise * torch.randn(size, width, generator=generator)
    return normalize(drawn, dim=1)


def kept(points: Tensor, plane: Tensor) -> float:
    """Share of the nearest in the full space that are among the nearest in the plane."""
    full, flat = nearest_points(points, NEAREST)[0], nearest_points(plane, NEAREST)[0]
    return float((full[:, :, None] == flat[:, None]).any(-1).float().mean())


def by_scikit_learn(points: Tensor) -> Tensor:
    """Its t-SNE, Barnes-Hut, from PCA."""
    from sklearn.manifold import TSNE

    return torch.from_numpy(TSNE(perplexity=PERPLEXITY, random_state=0, n_jobs=1).fit_transform(points.numpy()))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concepts", type=int, default=6144, help="how many are made up (default: 6144)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    ways: dict[str, Callable[[Tensor], Tensor]] = {"atlas": tsne, "PCA": lambda points: principal_axes(points, 0)}
    if find_spec("sklearn"):
        ways["scikit-learn"] = by_scikit_learn
    with torch.no_grad():
        spaces = {name: atom_similarity(ut.load(name)) for name in ("demo", "photos")} | {
            "made up": made_up(args.concepts)
        }
    for name, points in spaces.items():
        for way, lay in ways.items():
            began = time.process_time()
            plane = lay(points)
            seconds = time.process_time() - began
            print(f"{name:8} {len(points):5} {way:12} {seconds:6.1f} s   {kept(points, plane):.3f} kept", flush=True)


if __name__ == "__main__":
    main()
