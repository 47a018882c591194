"""gcloud, as it is called: what it prints, and every way in which it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from idtoken_proxy.init.gcloud_lists import gcloud_lists

SCRIPT = "#!/bin/sh\n{}\n"


@pytest.fixture
def gcloud(tmp_path: Path) -> Path:
    return tmp_path / "gcloud"


def installed(gcloud: Path, does: str) -> dict[str, str]:
    gcloud.write_text(SCRIPT.format(does))
    gcloud.chmod(0o755)
    return {"PATH": f"{gcloud.parent}:/usr/bin:/bin"}


def test_both_lists_of_a_project(gcloud: Path) -> None:
    environ = installed(gcloud, 'echo "$* $CLOUDSDK_CORE_DISABLE_PROMPTS"')
    printed, failed = gcloud_lists("my-project", environ)
    assert failed == []
    assert printed == [
        (
            "gcloud run services list --project=my-project --format=json",
            b"run services list --project=my-project --format=json 1\n",
        ),
        (
            "gcloud functions list --project=my-project --format=json",
            b"functions list --project=my-project --format=json 1\n",
        ),
    ]


def test_one_that_fails_does_not_cost_the_other_and_its_words_are_not_repeated(gcloud: Path) -> None:
    environ = installed(gcloud, 'if [ $1 = functions ]; then echo "\033[2Jsecret" >&2; exit 3; fi; echo "[]"')
    printed, failed = gcloud_lists(None, environ)
    assert [content for _, content in printed] == [b"[]\n"]
    [error] = failed
    assert error.detail == "gcloud functions list --format=json: exit code 3"
    assert "secret" not in f"{error.detail} {error.remedy}"


def test_what_does_not_end_or_is_not_there(gcloud: Path) -> None:
    environ = installed(gcloud, "sleep 60")
    _, failed = gcloud_lists(None, environ, 0.05)
    assert ["no answer within" in error.detail for error in failed] == [True, True]
    _, failed = gcloud_lists(None, {"PATH": "/nowhere"})
    assert [error.remedy for error in failed] == ["Install it, or pass --from FILE"] * 2
