"""`evogit cloud`: what trials on Cloud Run need once, before the first of them: an image, and a project that is set up.

It says and runs what `evogit.backends.cloud` finds; trials themselves are started by `evogit loop --backend cloud-run`.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.present import json_line

if TYPE_CHECKING:
    from evogit.backends.cloud.settings import Settings

BACKEND = "cloud-run"


class CloudGroup(Command, click.Group):
    """A command with commands below it, which takes the options of every command too."""


@click.group("cloud", cls=CloudGroup, invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Build the image for Cloud Run, or check what it needs once."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


_spec = click.option("--cloud-spec", metavar="FILE", default="", help="The cloud_runner.yaml; default: as [backend.cloud-run] says.")


@command.command("deploy-image", cls=Command)
@_spec
@click.option("--dry-run", is_flag=True, help="Show what would be built, and build nothing.")
@click.pass_obj
def deploy_image(invocation: Invocation, cloud_spec: str, dry_run: bool) -> None:
    """Build the image that trials run in, unless it is there already.

    It is another one as soon as its base image, its requirements, or the part of evogit in it changes, and is built by Cloud Build.
    """
    from evogit.backends.cloud import images

    settings = _settings(invocation, cloud_spec)
    if dry_run:
        images.check_buildable(settings)
        click.echo(f"# {settings.image}\n")
        click.echo(images.dockerfile(settings.spec))
        click.echo(json_line({"builds.create": images.request(settings, images.source(settings))}))
    elif images.deploy(settings, lambda line: click.echo(line, err=True)):
        click.echo(f"built {settings.image}")
    else:
        click.echo(f"nothing to do: {settings.image} is there")


@command.command("doctor", cls=Command)
@_spec
@click.option("--dry-run", is_flag=True, help="Print the gcloud commands that --fix would run, and nothing else.")
@click.option("--fix", is_flag=True, help="Run them.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a finding.")
@click.pass_obj
def doctor(invocation: Invocation, cloud_spec: str, dry_run: bool, fix: bool, as_json: bool) -> int:
    """Check what Cloud Run needs: credentials, APIs, bucket, registry, roles, GPUs, image.

    Exit code 1 if an error remains.
    """
    from evogit.backends.cloud import checks
    from evogit.cli.doctor import remaining, table, verdict

    settings = _settings(invocation, cloud_spec)
    checked = checks.examine(settings)
    if dry_run:
        for line in map(shlex.join, checks.commands_of(checked)):
            click.echo(line)
        return 0
    if fix and any(each.commands for each in checked):
        checks.mend(checked, lambda line: click.echo(line, err=True))
        checked = checks.examine(settings)
    findings = [each.finding for each in checked]
    if as_json:
        for finding in findings:
            click.echo(json_line(finding))
    else:
        page = invocation.page()
        told = verdict(findings, "`evogit cloud doctor --fix` runs the commands")
        page.echo("\n".join([*table(findings, page), "", told]))
    return 1 if remaining(findings) else 0


def _settings(invocation: Invocation, cloud_spec: str) -> Settings:
    """What the problem says about the backend, and the command line before it. Raises UserError."""
    from evogit import hiring
    from evogit.domain.options import LoopOptions

    lab = invocation.lab()
    chosen = {"spec": str(invocation.under(cloud_spec).absolute())} if cloud_spec else {}
    options = LoopOptions(backend=BACKEND, backend_options={BACKEND: chosen})
    made: Any = hiring.backend(options, lab.problem, Path(), lab.repo_top / lab.problem.folder)
    return made.settings
