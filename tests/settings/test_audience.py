from __future__ import annotations

import pytest

from idtoken_proxy.settings.audience import derived_audience, untagged
from idtoken_proxy.settings.model import Upstream
from idtoken_proxy.settings.urls import upstream
from tests.cases import for_each


@for_each(
    ("url", "audience"),
    [
        ("https://a-x7f3kq-uc.a.run.app", "https://a-x7f3kq-uc.a.run.app"),
        ("https://a-123.us-central1.run.app/base/path", "https://a-123.us-central1.run.app"),
        ("https://tag---a-uc.a.run.app:443", "https://a-uc.a.run.app"),
        ("https://My-Tag---a-x7f3kq-uc.a.run.app/v1", "https://a-x7f3kq-uc.a.run.app"),
        ("https://tag---a-123.us-central1.run.app", "https://a-123.us-central1.run.app"),
        ("https://a--b-123.us-central1.run.app", "https://a--b-123.us-central1.run.app"),
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


@for_each(
    "url", ["https://api.example.com", "https://run.app.evil.com", "https://evilrun.app", "https://10.0.0.1"]
)
def test_where_nothing_tells_it(url: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is asserted
        derived_audience(upstream(url))
    assert str(caught.value) == (
        f"cannot be derived from {upstream(url).host}: a custom domain needs the service's run.app URL or a "
        "registered custom audience; IAP needs its OAuth client ID"
    )


@for_each(
    "host",
    ["a---b---c-123.us-central1.run.app", "---a-uc.a.run.app", "a---.run.app", "a------b-uc.a.run.app"],
)
def test_a_tag_that_cannot_be_told_from_the_service(host: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is asserted
        derived_audience(Upstream("https", host, 443))
    assert "tag and service cannot be told apart" in str(caught.value)


@for_each("url", ["https://a-123.us-central1.mtls.run.app", "https://a-x7f3kq-uc.a.mtls.run.app/v1"])
def test_a_mutual_tls_endpoint_asks_for_its_audience(url: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is asserted
        derived_audience(upstream(url))
    assert str(caught.value).startswith(f"cannot be derived from {upstream(url).host}, which is another name")


@for_each("host", ["a---b.example.com", "a---b.localhost", "x---y-uc.a.run.app.evil.example"])
def test_only_cloud_run_has_tags(host: str) -> None:
    assert untagged(host) == host


def test_a_function_without_its_name() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is asserted
        derived_audience(upstream("https://us-central1-p.cloudfunctions.net/"))
    assert str(caught.value) == (
        "cannot be derived: a function's audience is its whole URL; add the function's name to upstream, such as "
        "https://us-central1-p.cloudfunctions.net/FUNCTION, or say the audience"
    )
