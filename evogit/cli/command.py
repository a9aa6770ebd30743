"""The kinds of command there are: any (`Command`), and those that run trials (`WorkCommand`). What they do is in their own modules."""

from __future__ import annotations

from typing import Any

import click

from evogit.cli.invocation import Invocation

EVERYWHERE = "Before or after any command: --tag TAG, --problem DIR, -C DIR, --no-color, --no-pager, --debug (see `evogit --help`)."


def _store(field: str) -> Any:
    def store(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        if value is not None:
            setattr(ctx.find_root().ensure_object(Invocation), field, value)

    return store


def _tags(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    from evogit.cli import complete  # only Tab asks for it

    return complete.tags(ctx, param, incomplete)


def everywhere(*, hidden: bool) -> list[click.Option]:
    """The options that every command takes. They are kept in the Invocation and never reach a command's function."""
    shared: dict[str, Any] = {"expose_value": False, "hidden": hidden, "default": None}
    flag: dict[str, Any] = {**shared, "is_flag": True}
    return [
        click.Option(
            ["--tag"],
            metavar="TAG",
            help="The campaign; default: the current branch's.",
            callback=_store("tag"),
            shell_complete=_tags,
            **shared,
        ),
        click.Option(["--problem"], metavar="DIR", help="The problem's folder.", callback=_store("problem"), **shared),
        click.Option(["-C", "directory"], metavar="DIR", help="Work as if started in DIR.", callback=_store("directory"), **shared),
        click.Option(["--no-color", "colour"], flag_value=False, help="Plain text (also: NO_COLOR=1).", callback=_store("colour"), **flag),
        click.Option(
            ["--no-pager", "paged"], flag_value=False, help="Print long text as it is, through no pager.", callback=_store("paged"), **flag
        ),
        click.Option(["--debug"], flag_value=True, help="Show the trace of an error.", callback=_store("debug"), **flag),
    ]


class Command(click.Command):
    """A command that also takes the options of every command, wherever they stand."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(everywhere(hidden=True))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        formatter.write_paragraph()
        formatter.write_text(EVERYWHERE)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as fault:  # click does not say where an option lacks its value
            fault.ctx = fault.ctx or ctx
            raise


class WorkCommand(Command):
    """A command that runs trials: what stands behind `--` belongs to the problem's command, kept in `Invocation.after`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        after: tuple[str, ...] = ()
        if "--" in args:
            at = args.index("--")
            args, after = args[:at], tuple(args[at + 1 :])
        ctx.find_root().ensure_object(Invocation).after = after
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENTS]"]
