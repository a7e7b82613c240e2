"""States of which none can be read: what is said, on one rank and on several."""

import pytest
from toys import toy_settings, toy_tokens

from usae_train.runtime.distributed import DistributedContext
from usae_train.runtime.errors import UsageError
from usae_train.runtime.warning_kinds import OneLineWarning
from usae_train.training.checkpointing import TrainingCheckpointer
from usae_train.training.loop import fit_tokens
from usae_train.training.settings import DEFAULT


def test_a_folder_in_a_states_place_is_named_once(tmp_path):
    (tmp_path / "step-000000006.pt").mkdir()
    with pytest.warns(OneLineWarning) as warned, pytest.raises(ValueError, match="no training state in"):
        fit_tokens(toy_tokens(), toy_settings(DEFAULT), checkpointer=TrainingCheckpointer(tmp_path))
    (words,) = (str(each.message) for each in warned)
    named = tmp_path / "step-000000006.pt"
    assert words == f"{named} cannot be read: it is a folder; expected a file; the one before it is tried"


def test_what_goes_wrong_while_the_first_rank_looks_for_a_state_ends_the_others(tmp_path, monkeypatch):
    """They waited for it till torch's own time was up."""
    (tmp_path / "step-000000006.pt").write_bytes(b"whole")

    def full(*_, **__):
        raise MemoryError

    said = []  # by the first rank to both

    def gather(ranks, value):
        said.extend([value] if ranks.is_main else [])
        return [said[-1], None]

    monkeypatch.setattr("torch.load", full)
    monkeypatch.setattr(DistributedContext, "gather", gather)
    with pytest.raises(UsageError, match=r"^not enough memory"):
        TrainingCheckpointer(tmp_path).restore(None, DistributedContext(0, 2))
    with pytest.raises(SystemExit, match="1"):
        TrainingCheckpointer(tmp_path).restore(None, DistributedContext(1, 2))
    assert [words.partition(";")[0] for words in said] == ["not enough memory"]
