"""The one command line: `myopia COMMAND`, or `python -m myopia COMMAND`.

Commands for people: run, gap, verify, influence, plan, watch, cost, settings. The others are what the workflow's rules call, a
command each, and can be called by hand. Every command imports what it needs when it runs: `myopia plan` loads no torch,
`myopia draw` no training code.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable

import typer

from myopia.cli import data, people, results, run, training
from myopia.common.errors import EXIT_BAD_INPUT, MyopiaError
from myopia.config.experiment import Experiment, experiment, known

USAGE = next(each for each in typer.BadParameter.__mro__ if each.__name__ == "ClickException")
"""What a wrong word on the command line raises: Click's, or that of the Click which newer typers bring with them."""


def build() -> typer.Typer:
    """The whole command line; experiments add the commands their own rules call."""
    app = typer.Typer(
        help=__doc__.split("\n\n")[0].strip(),
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    own = [experiment(name) for name in known()]
    run.add_to(app, people.PEOPLE)
    _add(app, own, "verbs", people.PEOPLE)
    for module in (people, training, data, results):
        module.add_to(app)
    _add(app, own, "commands", "What the workflow's rules call: an experiment's own")
    return app


def _add(app: typer.Typer, experiments: Iterable[Experiment], kind: str, panel: str) -> None:
    for one in experiments:
        for command, reference in getattr(one, kind).items():
            app.command(command, rich_help_panel=panel)(one.load(reference))


def main() -> None:
    """Run a command; bad input ends in one line on stderr and exit code 2, not in a traceback."""
    try:
        code = build()(standalone_mode=False)
    except MyopiaError as error:
        logging.getLogger().error("error: %s", error)
        code = EXIT_BAD_INPUT
    except USAGE as error:
        error.show()
        code = EXIT_BAD_INPUT
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except Exception:
        logging.getLogger().exception("unexpected error")  # into the log file, too
        code = 1
    sys.exit(code or 0)
