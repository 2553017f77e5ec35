"""Write one page for each verb of ``galaxy-da``, from its own help."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer
from sphinx.application import Sphinx

from galaxy_da import cli
from generators import write_page

__all__ = ["setup"]


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before the build."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True}


def _write(app: Sphinx) -> None:
    group: Any = typer.main.get_command(cli._shell)
    context = typer.Context(group)
    parts = []
    for section, names in cli.SECTIONS.items():
        commands = {name: group.get_command(context, name) for name in names}
        known = {name: command for name, command in commands.items() if command}
        rows = [
            f"| [`{name}`](verbs/{name}.md) | {command.get_short_help_str(200)} |"
            for name, command in known.items()
        ]
        parts.append("\n".join([f"## {section}", "", "| verb | does |", "|---|---|", *rows]))
        for name, command in known.items():
            write_page(f"verbs/{name}.md", _page(name, command))
    names = [name for names in cli.SECTIONS.values() for name in names]
    tree = "\n".join(["```{toctree}", ":hidden:", *(f"verbs/{name}" for name in names), "```"])
    write_page("verbs.md", "\n\n".join([_INTRODUCTION, *parts, tree]) + "\n")


_INTRODUCTION = """\
# Commands

Every job of the library is a verb of `galaxy-da`. These pages are made from its `--help`.

- Results go to stdout: a table for people, or one JSON object with `--json`. Progress goes to
  stderr.
- Paths may be [URLs of an object store](../howto/object-stores.md), where a verb does not say
  otherwise.
- The exit status is 0; 1 where no row could be used, with the reasons counted; 2 for a mistake,
  with one line that says what to do; 130 after an interrupt. The same command then goes on."""


def _page(name: str, command: Any) -> str:
    verbs = getattr(command, "commands", None)
    if verbs is None:
        return f"# {name}\n\n{_description(f'galaxy-da {name}', command)}\n"
    parts = [f"# {name}\n\n{command.help}"]
    for number, (verb, child) in enumerate(verbs.items()):
        line = f"galaxy-da {name}" if number == 0 else f"galaxy-da {name} {verb}"
        parts.append(f"## {line.removeprefix('galaxy-da ')}\n\n{_description(line, child)}")
    return "\n\n".join(parts) + "\n"


def _description(line: str, command: Any) -> str:
    """Return the text, the examples and the tables of a verb's arguments and options."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n")]
    examples = [text.partition(":")[2].strip() for text in paragraphs if text.startswith("Example")]
    prose = [text for text in paragraphs if not text.startswith("Example")]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    usage = " ".join([line, *(_argument(p) for p in arguments), "[OPTIONS]"])
    parts = ["\n\n".join(prose), _block([usage])]
    if examples:
        parts += ["Example:" if len(examples) == 1 else "Examples:", _block(examples)]
    for title, parameters in (("argument", arguments), ("option", options)):
        if parameters:
            rows = [f"| {_name(p)} | {_help(p)} |" for p in parameters]
            parts.append("\n".join([f"| {title} | |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def _block(lines: list[str]) -> str:
    return "\n".join(["```console", *lines, "```"])


def _argument(parameter: Any) -> str:
    name = parameter.name.upper() + ("..." if parameter.nargs != 1 else "")
    return name if parameter.required else f"[{name}]"


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    flags = [f"`{flag}`" for flag in (*parameter.opts, *parameter.secondary_opts)]
    return " / ".join(flags)


def _help(parameter: Any) -> str:
    text = " ".join((getattr(parameter, "help", None) or "").split())
    shown = re.sub(r"([|<>*_\[\]])", r"\\\1", text)
    facts = "; ".join(_facts(parameter))
    return f"{shown} ({facts})" if facts else shown


def _facts(parameter: Any) -> Iterator[str]:
    """Yield what the help prints in brackets: required, default."""
    if parameter.required and parameter.param_type_name == "option":
        yield "**required**"
    default = parameter.default
    if default is not None and not callable(default) and default != () and default is not False:
        if isinstance(default, (str, int, float)) and not isinstance(default, bool):
            yield f"default `{default}`"
        elif default is True:
            yield f"default `{parameter.opts[0]}`"
