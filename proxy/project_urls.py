"""Where the project is at home, as the build finds it: the tree itself is good wherever it is kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from hatchling.metadata.plugin.interface import MetadataHookInterface

# https://docs.github.com/actions/reference/workflows-and-actions/variables#default-environment-variables
_SERVER: Final = "GITHUB_SERVER_URL"
_REPOSITORY: Final = "GITHUB_REPOSITORY"
# Labels that PyPI gives an icon: https://packaging.python.org/en/latest/specifications/well-known-project-urls/.
_PAGES: Final = {
    "Homepage": "",
    "Documentation": "/tree/main/docs",
    "Source": "",
    "Issues": "/issues",
    "Changelog": "/blob/main/CHANGELOG.md",
}


class ProjectUrls(MetadataHookInterface):
    """A build of GitHub's, and so each release, names the pages of the repository that it was built from."""

    def update(self, metadata: dict[str, Any]) -> None:
        metadata["urls"] = urls(os.environ)


def urls(environ: Mapping[str, str]) -> dict[str, str]:
    """By label; none where no repository is known, rather than somebody else's."""
    server, repository = environ.get(_SERVER), environ.get(_REPOSITORY)
    if not server or not repository:
        return {}
    return {label: f"{server}/{repository}{path}" for label, path in _PAGES.items()}
