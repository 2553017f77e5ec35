"""Commands that the pages show name verbs, arguments and options that exist."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from galaxy_da import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "docs/start/path.sh"]
PAGES += sorted(
    path
    for part in ("start", "howto", "reference", "measured")
    for path in (ROOT / "docs" / part).glob("*.md")
)
GROUP = typer.main.get_command(cli._shell)


def shown_commands(text):
    """Yield what a page shows after ``galaxy-da``, in blocks and in lines of code."""
    text = text.replace("\\\n", " ")
    blocks = re.findall(r"^(?:    |\[.*?\|\| )?galaxy-da (.+)$", text, re.MULTILINE)
    for command in [*blocks, *re.findall(r"`galaxy-da ([^`]+)`", text)]:
        yield re.split(r"\s#|\s\||[<>&;]\s|\\n", command)[0].strip()


def parse(words):
    """Parse the words of a command as the shell would, without running it."""
    command, context = GROUP, typer.Context(GROUP, info_name="galaxy-da")
    while hasattr(command, "resolve_command"):
        command.parse_args(context, list(words))
        name, command, words = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        context = typer.Context(command, info_name=name, parent=context)
    _, left, _ = command.make_parser(context).parse_args(list(words))
    if left:
        context.fail(f"unexpected {left}")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_shown_commands_parse(page):
    for command in shown_commands(page.read_text(encoding="utf-8")):
        words = shlex.split(command.replace("...", ""))
        if words and not words[0].startswith(("-", "[")):
            parse(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["similar", "index", "--no-such", "1"], "--no-such"),
        (["similar", "index", "two"], "two"),
        (["neighbors", "index"], "neighbors"),
    ],
)
def test_what_does_not_exist_is_found(words, message):
    with pytest.raises(Exception, match=message):
        parse(words)
