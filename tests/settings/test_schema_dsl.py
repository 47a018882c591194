from __future__ import annotations

from typing import Any, ClassVar

import pytest

from idtoken_proxy.settings.mistakes import Mistake
from idtoken_proxy.settings.schema_dsl import (
    Entry,
    Items,
    Kind,
    Scalar,
    Section,
    Table,
    Tagged,
    ValidationError,
    choice_of,
    key,
)
from tests.cases import for_each


def even(value: object) -> int:
    if not isinstance(value, int) or value % 2:
        raise ValueError("must be even")
    return value


EVEN = Scalar(even)


class Door(Entry):
    handles: int = key(EVEN, default=2)


class AdmissionContext(Entry):
    number: int = key(EVEN)
    colour: str = key(choice_of("red", "green"), default="red")
    door: Door = key(Section(Door), default=Door())

    misplaced: ClassVar = {"handles": "belongs to the door"}


class Villa(AdmissionContext):
    rooms: list[int] = key(Items(EVEN), default=[])

    def contradiction(self) -> str | None:
        return "has no room" if "rooms" in vars(self) and not self.rooms else None


class Tent(Entry, tag="tent"):
    poles: int = key(EVEN)


class Shelter(Entry, tag="shelter"):
    within: Tent | Shelter = key(Tagged(lambda value: value, lambda: HOMES))


HOMES: dict[str, type[Tent | Shelter]] = {"tent": Tent, "shelter": Shelter}
HOME: Tagged[Tent | Shelter] = Tagged(
    lambda value: {"type": "tent", "poles": 2} if value == "tent" else value, lambda: HOMES
)


def wrong(kind: Kind[object], value: object) -> list[Mistake]:
    with pytest.raises(ValidationError) as raised:
        kind.read(value, ("here",))
    return raised.value.mistakes


def test_what_is_not_said_is_the_default_and_is_told_from_what_is() -> None:
    house = AdmissionContext.read({"number": 4})
    assert (house.number, house.colour, house.door.handles) == (4, "red", 2)
    assert vars(house) == {"number": 4}
    assert vars(AdmissionContext.read({"number": 4, "colour": "red"})) == {"number": 4, "colour": "red"}


def test_keys_are_inherited() -> None:
    assert list(Villa.declared) == ["number", "colour", "door", "rooms"]
    assert Villa.read({"number": 2, "rooms": [2, 4]}).rooms == [2, 4]
    assert list(AdmissionContext.declared) == ["number", "colour", "door"]


def test_it_cannot_be_changed() -> None:
    house = AdmissionContext.read({"number": 4})
    with pytest.raises(AttributeError, match="number is what the file says"):
        house.number = 6
    assert house.number == 4


@for_each(
    ("kind", "value", "mistakes"),
    [
        (EVEN, 1, [(("here",), "must be even")]),
        (
            choice_of("red", "green"),
            "gren",
            [(("here",), 'must be one of red, green, not "gren"; did you mean "green"?')],
        ),
        (choice_of("red", "green"), ["red"], [(("here",), "must be one of red, green, not a list")]),
        (Items(EVEN), {}, [(("here",), "must be a list, not a mapping")]),
        (Items(EVEN), [1, 2, 3], [(("here", 0), "must be even"), (("here", 2), "must be even")]),
        (Items(EVEN, least=1), [], [(("here",), "must not be empty")]),
        (Items(EVEN, least=1, hint="try 2"), [], [(("here",), "must not be empty; try 2")]),
        (Items(EVEN, single=True), 3, [(("here",), "must be even")]),
        (Table(EVEN), 3, [(("here",), "must be a mapping of keys to values, not 3")]),
        (Table(EVEN), {"a": 1, "b": 2, "c": 3}, [(("here", "a"), "must be even"), (("here", "c"), "must be even")]),
        (Section(Door), None, [(("here",), "must be a mapping of keys to values, not nothing")]),
        (Section(Door, word="plain"), "other", [(("here",), 'must be a mapping of keys to values, not "other"')]),
        (
            Section(AdmissionContext),
            {"door": {"handles": 1, "x": 1}, "colour": "gren"},
            [
                (("here", "number"), "is missing"),
                (("here", "colour"), 'must be one of red, green, not "gren"; did you mean "green"?'),
                (("here", "door", "handles"), "must be even"),
                (("here", "door", "x"), "unknown key; known here: handles"),
            ],
        ),
        (Section(AdmissionContext), {"number": 2, "handles": 2}, [(("here", "handles"), "belongs to the door")]),
        (Section(AdmissionContext), {"numbr": 2}, [(("here", "numbr"), 'unknown key; did you mean "number"?')]),
        (Section(Villa), {"number": 2, "rooms": []}, [(("here",), "has no room")]),
        (Section(Villa), {"number": 1, "rooms": []}, [(("here", "number"), "must be even")]),
        (HOME, 5, [(("here",), "must be a mapping of keys to values, not 5")]),
        (HOME, {}, [(("here",), "says no type; write auto, none, or a mapping such as {type: metadata}")]),
        (HOME, {"type": "tnt"}, [(("here", "type"), 'must be one of tent, shelter, not "tnt"; did you mean "tent"?')]),
        (HOME, {"type": ["tent"]}, [(("here", "type"), "must be one of tent, shelter, not a list")]),
        (HOME, {"type": "tent"}, [(("here", "poles"), "is missing")]),
        (HOME, {"type": "tent", "poles": 2, "x": 1}, [(("here", "x"), "unknown key; known here: type, poles")]),
        (
            HOME,
            {"type": "shelter", "within": {"type": "tent", "poles": 3}},
            [(("here", "within", "poles"), "must be even")],
        ),
    ],
)  # fmt: skip
def test_every_mistake_is_told_at_its_place(
    kind: Kind[object], value: object, mistakes: list[Mistake]
) -> None:
    assert wrong(kind, value) == mistakes


def test_what_may_stand_for_something_longer() -> None:
    assert Items(EVEN, single=True).read(2, ()) == [2]
    assert vars(Section(Door, word="plain").read("plain", ())) == {}
    tent = HOME.read("tent", ())
    assert isinstance(tent, Tent)
    assert tent.poles == 2


def test_others_may_have_put_more_into_what_is_theirs() -> None:
    class Jwk(Entry, lenient=True):
        kid: int = key(EVEN)

    assert vars(Jwk.read({"kid": 2, "use": "sig"})) == {"kid": 2}
    assert wrong(Section(Jwk), {"kib": 2}) == [(("here", "kid"), "is missing")]


def test_a_mapping_of_any_keys() -> None:
    assert Table(EVEN).read({"a": 2, "b": 4}, ()) == {"a": 2, "b": 4}


def test_a_tag_is_no_key_to_be_read() -> None:
    found: Any = HOME.read({"type": "shelter", "within": {"type": "tent", "poles": 4}}, ())
    assert found.tag == "shelter"
    assert vars(found.within) == {"poles": 4}
    assert Tent.names == ("type", "poles")
    assert Door.names == ("handles",)
