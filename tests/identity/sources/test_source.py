from __future__ import annotations

from idtoken_proxy.identity.sources.file import FileSource
from idtoken_proxy.identity.sources.metadata import MetadataSource
from idtoken_proxy.identity.sources.source import Source, Watched


def test_what_is_watched() -> None:
    cheap: Source = FileSource("/x")
    dear: Source = MetadataSource()
    assert isinstance(cheap, Watched)
    assert not isinstance(dear, Watched)
