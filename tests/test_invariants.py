"""What holds for any input: hypothesis looks for one for which it does not. Seeded, and small enough for seconds."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from usae_train.files.yaml_config import read_mapping
from usae_train.model.firing import FiringTally
from usae_train.model.sparse import Codes, sparse_decode, top_indices, top_k
from usae_train.model.spec_files import read_specs
from usae_train.runtime.distributed import DistributedContext
from usae_train.runtime.errors import UsageError
from usae_train.tokens.rank_batches import rank_rows
from usae_train.training.kernels import reference
from usae_viz.objectives import L2, Channel, Concept, Direction, TotalVariation, parse_objective
from usae_viz.runs.recipe import read_render_recipe

seeded = settings(derandomize=True, deadline=None, max_examples=60, database=None)
numbers = st.floats(-1e3, 1e3, allow_nan=False).filter(lambda value: abs(value) > 1e-3)
indices = st.integers(0, 999)
names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
leaves = st.one_of(
    st.builds(Concept, indices, pool=st.sampled_from(["mean", "max", "top", "centre"])),
    st.builds(Channel, names, indices),
    st.builds(Direction, names, st.lists(numbers, min_size=2, max_size=4)),
    st.builds(TotalVariation),
    st.builds(L2),
)
objectives = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a + b, inner, inner),
        st.builds(lambda a, b: a - b, inner, inner),
        st.builds(lambda a, number: number * a, inner, numbers),
        st.builds(lambda a, number: a / number, inner, numbers),
        st.builds(lambda a: -a, inner),
    ),
    max_leaves=5,
)
seeds = st.integers(0, 2**31)


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@seeded
@given(objectives)
def test_an_objectives_text_reads_back_as_the_same(objective):
    again = parse_objective(str(objective))
    assert str(again) == str(objective)
    assert (again.concepts, again.backbones) == (objective.concepts, objective.backbones)


@seeded
@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 40), st.integers(0, 8), seeds)
def test_ranks_partition_every_batch(world_size, share, rows, offset, seed):
    batch, order = share * world_size, torch.randperm(rows, generator=drawn(seed))
    offset %= batch
    parts = [rank_rows(order, batch, offset, DistributedContext(rank, world_size)) for rank in range(world_size)]
    assert torch.cat(parts).sort().values.tolist() == list(range(rows))
    cut = [batch - offset, *[batch] * rows]
    done = [0] * world_size
    for size in cut:  # each batch is some of every rank's next rows, and none of a later batch comes before it
        own = set(order[:size].tolist())
        order = order[size:]
        for rank, part in enumerate(parts):
            taken = [row for row in part[done[rank] :].tolist() if row in own]
            assert part[done[rank] : done[rank] + len(taken)].tolist() == taken
            done[rank] += len(taken)
        if not len(order):
            break


@seeded
@given(st.integers(1, 5), st.integers(1, 300), st.data(), seeds)
def test_top_k_keeps_the_largest(tokens, n_concepts, data, seed):
    k = data.draw(st.integers(1, n_concepts))
    pre_codes = torch.randn(tokens, n_concepts, generator=drawn(seed))
    dense = reference.top_k(pre_codes, k)
    assert torch.equal(top_k(pre_codes, k).dense(n_concepts), dense)
    kept = pre_codes.gather(1, top_indices(pre_codes, k)).relu()  # in no order
    assert torch.equal(kept.sort(descending=True).values, dense.sort(descending=True).values[:, :k])


@seeded
@given(st.integers(1, 6), st.integers(1, 60), st.integers(1, 20), st.data(), seeds)
def test_sparse_decoding_equals_dense(tokens, n_concepts, width, data, seed):
    k = data.draw(st.integers(1, n_concepts))
    generator = drawn(seed)
    codes = top_k(torch.randn(tokens, n_concepts, generator=generator), k)
    atoms = torch.randn(n_concepts, width, generator=generator)
    torch.testing.assert_close(sparse_decode(codes, atoms), codes.dense(n_concepts) @ atoms, atol=1e-4, rtol=1e-4)


@seeded
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(2, 12), st.randoms(use_true_random=False), seeds
)
def test_merged_tallies_equal_the_whole(sizes, n_concepts, order, seed):
    generator, n_images, k = drawn(seed), sum(sizes), 2
    codes = {
        name: Codes(
            torch.rand(n_images, 3, k, generator=generator),
            torch.rand(n_images, 3, n_concepts, generator=generator).topk(k).indices,
        )
        for name in ("a", "b")
    }

    def tally(chosen: torch.Tensor) -> FiringTally:
        found = FiringTally(["a", "b"], n_concepts)
        found.add(chosen, {name: Codes(own.values[chosen], own.indices[chosen]) for name, own in codes.items()})
        return found

    parts = [tally(chosen) for chosen in torch.arange(n_images).split(sizes)]
    order.shuffle(parts)
    merged = FiringTally(["a", "b"], n_concepts)
    for part in parts:
        merged.merge(part.state_dict())
    whole, merged = tally(torch.arange(n_images)).statistics(), merged.statistics()
    for figure in ("fires", "co_fires", "top_images", "top_tokens", "counts", "quantiles"):
        assert torch.equal(getattr(whole, figure).nan_to_num(-1), getattr(merged, figure).nan_to_num(-1)), figure
    torch.testing.assert_close(whole.energy, merged.energy)
    assert not any(math.isnan(value) for value in merged.energy.flatten().tolist())


words = st.text(st.sampled_from("abc:{}[],-? \n&*<!|>#'\"0123.~%@`=é\x07"), max_size=60)
keys = st.sampled_from(["usae", "concepts", "settings", "seeds", "variants", "objective", "views", "crops", "model"])
lines = st.builds(lambda key, value: f"{key}: {value}", keys, words)


@seeded
@given(st.one_of(words, st.lists(lines, max_size=4).map("\n".join)))
def test_no_yaml_ends_in_a_fault(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(text, encoding="utf-8")
    said = []
    for read in (read_mapping, read_specs, read_render_recipe):
        try:
            read(str(file)) if read is read_specs else read(file)
        except UsageError as error:
            said.append(str(error))
    assert all("\n" not in line for line in said)
