"""What a receiver's host tells of the Google Cloud resource behind it: the names that its mending commands need.

    [TAG---]SERVICE-PROJECT_NUMBER.REGION.run.app     [TAG---]SERVICE-HASH-CODE.a.run.app
    REGION-PROJECT.cloudfunctions.net/FUNCTION

https://cloud.google.com/run/docs/triggering/https-request, https://cloud.google.com/functions/1stgendocs/calling/http.
Whatever a host does not tell is a placeholder in capitals.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, Self

RUN: Final = ".run.app"
FUNCTIONS: Final = ".cloudfunctions.net"

# The last word of a hash URL's first label. Google documents the codes' form alone ("an abbreviated code that Google
# assigns based on the region"); these are read from public services whose names are their regions.
_CODES: Final = {
    "an": "asia-northeast1",
    "as": "asia-southeast1",
    "bq": "africa-south1",
    "de": "asia-east1",
    "df": "asia-east2",
    "dt": "asia-northeast2",
    "du": "asia-northeast3",
    "el": "asia-south1",
    "em": "asia-south2",
    "et": "asia-southeast2",
    "ew": "europe-west1",
    "ey": "europe-west3",
    "ez": "europe-west4",
    "km": "australia-southeast2",
    "lm": "europe-central2",
    "lz": "europe-north1",
    "ma": "europe-north2",
    "nn": "northamerica-northeast1",
    "no": "europe-southwest1",
    "nw": "europe-west2",
    "oa": "europe-west6",
    "oc": "europe-west8",
    "od": "europe-west9",
    "oe": "europe-west10",
    "og": "europe-west12",
    "pd": "northamerica-northeast2",
    "rj": "southamerica-east1",
    "tl": "southamerica-west1",
    "ts": "australia-southeast1",
    "uc": "us-central1",
    "ue": "us-east1",
    "uk": "us-east4",
    "ul": "us-east5",
    "uw": "us-west1",
    "vp": "us-south1",
    "wl": "us-west2",
    "wm": "us-west3",
    "wn": "us-west4",
    "ww": "me-central1",
    "wx": "me-central2",
    "zf": "me-west1",
}
_BY_NUMBER: Final = re.compile(r"(.+)-(\d+)\.([a-z]+(?:-[a-z]+)+\d+)\.run\.app")
_BY_HASH: Final = re.compile(r"(.+)-[a-z0-9]+-([a-z]{2})\.a\.run\.app")
_FUNCTION: Final = re.compile(r"([a-z]+(?:-[a-z]+)+\d+)-(.+)\.cloudfunctions\.net")


@dataclass(frozen=True, slots=True)
class Resource:
    """`kind`: `run` is a Cloud Run service, `function` what has a cloudfunctions.net URL, of either generation, and
    `other` whatever stands behind a name that tells nothing. `project`: an ID, or a number.
    """

    kind: Literal["run", "function", "other"]
    name: str
    region: str = "REGION"
    project: str | None = None

    @classmethod
    def of(cls, host: str, path: str = "") -> Self:
        """`host` in lower case; `path` begins with a function's name."""
        if host.endswith(FUNCTIONS):
            found = _FUNCTION.fullmatch(host)
            name = path.strip("/").partition("/")[0] or "FUNCTION"
            return cls("function", name, found[1], found[2]) if found else cls("function", name)
        if not host.endswith(RUN):
            return cls("other", "SERVICE")
        found = _BY_NUMBER.fullmatch(host)
        if found:
            return cls("run", _untagged(found[1]), found[3], found[2])
        found = _BY_HASH.fullmatch(host)
        if found:
            return cls("run", _untagged(found[1]), _CODES.get(found[2], "REGION"))
        return cls("run", "SERVICE")

    @classmethod
    def behind(cls, audience: str) -> Self:
        """What an audience names, where it is a URL."""
        host, _, path = audience.partition("://")[2].partition("/")
        return cls.of(host.partition(":")[0].lower(), path)


def _untagged(label: str) -> str:
    return label.rpartition("---")[2]
