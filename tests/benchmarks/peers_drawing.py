"""What peers_table.py tries of drawing and of explaining: one function a cell, which runs it and says what it found.

Each imports its library itself, so that an environment needs those peers alone whose cells it tries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Check = Callable[[], str]
SIDE = 64  # px


def network() -> nn.Sequential:
    """A small classifier of pictures (n, 3, 64, 64), ten classes."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 10)
    ).eval()


def usae_draws(**settings: Any) -> Check:
    """Two steps of a drawing of a concept of the demo."""

    def check() -> str:
        import usae_train as ut
        import usae_viz as uv

        result = uv.maximize(ut.load("demo"), uv.Concept(12), steps=2, size=96, verify=0, **settings)
        return "yes" if len(result.images) in (1, 3) else "wrong"

    return check


def usae_accentuates() -> str:
    """Two steps from a photograph."""
    import usae_train as ut
    import usae_viz as uv

    uv.accentuate(ut.load("demo"), uv.Concept(12), torch.rand(3, 96, 96), steps=2, size=96, verify=0)
    return "yes"


def usae_judges() -> str:
    """A verdict under a picture."""
    import usae_train as ut
    import usae_viz as uv

    result = uv.maximize(ut.load("demo"), uv.Concept(12), steps=2, size=96)
    assert result.scores is not None
    return "yes" if str(result.scores.verdict(next(iter(result.images)))) else "wrong"


def usae_edits() -> str:
    """A concept taken away within a network."""
    import usae_train as ut

    usae = ut.load("demo")
    with ut.intervene(usae, usae.names[0], {12: 0.0}) as edited:
        edited(torch.rand(1, 3, 96, 96))
    return "yes"


def lucent_draws(objective: Any = "0:3", model: nn.Module | None = None) -> Check:
    """Two steps of a drawing."""

    def check() -> str:
        import kornia

        kornia.warp_affine = kornia.geometry.warp_affine
        kornia.get_rotation_matrix2d = kornia.geometry.get_rotation_matrix2d
        from lucent.optvis import render

        (picture,) = render.render_vis(model or network(), objective, thresholds=(2,), progress=False, show_image=False)
        return "yes" if picture.shape[-1] == 3 else "wrong"

    return check


def lucent_by_hand() -> str:
    """A concept of an autoencoder, by an objective of one's own."""
    dictionary = torch.randn(8)
    lucent_draws(lambda layer: -torch.einsum("nchw,c->nhw", layer("0"), dictionary).relu().mean())()
    return "own code"


def lucent_several() -> str:
    """One picture for two networks, which a module of one's own runs both."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = network()[:2], network()[:2]

        def forward(self, picture: Tensor) -> Tensor:
            both: Tensor = self.first(picture) + self.second(picture)
            return both

    lucent_draws(lambda layer: -layer("first")[:, 3].mean() - layer("second")[:, 3].mean(), Both())()
    return "own code"


def horama_draws(method: str, score: Callable[[Tensor], Tensor] | None = None) -> Check:
    """Two steps of a drawing."""

    def check() -> str:
        import horama

        model = network()
        settings = {"total_steps": 2, "image_size": SIDE, "model_input_size": SIDE, "device": "cpu"}
        score_functions = [score or (lambda views: model(views)[:, 3].mean())]
        if method == "accentuation":
            score_functions.append(torch.rand(3, SIDE, SIDE))  # type: ignore[arg-type]
        if method == "maco":
            import numpy as np

            np.save("spectrum_decorrelated.npy", np.random.rand(3, SIDE, SIDE // 2 + 1).astype("float32"))
        getattr(horama, method)(*score_functions, **settings)
        return "yes"

    return check


def horama_by_hand() -> str:
    """A direction of activations, through two networks at once, by an objective of one's own."""
    first, second = network()[:2], network()[:2]
    horama_draws("fourier", lambda views: first(views)[:, 3].mean() + second(views)[:, 3].mean())()
    return "own code"


def captum_attributes() -> str:
    """Integrated gradients."""
    from captum import attr

    attribution = attr.IntegratedGradients(network()).attribute(torch.rand(1, 3, SIDE, SIDE), target=3)
    assert attribution.shape == (1, 3, SIDE, SIDE)
    return "yes"


def captum_concepts() -> str:
    """TCAV: how a concept, given by pictures, bears on a class."""
    from captum.concept import TCAV, Concept

    pictures = {name: torch.rand(8, 3, SIDE, SIDE) + shift for name, shift in (("lit", 1.0), ("dark", 0.0))}
    concepts = [Concept(number, name, list(batch.split(4))) for number, (name, batch) in enumerate(pictures.items())]
    TCAV(network(), ["0"]).interpret(torch.rand(2, 3, SIDE, SIDE), [concepts], target=3)
    return "estimated"


def captum_metrics() -> str:
    """Infidelity of an attribution."""
    from captum.attr import Saliency
    from captum.metrics import infidelity

    model, picture = network(), torch.rand(1, 3, SIDE, SIDE)
    attribution = Saliency(model).attribute(picture, target=3)
    infidelity(model, lambda inputs: (torch.zeros_like(inputs), inputs), picture, attribution, target=3)
    return "yes"


def captum_language() -> str:
    """Attribution of language models is there."""
    from captum.attr import LLMAttribution

    assert LLMAttribution
    return "yes"


def xplique_network() -> Any:
    """A small Keras classifier."""
    import tensorflow as tf

    return tf.keras.Sequential(
        [
            tf.keras.layers.Input((SIDE, SIDE, 3)),
            tf.keras.layers.Conv2D(8, 5, strides=4, activation="relu"),
            tf.keras.layers.GlobalAveragePooling2D(),
            tf.keras.layers.Dense(10),
        ]
    )


def xplique_draws(method: str) -> Check:
    """Two steps of a drawing of a Keras network."""

    def check() -> str:
        from xplique import features_visualizations as drawing

        objective = drawing.Objective.neuron(xplique_network(), -1, 3)
        settings: dict[str, Any] = {"nb_steps": 2, "custom_shape": (SIDE, SIDE)}
        if method == "maco":
            settings["nb_crops"] = 2
        getattr(drawing, method)(objective, **settings)
        return "Keras"

    return check


def xplique_by_hand() -> str:
    """A direction of activations, of a Keras network."""
    import numpy as np
    from xplique import features_visualizations as drawing

    objective = drawing.Objective.direction(xplique_network(), 0, np.random.rand(15, 15, 8).astype("float32"))
    drawing.optimize(objective, nb_steps=2, custom_shape=(SIDE, SIDE))
    return "own code"


def xplique_several() -> str:
    """One picture for two Keras networks, which a model of one's own runs both."""
    import tensorflow as tf
    from xplique import features_visualizations as drawing

    inputs = tf.keras.layers.Input((SIDE, SIDE, 3))
    both = tf.keras.Model(inputs, xplique_network()(inputs) + xplique_network()(inputs))
    drawing.optimize(drawing.Objective.neuron(both, -1, 3), nb_steps=2, custom_shape=(SIDE, SIDE))
    return "own code"


def xplique_attributes() -> str:
    """Saliency of a network of PyTorch's."""
    import numpy as np
    from xplique import attributions
    from xplique.wrappers import TorchWrapper

    wrapped = TorchWrapper(network(), "cpu")
    pictures = np.random.rand(1, SIDE, SIDE, 3).astype("float32")
    attributions.Saliency(wrapped)(pictures, np.eye(10, dtype="float32")[[3]])
    return "yes"


def xplique_concepts() -> str:
    """CRAFT of a PyTorch network: concepts, and what they do to the answer."""
    from xplique.concepts import CraftTorch

    model = network()
    craft = CraftTorch(model[:2], model[2:], number_of_concepts=3, batch_size=8, patch_size=32, device="cpu")
    craft.fit(torch.rand(8, 3, SIDE, SIDE), class_id=3)
    craft.estimate_importance(nb_design=4)
    return "estimated"


def xplique_metrics() -> str:
    """Deletion is there."""
    from xplique.metrics import Deletion, Insertion, MuFidelity

    return "yes" if all((Deletion, Insertion, MuFidelity)) else "no"
