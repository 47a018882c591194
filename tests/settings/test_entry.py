from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.settings.entry import Entry


class Sample(Entry):
    flag: bool = False


@pytest.mark.parametrize("keys", [{"flag": "true"}, {"flag": 1}, {"other": 1}])
def test_nothing_is_converted_and_nothing_unknown_is_taken(keys: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Sample.model_validate(keys)


def test_it_cannot_be_changed() -> None:
    sample = Sample(flag=True)
    with pytest.raises(ValidationError):
        sample.flag = False
