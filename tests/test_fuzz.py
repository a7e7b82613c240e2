"""Every file that the project reads, damaged: it is read, or refused in one line; nothing else, and soon."""

import pytest
from damage import wrong_with
from kinds_of_files import kinds_of_files

TIMES = 40  # each kind; `python tests/campaign.py` resumes from there


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    return kinds_of_files(tmp_path_factory.mktemp("kinds"))


def test_what_is_whole_is_read(kinds):
    for kind in kinds:
        kind.read()


def test_what_is_damaged_is_read_or_refused_in_one_line(kinds):
    wrong = {}
    for kind in kinds:
        found = {seed: wrong_with(kind, seed, seconds=5) for seed in range(TIMES)}
        wrong[kind.name] = {seed: why for seed, why in found.items() if why is not None}
    assert not {name: found for name, found in wrong.items() if found}
