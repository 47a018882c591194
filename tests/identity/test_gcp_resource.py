from __future__ import annotations

from idtoken_proxy.identity.gcp_resource import Resource
from tests.cases import for_each


@for_each(
    ("host", "path", "expected"),
    [
        (
            "profiles-123456789012.europe-west1.run.app",
            "",
            Resource("run", "profiles", "europe-west1", "123456789012"),
        ),
        (
            "a-b-c-1.northamerica-northeast2.run.app",
            "/v1",
            Resource("run", "a-b-c", "northamerica-northeast2", "1"),
        ),
        ("canary---profiles-12.us-east4.run.app", "", Resource("run", "profiles", "us-east4", "12")),
        ("user-profiles-x7f3kq2abc-uc.a.run.app", "", Resource("run", "user-profiles", "us-central1")),
        ("canary---profiles-x7f3kq2abc-zf.a.run.app", "", Resource("run", "profiles", "me-west1")),
        ("profiles-x7f3kq2abc-qq.a.run.app", "", Resource("run", "profiles", "REGION")),
        ("strange.run.app", "", Resource("run", "SERVICE", "REGION")),
        (
            "us-central1-shop-prod.cloudfunctions.net",
            "/resize/v1",
            Resource("function", "resize", "us-central1", "shop-prod"),
        ),
        (
            "us-central1-shop-prod.cloudfunctions.net",
            "",
            Resource("function", "FUNCTION", "us-central1", "shop-prod"),
        ),
        ("strange.cloudfunctions.net", "/resize", Resource("function", "resize", "REGION")),
        ("api.shop.example", "/x", Resource("other", "SERVICE", "REGION")),
    ],
)
def test_a_host_tells(host: str, path: str, expected: Resource) -> None:
    assert Resource.of(host, path) == expected


@for_each(
    ("audience", "expected"),
    [
        ("https://Profiles-12.europe-west1.run.app", Resource("run", "profiles", "europe-west1", "12")),
        ("https://profiles-12.europe-west1.run.app:443/x", Resource("run", "profiles", "europe-west1", "12")),
        (
            "https://us-central1-p.cloudfunctions.net/resize",
            Resource("function", "resize", "us-central1", "p"),
        ),
        ("1-a.apps.googleusercontent.com", Resource("other", "SERVICE")),
        ("profiles-12.europe-west1.run.app", Resource("other", "SERVICE")),
    ],
)
def test_an_audience_that_is_a_url_tells_too(audience: str, expected: Resource) -> None:
    assert Resource.behind(audience) == expected
