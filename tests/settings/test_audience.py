from __future__ import annotations

import pytest

from idtoken_proxy.settings.audience import derived_audience
from idtoken_proxy.settings.urls import upstream


@pytest.mark.parametrize(
    ("url", "audience"),
    [
        ("https://a-x7f3kq-uc.a.run.app", "https://a-x7f3kq-uc.a.run.app"),
        ("https://a-123.us-central1.run.app/base/path", "https://a-123.us-central1.run.app"),
        ("https://tag---a-uc.a.run.app:443", "https://tag---a-uc.a.run.app"),
        ("https://us-central1-p.cloudfunctions.net/thumb", "https://us-central1-p.cloudfunctions.net/thumb"),
        (
            "https://us-central1-p.cloudfunctions.net/thumb/v1/x",
            "https://us-central1-p.cloudfunctions.net/thumb",
        ),
        ("http://localhost:3000/base", "http://localhost:3000"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_where_the_receiver_tells(url: str, audience: str) -> None:
    assert derived_audience(upstream(url)) == audience


@pytest.mark.parametrize(
    "url", ["https://api.example.com", "https://run.app.evil.com", "https://evilrun.app", "https://10.0.0.1"]
)
def test_where_nothing_tells_it(url: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is asserted
        derived_audience(upstream(url))
    assert str(caught.value) == (
        f"cannot be derived from {upstream(url).host}: a custom domain needs the service's run.app URL or a "
        "registered custom audience; IAP needs its OAuth client ID"
    )


def test_a_function_without_its_name() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is asserted
        derived_audience(upstream("https://us-central1-p.cloudfunctions.net/"))
    assert str(caught.value) == (
        "cannot be derived: a function's audience is its whole URL; add the function's name to upstream, such as "
        "https://us-central1-p.cloudfunctions.net/FUNCTION, or say the audience"
    )
