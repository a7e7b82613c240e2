"""Methods and properties by their names of earlier versions."""

from dataclasses import dataclass, fields

import pytest

from usae_train.runtime.warning_kinds import FormerName, FormerNameWarning


@dataclass
class Cake:
    tiers: int

    def bake(self, minutes: int) -> str:
        return f"{self.tiers} tiers, {minutes} minutes"

    @property
    def height(self) -> int:
        return 5 * self.tiers

    cook, tallness = FormerName("bake"), FormerName("height")


class Tart(Cake):
    def bake(self, minutes: int) -> str:
        return f"a tart, {minutes} minutes"


def test_a_former_name_is_todays_with_a_warning_of_the_line_that_has_it():
    with pytest.warns(FormerNameWarning, match="^cook is called bake now; write bake$") as warned:
        assert Cake(2).cook(minutes=30) == "2 tiers, 30 minutes"
    assert [each.filename for each in warned] == [__file__]
    with pytest.warns(FormerNameWarning, match="^tallness is called height now; write height$"):
        assert Cake(2).tallness == 10
    with pytest.warns(FormerNameWarning):
        assert Tart(1).cook(30) == "a tart, 30 minutes"


def test_a_former_name_is_no_field_and_cannot_be_set():
    assert [field.name for field in fields(Cake)] == ["tiers"]
    with pytest.raises(AttributeError):
        Cake(2).cook = 3
