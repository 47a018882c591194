"""The receivers that containers are told of in their environment: in a Compose file, or in a manifest.

Such values hold secrets too, so nothing is taken from them, or shown, but a URL of Google's own names.
https://github.com/compose-spec/compose-spec/blob/main/05-services.md#environment
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from idtoken_proxy.init.item import Item
from idtoken_proxy.init.receivers import Receiver
from idtoken_proxy.settings.audience import derived_audience
from idtoken_proxy.settings.plausible import shown_key

# Bounded on both sides: no host that only ends, or begins, with these letters.
_URL: Final = re.compile(
    r"(?<![A-Za-z0-9@.])https?://(?P<host>[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){0,3}\.(?:run\.app|cloudfunctions\.net))"
    r"(?![A-Za-z0-9.@:-])(?:/(?P<function>[A-Za-z][A-Za-z0-9_-]{0,62}))?"
)
_UNKNOWN: Final = (
    "custom audiences, IAP and ingress of it, which `gcloud run services list --format=json` has",
)


def is_compose(tree: object) -> bool:
    return isinstance(tree, dict) and isinstance(tree.get("services"), dict)


def receivers_of_compose(item: Item) -> Iterator[Receiver]:
    """ConfigError."""
    for name, service in item.mapping("services").items():
        if service is None:
            continue
        inner = Item(item.file, f"services.{shown_key(name)}", service if isinstance(service, dict) else {})
        if not isinstance(service, dict):
            raise inner.wrong("must be a mapping")
        found = service.get("environment")
        if not isinstance(found, dict | list | None):
            raise inner.wrong("environment must be a mapping or a list")
        values = found.values() if isinstance(found, dict) else found or ()
        yield from named_in(inner, values)


def named_in_containers(item: Item) -> Iterator[Receiver]:
    """Of a manifest: spec.template.spec.containers[].env[].value."""
    for container in item.sequence("spec", "template", "spec", "containers"):
        entries = container.get("env") if isinstance(container, dict) else None
        if isinstance(entries, list):
            yield from named_in(item, (one.get("value") for one in entries if isinstance(one, dict)))


def named_in(item: Item, values: Iterable[Any]) -> Iterator[Receiver]:
    for value in values:
        for found in _URL.finditer(value) if isinstance(value, str) else ():
            host, function = found["host"], found["function"]
            of_function = host.endswith(".cloudfunctions.net")
            if of_function and function is None:
                continue
            upstream = item.url(f"https://{host}" + (f"/{function}" if of_function else ""), "environment")
            name = function if of_function else service_of(host)
            try:
                audience = derived_audience(upstream)
            except ValueError as error:
                yield Receiver(name, f"receiver {host}", None, lacking=f"its audience {error}")
                continue
            yield Receiver(
                name, f"receiver {host}, named in {item.entry}", str(upstream), audience, unknown=_UNKNOWN
            )


def service_of(host: str) -> str:
    """`orders-123456789012.us-central1.run.app`, `orders-x7f3kq-uc.a.run.app` -> `orders`; with its tag, if it has one."""
    label, _, domain = host.partition(".")
    parts = label.rsplit("-", 2 if domain == "a.run.app" else 1)
    name = parts[0].replace("---", "-")
    return name if re.fullmatch("[a-z][a-z0-9-]{0,62}", name) else "receiver"
