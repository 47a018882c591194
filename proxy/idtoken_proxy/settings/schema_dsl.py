"""Declares as a class what a mapping of a YAML file takes, and reads it, reporting every mistake in its place.

    class Match(Entry):
        path: str = key(PATH, "A prefix of whole segments.", default="/")

A validation library would take a third of the time in which the proxy is to answer; this takes none. It knows only
structure. One function parses one value (values.py and its neighbours), and its ValueError says what would be right.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, ClassVar, Final, Generic, NoReturn, Self, TypeAlias, TypeVar, overload

from idtoken_proxy.settings.mistakes import Location, Mistake, choice, nearest, unknown_key
from idtoken_proxy.settings.plausible import objection, shown

T_co = TypeVar("T_co", covariant=True)
D = TypeVar("D")
E_co = TypeVar("E_co", bound="Entry", covariant=True)

Form: TypeAlias = Mapping[str, Any]  # of JSON Schema

TAG: Final = "type"
EXTENSION: Final = "x-"  # begins keys that nothing reads
REQUIRED: Final = object()


class ValidationError(Exception):
    """Every mistake in a value."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        super().__init__()
        self.mistakes = list(mistakes)


def without_nulls(value: Any) -> Any:
    """Drops keys without a value, which count as left out."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


class Kind(ABC, Generic[T_co]):
    """A type of value that a key may have."""

    @abstractmethod
    def read(self, value: object, at: Location) -> T_co:
        """Raises ValidationError."""


class Scalar(Kind[T_co]):
    """One value. `forms`: its alternatives in JSON Schema. `refuse`: says why a string cannot be what it should be,
    before parsing; None for values that may hold a secret or anything else, and are never shown.
    """

    def __init__(
        self,
        parse: Callable[[object], T_co],
        *forms: Form,
        refuse: Callable[[str], str | None] | None = objection,
    ) -> None:
        self.parse, self.forms, self.refuse = parse, forms, refuse

    def read(self, value: object, at: Location) -> T_co:
        refused = self.refuse(value) if self.refuse is not None and isinstance(value, str) else None
        if refused is not None:
            raise ValidationError([(at, refused)])
        try:
            return self.parse(value)
        except ValueError as error:
            raise ValidationError([(at, str(error))]) from None


class FilePath(Scalar[str]):
    """A file's path. The file must exist when the settings take effect, unless it is `awaited`. A change of its content
    reloads the settings, unless its user reads it again itself (`reread`).
    """

    def __init__(
        self,
        parse: Callable[[object], str],
        *forms: Form,
        refuse: Callable[[str], str | None] | None = objection,
        reread: bool = False,
        awaited: bool = False,
    ) -> None:
        super().__init__(parse, *forms, refuse=refuse)
        self.reread, self.awaited = reread, awaited


def choice_of(*words: str) -> Scalar[str]:
    def parse(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        raise ValueError(choice(value, words))

    return Scalar(parse, {"type": "string", "enum": list(words)})


class Items(Kind[list[T_co]]):
    """A list of at least `least` items; `hint` says what belongs into an empty one. `single`: one item may stand for
    the list, as in `listen: localhost:8080`.
    """

    def __init__(self, item: Kind[T_co], *, least: int = 0, hint: str = "", single: bool = False) -> None:
        self.item, self.least, self.hint, self.single = item, least, hint, single

    def read(self, value: object, at: Location) -> list[T_co]:
        if not isinstance(value, list):
            if self.single:
                return [self.item.read(value, at)]
            raise ValidationError([(at, f"must be a list, not {shown(value)}")])
        if len(value) < self.least:
            raise ValidationError([(at, f"must not be empty{self.hint and '; '}{self.hint}")])
        items, gathered = [], _Gathered()
        for index, item in enumerate(value):
            with gathered:
                items.append(self.item.read(item, (*at, index)))
        return gathered.unless(items)


class Table(Kind[dict[str, T_co]]):
    """A mapping whose keys the writer chooses."""

    def __init__(self, item: Kind[T_co]) -> None:
        self.item = item

    def read(self, value: object, at: Location) -> dict[str, T_co]:
        table, gathered = {}, _Gathered()
        for name, item in _mapping(value, at).items():
            with gathered:
                table[name] = self.item.read(item, (*at, name))
        return gathered.unless(table)


class Section(Kind[E_co]):
    """A mapping of known keys. `word`: may stand for an empty one."""

    def __init__(self, entry: type[E_co], *, word: str | None = None) -> None:
        self.entry, self.word = entry, word

    def read(self, value: object, at: Location) -> E_co:
        if self.word is not None and value == self.word:
            return self.entry()
        key = self._meant(value)
        if key is not None:
            raise ValidationError([(at, f"must be a mapping of keys to values; write {{{key}: {value}}}")])
        return self.entry.read(value, at)

    def _meant(self, value: object) -> str | None:
        """The key that has the value among its words: `log: debug` means `log: {level: debug}`."""
        if not isinstance(value, str):
            return None
        words = (
            (name, form)
            for name, its in self.entry.declared.items()
            if isinstance(its.kind, Scalar)
            for form in its.kind.forms
        )
        return next((name for name, form in words if value in form.get("enum", ())), None)


class Tagged(Kind[E_co]):
    """A mapping whose `type` decides its other keys. `spelt`: turns a word that stands for it into the mapping.
    `entries`: by tag; they may hold such a mapping themselves.
    """

    def __init__(
        self, spelt: Callable[[object], object], entries: Callable[[], Mapping[str, type[E_co]]]
    ) -> None:
        self.spelt, self.entries = Scalar(spelt), entries

    def read(self, value: object, at: Location) -> E_co:
        mapping, entries = _mapping(self.spelt.read(value, at), at), self.entries()
        if TAG not in mapping:
            raise ValidationError(
                [(at, "says no type; write auto, none, or a mapping such as {type: metadata}")]
            )
        tag = choice_of(*entries).read(mapping[TAG], (*at, TAG))
        return entries[tag].read(mapping, at)


class Key:
    """`default`: REQUIRED means that there is none."""

    def __init__(self, kind: Kind[object], description: str, default: object) -> None:
        self.kind, self.description, self.default = kind, description, default

    @property
    def required(self) -> bool:
        return self.default is REQUIRED


@overload
def key(kind: Kind[T_co], description: str = "") -> T_co: ...
@overload
def key(kind: Kind[T_co], description: str = "", *, default: D) -> T_co | D: ...
def key(kind: Kind[Any], description: str = "", *, default: object = REQUIRED) -> Any:
    """An attribute of an Entry. Required without a `default`."""
    return Key(kind, description, default)


class Entry:
    """A mapping of the file, frozen. `vars(entry)` holds only what the file says; attributes also have the defaults of
    keys.

    `declared`: its keys, by name. `names`: all keys that may stand in it. `tag`: its `type`, if any. `misplaced`:
    messages about keys that belong elsewhere. `lenient`: unknown keys are accepted. `one_of`: at least one of these is
    required. `extensible`: accepts keys that begin with x-, whatever they hold: a place for anchors, as in Compose
    files.
    """

    declared: ClassVar[Mapping[str, Key]] = {}
    names: ClassVar[tuple[str, ...]] = ()
    tag: ClassVar[str] = ""
    lenient: ClassVar[bool] = False
    extensible: ClassVar[bool] = False
    one_of: ClassVar[tuple[str, ...]] = ()
    misplaced: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, *, tag: str = "", lenient: bool = False) -> None:
        own = {name: declared for name, declared in vars(cls).items() if isinstance(declared, Key)}
        cls.declared, cls.tag, cls.lenient = {**cls.declared, **own}, tag, lenient
        cls.names = (*([TAG] if tag else []), *cls.declared)
        for name, declared in own.items():
            if declared.required:
                delattr(cls, name)
            else:
                setattr(cls, name, declared.default)

    def __init__(self, **values: Any) -> None:
        vars(self).update(values)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{name} is what the file says")

    @classmethod
    def read(cls, value: object, at: Location = ()) -> Self:
        """Raises ValidationError, also for unknown and missing keys. A misspelt required key is reported once."""
        mapping, gathered = _mapping(value, at), _Gathered()
        unknown = [
            name
            for name in mapping
            if not (name in cls.names or cls.lenient or (cls.extensible and name.startswith(EXTENSION)))
        ]

        def nearest_to(name: str) -> bool:
            return any(nearest(other, cls.declared) == name for other in unknown)

        values = {}
        for name, its in cls.declared.items():
            if name in mapping:
                with gathered:
                    values[name] = its.kind.read(mapping[name], (*at, name))
            elif its.required and not nearest_to(name):
                gathered.mistakes.append(((*at, name), "is missing"))
        if cls.one_of and not any(name in mapping or nearest_to(name) for name in cls.one_of):
            gathered.mistakes.append(((*at, cls.one_of[0]), "is missing"))
        gathered.mistakes += [
            ((*at, name), cls.misplaced.get(name) or unknown_key(name, cls.names)) for name in unknown
        ]
        entry = gathered.unless(cls(**values))
        contradiction = entry.contradiction()
        if contradiction is not None:
            raise ValidationError([(at, contradiction)])
        return entry

    def contradiction(self) -> str | None:
        """Says which of its keys contradict each other."""
        return None


class _Gathered:
    """Goes on after mistakes in one part, to report those of all parts."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        if isinstance(error, ValidationError):
            self.mistakes += error.mistakes
            return True
        return False

    def unless(self, whole: D) -> D:
        if self.mistakes:
            raise ValidationError(self.mistakes)
        return whole


def _mapping(value: object, at: Location) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValidationError([(at, f"must be a mapping of keys to values, not {shown(value)}")])
    return value


def files_in(entry: Entry, at: Location = ()) -> Iterator[tuple[Location, FilePath, str]]:
    """Every file that it names, at any depth. Found by the keys' declarations, so that new keys need no list."""
    for name, value in vars(entry).items():
        if name in entry.declared and _may_hold_files(entry.declared[name].kind):
            yield from _files_of(entry.declared[name].kind, value, (*at, name))


@functools.cache
def _may_hold_files(kind: Kind[Any]) -> bool:
    """Decided once per kind, so that routes which name no file are not searched."""
    match kind:
        case Items() | Table():
            return _may_hold_files(kind.item)
        case Section():
            return any(_may_hold_files(declared.kind) for declared in kind.entry.declared.values())
        case Scalar():
            return isinstance(kind, FilePath)
        case _:  # Tagged, which may hold itself
            return True


def _files_of(kind: Kind[Any], value: Any, at: Location) -> Iterator[tuple[Location, FilePath, str]]:
    if isinstance(value, Entry):
        yield from files_in(value, at)
    elif isinstance(kind, FilePath):
        if value is not None:
            yield at, kind, value
    elif isinstance(kind, Items):
        for index, item in enumerate(value or ()):
            yield from _files_of(kind.item, item, (*at, index))
    elif isinstance(kind, Table):
        for name, item in value.items():
            yield from _files_of(kind.item, item, (*at, name))
