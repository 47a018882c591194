"""Functions of both generations, as `gcloud functions list --format=json` has them.

https://cloud.google.com/functions/docs/reference/rest/v1/projects.locations.functions and .../v2/...; a 2nd-generation
function is a Cloud Run service, whose URL is its audience. A 1st-generation one's is its whole URL.
"""

from __future__ import annotations

import re
from typing import Final

from idtoken_proxy.init.cloud_run import INTERNAL, WITHIN
from idtoken_proxy.init.item import REGION, Item
from idtoken_proxy.init.receivers import Receiver

_RESOURCE: Final = re.compile(r"projects/[^/]{1,100}/locations/([^/]{1,100})/functions/([^/]{1,100})")
_INGRESS: Final = {
    "ALLOW_INTERNAL_ONLY": "internal",
    "ALLOW_INTERNAL_AND_GCLB": "internal-and-cloud-load-balancing",
}


def is_function(tree: object) -> bool:
    return isinstance(tree, dict) and _RESOURCE.fullmatch(str(tree.get("name"))) is not None


def receiver_of(item: Item) -> Receiver:
    """ConfigError."""
    named = _RESOURCE.fullmatch(str(item.tree.get("name")))
    region, name = (named[1], item.name(named[2])) if named is not None else ("", item.name(None))
    if REGION.fullmatch(region) is None:
        raise item.wrong("its location is no region")
    service = item.text("serviceConfig", "uri")
    second = item.text("environment") == "GEN_2" or (service is not None and ".run.app" in service)
    what = f"{'2nd' if second else '1st'}-generation function {name}, {region}"
    ingress = item.text("serviceConfig", "ingressSettings") or item.text("ingressSettings") or ""
    internal = _INGRESS.get(ingress)
    notes = () if internal is None else (INTERNAL[internal],)
    unknown: tuple[str, ...] = () if internal is None else (WITHIN,)
    other = item.text("url") or item.text("httpsTrigger", "url")
    url = (service or other) if second else (other or service)
    if url is None:
        lacking = (
            "it has no URL: an event starts it"
            if item.mapping("eventTrigger")
            else f"its URL is not told here: gcloud functions describe {name} --region={region}"
        )
        return Receiver(name, what, None, None, region=region, notes=notes, unknown=unknown, lacking=lacking)
    own = str(item.url(url, "its URL"))
    if second:
        unknown += ("its custom audiences and IAP, which `gcloud run services list --format=json` has",)
    aliases = frozenset() if other is None or other == own else frozenset({other})
    return Receiver(name, what, own, own, region=region, notes=notes, unknown=unknown, aliases=aliases)
