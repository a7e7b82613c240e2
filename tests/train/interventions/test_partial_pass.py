import pytest
import torch
from edited_networks import SILENT, SPECS, space, vit
from torch import nn

from usae_train.interventions import edit_site
from usae_train.interventions.importance import class_view, without_each
from usae_train.interventions.partial_pass import earlier_parts


class Chain(nn.Module):
    """Three parts in a row; `joins`: the last takes what the first gave too; `writes`: into what the first gave."""

    def __init__(self, joins: bool = False, writes: bool = False):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.joins, self.writes = joins, writes

    def forward(self, given):
        first = self.first(given)
        if self.writes:
            first += 1
        second = self.second(first)
        return self.third(second + first if self.joins else second)


def _before(chain: Chain):
    given = torch.ones(1, 4)
    with torch.no_grad():
        return earlier_parts(chain, chain.second, lambda: chain(given))


def test_what_comes_before_a_module_is_left_out_and_takes_no_memory():
    chain, runs = Chain(), []
    found = _before(chain)
    assert list(found.parts) == [chain.first]
    assert found.parts[chain.first].is_meta
    hook = chain.second.register_forward_hook(lambda module, given, output: runs.append(output))
    with torch.no_grad(), found.skip(torch.full((1, 4), 2.0)) as _:
        seen = chain(torch.ones(1, 4))
    hook.remove()
    assert torch.equal(runs[0], torch.full((1, 4), 2.0))
    assert torch.equal(seen, chain.third(runs[0]))


def test_a_network_is_as_before_whatever_happened():
    chain = Chain()
    found, plain = _before(chain), chain(torch.ones(1, 4))
    chain.first.forward = own = lambda given: given * 3  # as libraries that place weights do
    with pytest.raises(KeyError), found.skip(torch.zeros(1, 4)):
        raise KeyError
    assert chain.first.forward is own
    assert "forward" not in vars(chain.second)
    del chain.first.forward
    assert torch.equal(chain(torch.ones(1, 4)), plain)


@pytest.mark.parametrize("kind", ["joins", "writes"])
def test_where_more_than_the_modules_output_is_taken_nothing_is_left_out(kind):
    assert _before(Chain(**{kind: True})) is None


def test_a_part_that_runs_behind_the_module_too_is_not_left_out():
    chain = Chain()
    chain.third = nn.Sequential(chain.first, chain.third)
    assert _before(chain) is not None
    assert not _before(chain).parts


@pytest.mark.parametrize("name", SPECS)
@torch.no_grad()
def test_what_was_seen_once_is_not_run_again(edited, pictures, name):
    backbone, canvas, removed = edited.backbones[name], pictures[:1], [[0], [1, 2, 3], [4]]
    own = edit_site.edit_site_of(backbone)
    assert own.earlier is not None
    slow = without_each(edited, name, canvas, removed)
    seen, runs = class_view(edited, name, canvas), []
    hooks = [part.register_forward_hook(lambda *_: runs.append(1)) for part in _inside(own.earlier.parts)]
    quick = without_each(edited, name, canvas, removed, seen)
    again = class_view(edited, name, canvas, seen.class_, seen.output)
    for hook in hooks:
        hook.remove()
    assert hooks
    assert not runs
    torch.testing.assert_close(quick, slow, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(again.logits, seen.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(again.estimate, seen.estimate, rtol=1e-4, atol=1e-5)


def _inside(parts):
    return [inner for part in parts for inner in part.modules() if inner is not part and not list(inner.children())]


@torch.no_grad()
def test_what_follows_may_write_into_what_it_takes(pictures):
    """Of a set in which nothing fires the stream is one picture seen several times, and no tensor of its own."""
    usae = space({"vit": vit()})
    model = usae.backbones["vit"].model
    model.blocks[1].register_forward_pre_hook(lambda module, given: (given[0].mul_(2),))
    plain = class_view(usae, "vit", pictures[:1])
    for seen in (None, plain):
        logits = without_each(usae, "vit", pictures[:1], [[SILENT], [SILENT]], seen)
        torch.testing.assert_close(logits, plain.logits.expand(3, -1), rtol=1e-4, atol=1e-5)
