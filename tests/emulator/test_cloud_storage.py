"""By Google's own library it is tried in tests/end_to_end/test_recipes.py; here is what that checks uploads with."""

from __future__ import annotations

from typing import Any

from idtoken_proxy.emulator.cloud_storage import _crc32c_of
from tests.cases import for_each


@for_each(("content", "checksum"), [(b"", "AAAAAA=="), (b"123456789", "4waSgw=="), (b"a" * 1000, None)])
def test_checksums_are_those_of_crc32c(content: bytes, checksum: str | None) -> None:
    import base64  # noqa: PLC0415

    import google_crc32c  # noqa: PLC0415

    theirs: Any = google_crc32c.Checksum
    assert _crc32c_of(content) == base64.b64encode(theirs(content).digest()).decode()
    assert checksum is None or _crc32c_of(content) == checksum
