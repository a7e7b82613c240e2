"""The loss of a pass is one graph: torch.compile finds nothing to stop at, and the same comes out to the bit."""

import pytest
import torch

from usae_train.runtime.matrix_speed import multiplies_faster_in_bfloat16
from usae_train.training.loop import new_usae
from usae_train.training.settings import DEFAULT, PUBLISHED, FitSettings, TrainingRecipe
from usae_train.training.step import dense_active, pass_loss, sparse_active
from usae_train.training.step_plan import StepPlan

WIDTHS = {"a": 16, "b": 8}


@pytest.mark.parametrize(("recipe", "n_dead"), [(DEFAULT, 5), (PUBLISHED, 0)], ids=["default", "published"])
def test_the_loss_of_a_pass_is_one_graph(recipe: TrainingRecipe, n_dead: int) -> None:
    """Which token is encoded by whom is settled before it: lengths would depend on numbers."""
    settings = FitSettings(n_concepts=48, k=3, batch=32, steps=4, recipe=recipe)
    usae = new_usae(WIDTHS, settings).train()
    drawn = torch.Generator().manual_seed(0)
    tokens = {name: torch.randn(32, width, generator=drawn) for name, width in WIDTHS.items()}
    revived = torch.arange(n_dead)
    plan = StepPlan.of_all(recipe, ["a", "b"])

    def loss(batch: dict[str, torch.Tensor], dead: torch.Tensor) -> torch.Tensor:
        if recipe.batch_norm:
            active = dense_active(usae, "a", batch["a"], dead, plan)
        else:
            active = sparse_active(usae, "a", batch["a"], dead)
        return pass_loss(usae, batch, active, plan)

    multiplies_faster_in_bfloat16()  # tried by the clock, once, before anything is compiled
    torch._dynamo.reset()
    for found in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        usae.zero_grad(set_to_none=True)
        value = found(tokens, revived)
        value.backward()
        gradients = [parameter.grad for parameter in usae.parameters() if parameter.grad is not None]
        if found is loss:
            wanted, of_eager = value.detach(), gradients
    assert torch.equal(value, wanted)
    assert all(map(torch.equal, gradients, of_eager))
