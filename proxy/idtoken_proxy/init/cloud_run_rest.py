"""Cloud Run services as REST's second version, and what prints its answers, have them: read as Knative's.

https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.services; a list of them is under `services`, as
`projects.locations.services.list` answers it.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from idtoken_proxy.init.item import Item
from idtoken_proxy.settings.plausible import shown

_RESOURCE: Final = re.compile(r"projects/([^/]{1,100})/locations/([^/]{1,100})/services/([^/]{1,100})")
_RUN: Final = "run.googleapis.com/"
_INGRESS: Final = {
    "INGRESS_TRAFFIC_INTERNAL_ONLY": "internal",
    "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER": "internal-and-cloud-load-balancing",
}
_FLAGS: Final = {
    "iapEnabled": "iap-enabled",
    "invokerIamDisabled": "invoker-iam-disabled",
    "defaultUriDisabled": "default-url-disabled",
}


def is_service(tree: object) -> bool:
    return isinstance(tree, dict) and _RESOURCE.fullmatch(str(tree.get("name"))) is not None


def as_knative(item: Item) -> Item:
    """The same entry in the first version's form. ConfigError."""
    named = _RESOURCE.fullmatch(str(item.tree.get("name")))
    if named is None:
        raise item.wrong("its name is no service's")
    project, region, name = named.groups()
    annotations = {f"{_RUN}{old}": "true" for new, old in _FLAGS.items() if _flag(item, new)}
    ingress = item.text("ingress")
    if ingress in _INGRESS:
        annotations[f"{_RUN}ingress"] = _INGRESS[ingress]
    for new, old in (("customAudiences", "custom-audiences"), ("urls", "urls")):
        if listed := item.sequence(new):
            annotations[f"{_RUN}{old}"] = json.dumps(listed)
    tags = [{"tag": one.get("tag"), "url": one.get("uri")} for one in _statuses(item)]
    tree: dict[str, Any] = {
        "metadata": {
            "name": name,
            "namespace": project,
            "labels": {"cloud.googleapis.com/location": region},
            "annotations": annotations,
        },
        "status": {"url": item.text("uri"), "traffic": tags},
    }
    return Item(item.file, item.entry, tree)


def _flag(item: Item, key: str) -> bool:
    found = item.tree.get(key)
    if found in (None, True, False):
        return found is True
    raise item.wrong(f"{key} must be true or false, not {shown(found)}")


def _statuses(item: Item) -> list[dict[str, Any]]:
    return [one if isinstance(one, dict) else {} for one in item.sequence("trafficStatuses")]
