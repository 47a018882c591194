"""The rest of it is told by doctor, in test_doctor.py and tests/test_troubles.py."""

from __future__ import annotations

from idtoken_proxy.engine.way_there import way_there
from idtoken_proxy.settings.model import EgressProxy, Route, Upstream

ROUTE = Route("shop", Upstream("https", "shop.example", 8443), None)


def test_the_receiver_is_named() -> None:
    assert way_there("connection_refused", ROUTE).endswith("listens on that port: shop.example:8443")
    assert way_there("something else", ROUTE).endswith("whether it speaks HTTP at https://shop.example:8443")


def test_an_egress_proxy_is_gone_through() -> None:
    behind = Route("shop", ROUTE.upstream, None, egress_proxy=EgressProxy("proxy.corp.example", 3128))
    assert "curl -sv -x http://proxy.corp.example:3128 " in way_there("destination_unavailable", behind)
    assert " -proxy proxy.corp.example:3128 " in way_there("tls_protocol_error", behind)
