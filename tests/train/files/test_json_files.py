"""JSON is of a bounded depth, its numbers finite and of 64 bits; and `~` of nobody is one line."""

import pytest

from usae_train.files.homes import expand_home
from usae_train.files.json_files import MAX_NESTING, parse_json, read_json, read_object
from usae_train.images.sources import open_images


def test_what_json_says_is_read():
    assert parse_json(b'\xef\xbb\xbf{"a": [1, -2.5e3, null, true, "\\u00e9"]}') == {"a": [1, -2500.0, None, True, "é"]}
    assert parse_json(f"[{2**64 - 1}, {-(2**63)}]") == [2**64 - 1, -(2**63)]
    inside = parse_json("[" * MAX_NESTING + "]" * MAX_NESTING)
    for _ in range(MAX_NESTING - 1):
        (inside,) = inside
    assert inside == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[NaN]", "it holds NaN, which is not a JSON number"),
        ("[-Infinity]", "it holds -Infinity, which is not a JSON number"),
        ("[1e999]", "it holds the number 1e999, which is too large"),
        (f"[{2**64}]", f"it holds the number {2**64}, which is too large"),
        ("9" * 5000, f"it holds the number {'9' * 21}..., which is too large"),
        ("[" * (MAX_NESTING + 1) + "]" * (MAX_NESTING + 1), "it is nested deeper than 64 levels"),
        ('{"a":' * 3000 + "1" + "}" * 3000, "it is nested deeper than 64 levels"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
        (b"\xff{}", "it is not UTF-8 at byte 0"),
    ],
)
def test_what_is_none_is_one_line(text, why):
    with pytest.raises(ValueError, match=why) as refused:
        parse_json(text)
    assert "\n" not in str(refused.value)


def test_of_a_file(tmp_path):
    (tmp_path / "list.json").write_text("[1]")
    assert read_json(tmp_path / "list.json") == [1]
    with pytest.raises(ValueError, match="it holds list, expected an object"):
        read_object(tmp_path / "list.json")
    with pytest.raises(ValueError, match="No such file or directory"):
        read_json(tmp_path / "nothing.json")


def test_the_home_of_nobody_is_one_line():
    with pytest.raises(ValueError, match=r"'~nobody-here/x': this machine has no home directory of ~nobody-here"):
        expand_home("~nobody-here/x")
    with pytest.raises(ValueError, match="has no home directory of"):
        open_images("~nobody-here/pictures")
