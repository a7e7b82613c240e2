"""What a type checker says of settings: `.ci/run` has mypy read this file, where every ignored error must be there."""

import usae_train as ut
import usae_viz as uv

usae = ut.load("demo")
uv.maximize(usae, uv.Concept(3), steps=2, views=1, parameterization="maco", augmentation="none", verdict="rank=1")
uv.maximize(usae, uv.Concept(3), step=2)  # type: ignore[call-arg]
uv.maximize(usae, uv.Concept(3), steps="many")  # type: ignore[arg-type]
uv.maximize(usae, uv.Concept(3), mode="both")  # type: ignore[arg-type]
uv.accentuate(usae, uv.Concept(3), "photo.png", seed=1)
uv.invert(usae, "photo.png", view=1)  # type: ignore[call-arg]
ut.fit("photos", n_concepts=256, k=8)
ut.fit("photos", concepts=256)  # type: ignore[call-arg]
ut.fit("photos", k="8")  # type: ignore[arg-type]
