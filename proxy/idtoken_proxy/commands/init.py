"""`init`: a first configuration."""

from __future__ import annotations

import os

import click

from idtoken_proxy.options import completed_files


@click.command(short_help="Write a first configuration.")
@click.option(
    "--from",
    "files",
    metavar="FILE",
    multiple=True,
    shell_complete=completed_files,
    help="What gcloud lists as JSON, a service.yaml or a Compose file; - is standard input. May be repeated. Default: gcloud is "
    "asked.",
)
@click.option("--project", metavar="ID", help="The project that gcloud is asked about; default its own.")
@click.option(
    "--service-account", metavar="EMAIL", help="Whom to act as, by impersonation. Default: what doctor finds."
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    default="proxy.yaml",
    show_default=True,
    shell_complete=completed_files,
    help="Never over a file that is there; - is standard output.",
)
def init(files: tuple[str, ...], project: str | None, service_account: str | None, output: str) -> int:
    """Write a commented configuration, from a project's services and functions, a manifest, or three answers.

    \b
    idtoken-proxy init
    gcloud run services list --format=json | idtoken-proxy init --from -
    idtoken-proxy init --from services.json --from functions.json --service-account caller@my-project.iam.gserviceaccount.com

    Reads URLs, custom audiences, IAP, invoker and ingress settings and traffic tags, says what none of it tells, and ends with
    the line to run next.
    """
    from idtoken_proxy import logs  # noqa: PLC0415
    from idtoken_proxy.init.command import InitOptions  # noqa: PLC0415
    from idtoken_proxy.init.command import run as write  # noqa: PLC0415
    from idtoken_proxy.settings.model import LogSettings  # noqa: PLC0415
    from idtoken_proxy.settings.names import email  # noqa: PLC0415
    from idtoken_proxy.settings.plausible import project_objection  # noqa: PLC0415

    refused = None if project is None else project_objection(project)
    if refused is not None:
        raise click.UsageError(f"--project {refused}")
    if files and project is not None:
        raise click.UsageError(
            "--project is for gcloud, which is not asked where there is --from; leave one out"
        )
    if service_account is not None:
        try:
            email(service_account)
        except ValueError as error:
            raise click.UsageError(f"--service-account {error}") from None
    logs.configure(LogSettings(level="error"))  # the command tells what the log would
    return write(InitOptions(files, output, project, service_account), os.environ)
