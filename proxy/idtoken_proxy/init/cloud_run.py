"""Cloud Run services as `gcloud run services list --format=json` and service.yaml have them: Knative's Service.

https://cloud.google.com/run/docs/reference/rest/v1/namespaces.services; the annotations:
https://cloud.google.com/run/docs/reference/yaml/v1, and for audiences
https://cloud.google.com/run/docs/configuring/custom-audiences
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from idtoken_proxy.init.item import REGION, Item
from idtoken_proxy.init.receivers import Door, Receiver
from idtoken_proxy.settings.plausible import shown

API: Final = "serving.knative.dev/"
_RUN: Final = "run.googleapis.com/"
_LOCATION: Final = "cloud.googleapis.com/location"
_RECEIVERS: Final = ("run.app", "cloudfunctions.net", "googleapis.com", "googleusercontent.com", "google.com")
_NUMBER: Final = re.compile(r"[0-9]{6,20}")
_TAG: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")

INTERNAL: Final = {
    "internal": "its ingress is internal: Google's front end answers 404 to whoever comes from outside its networks",
    "internal-and-cloud-load-balancing": "its ingress is internal and load balancing: its run.app URL answers 404 to whoever comes "
    "from outside its networks; there, write the load balancer's URL as upstream and keep the audience",
}
WITHIN: Final = "whether this machine is within its networks"
IAP_CLIENT: Final = (
    "whether IAP has an OAuth client of its own: then say its client ID as audience, and no identity"
)


def is_service(tree: object) -> bool:
    return (
        isinstance(tree, dict)
        and tree.get("kind") == "Service"
        and str(tree.get("apiVersion")).startswith(API)
    )


def receivers_of(item: Item) -> Iterator[Receiver]:
    """The service, and each traffic tag of it. ConfigError."""
    name = item.name(item.text("metadata", "name"))
    region = item.text("metadata", "labels", _LOCATION)
    if region is not None and REGION.fullmatch(region) is None:
        raise item.wrong(f"its location is no region: {shown(region)}")
    what = f"Cloud Run service {name}" + ("" if region is None else f", {region}")
    door, notes, unknown = _settings(item)
    url, aliases = _urls(item, name, region)
    if url is None:
        asked = (
            f"gcloud run services describe {name} --region={region or 'REGION'} --format='value(status.url)'"
        )
        yield Receiver(
            name, what, None, None, door, region, notes, unknown, f"its URL is not told here: {asked}"
        )
        return
    lacking = None
    if item.flag("metadata", "annotations", f"{_RUN}default-url-disabled"):
        lacking = "its run.app URL is disabled: write the URL of its load balancer or domain as upstream"
    audience = None
    if door is Door.PRIVATE:
        custom, told = _custom_audience(item)
        audience = custom or url
        notes += told
    yield Receiver(name, what, url, audience, door, region, notes, unknown, lacking, aliases)
    for tag, tagged in _tags(item):
        # A tag's URL is a name of the service's and no audience (settings/audience.py).
        yield Receiver(
            f"{name}-{tag}"[:63],
            f"{what}, traffic tag {tag}",
            tagged,
            audience,
            door,
            region,
            notes,
            unknown,
            lacking,
        )


def _settings(item: Item) -> tuple[Door, tuple[str, ...], tuple[str, ...]]:
    """(door, notes, what is not known)"""
    notes: list[str] = []
    unknown: list[str] = []
    door = Door.PRIVATE
    if item.flag("metadata", "annotations", f"{_RUN}iap-enabled"):
        door = Door.IAP
        notes.append("it is behind IAP, which takes JWTs that a service account has signed, and no ID tokens")
        unknown.append(IAP_CLIENT)
    elif item.flag("metadata", "annotations", f"{_RUN}invoker-iam-disabled"):
        door = Door.PUBLIC
        notes.append("its invoker check is off: it takes requests without a token")
        unknown.append(
            "whether the app checks tokens by itself: then say its audience, and take identity: none away"
        )
    ingress = item.text("metadata", "annotations", f"{_RUN}ingress")
    if ingress is not None and ingress in INTERNAL:
        notes.append(INTERNAL[ingress])
        unknown.append(WITHIN)
    return door, tuple(notes), tuple(unknown)


def is_receiver_s(audience: str) -> bool:
    """Whether it is what Google's own receivers have for an audience. Whoever deploys a service registers what he likes, and a
    token that is sent there for somebody else's audience is his to use at somebody else's.
    """
    host = audience.lower().rpartition("://")[2].partition("/")[0].partition(":")[0].rstrip(".")
    return host.endswith(_RECEIVERS)


def _custom_audience(item: Item) -> tuple[str | None, tuple[str, ...]]:
    key = f"{_RUN}custom-audiences"
    text = item.text("metadata", "annotations", key)
    if text is None:
        return None, ()
    try:
        listed: object = json.loads(text)
    except (ValueError, RecursionError):
        listed = None
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise item.wrong(f"its annotation {key} is no JSON list of strings")
    good = [
        one for one in (item.audience(one) for one in listed) if one is not None and not is_receiver_s(one)
    ]
    notes = []
    if len(good) < len(listed):
        notes.append(
            "a custom audience of it is left out here: no configuration takes it, or it is another receiver's, where such tokens would be good"
        )
    if not good:
        return None, tuple(notes)
    others = "".join(f", {one}" for one in good[1:])
    notes.append(f"it has custom audiences; its URL{others} would do as well, unless the app itself checks")
    return good[0], tuple(notes)


def _urls(item: Item, name: str, region: str | None) -> tuple[str | None, frozenset[str]]:
    """(its URL, all that it has). Without a status, as in a manifest, project number and region make it."""
    url = item.text("status", "url") or item.text("status", "address", "url")
    namespace = item.text("metadata", "namespace")
    if url is None and region is not None and namespace is not None and _NUMBER.fullmatch(namespace):
        url = f"https://{name}-{namespace}.{region}.run.app"
    if url is None:
        return None, frozenset()
    own = str(item.url(url, "status.url"))
    try:
        others: object = json.loads(item.text("metadata", "annotations", f"{_RUN}urls") or "[]")
    except (ValueError, RecursionError):
        others = []
    listed = others if isinstance(others, list) else []
    return own, frozenset(one for one in listed if isinstance(one, str))


def _tags(item: Item) -> Iterator[tuple[str, str]]:
    for target in item.sequence("status", "traffic"):
        found: dict[str, Any] = target if isinstance(target, dict) else {}
        tag, url = found.get("tag"), found.get("url")
        if tag in (None, "") or not isinstance(url, str):
            continue
        if not isinstance(tag, str) or _TAG.fullmatch(tag) is None:
            raise item.wrong(f"status.traffic has a tag that is none: {shown(tag)}")
        yield tag, str(item.url(url, "status.traffic.url"))
