"""Owns docs/reference/: it writes those pages from the command line and the settings themselves.

`python -m docs.generate` writes them; with `--check` it only says which are out of date.
"""

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import server.cli
from docs.metrics_page import metrics_page
from server.cli import commands
from server.settings import (
    DEFAULT_FILE,
    ENV_PREFIX,
    AdmissionSettings,
    ConnectionSettings,
    LimitSettings,
    Settings,
)

TABLES = {
    "connection": ("Each connection", ConnectionSettings),
    "admission": ("Who is let in", AdmissionSettings),
    "limits": ("What a connection may do", LimitSettings),
}
SECRETS = [field.name for field in fields(Settings) if not field.repr]
FOLDER = Path(__file__).parent / "reference"
COMMANDS = (
    "serve",
    "check",
    "routes",
    "status",
    "connections",
    "disconnect",
    "rooms",
    "publish",
    "reload",
    "drain",
)
NOTICE = "<!-- Written by docs/generate.py: change the code it reads, then run `make docs`. -->\n"

SETTINGS_HEAD = f"""\
# Settings

What `python -m server serve` and `check` can be told ([command line](cli.md)). Each setting has
four sources; the first that has it wins:

1. the flag,
2. the environment variable `{ENV_PREFIX}...`,
3. the TOML file: the one after `--config`, else `{DEFAULT_FILE}` in the working directory,
4. the default.

`check` prints what is in force. A setting that does not exist, or a value out of range, ends the
command with exit code 2 and one line that says which.
"""

SETTINGS_TAIL = """\
## As a file

```toml
workers = 2
backlog = 8192
log_level = "warning"

[connection]
send_timeout_s = 10.0
```

```sh
SWITCHBOARD_WORKERS=1 python -m server check --port 0 --connection.send-timeout-s 10
```

What an app decides for itself, such as `max_message_size`, is an argument of `App` and of its
routes, not a setting: see the [guide](../guide/websockets.md). Limits are both: what is set here
stands in place of what `App` says ([limits](../topics/limits.md)).
"""

CLI_TAIL = """\
## Exit codes

{exit_codes}
An error is one line on stderr:

<!-- test: exits 2 -->
```sh
python -m server check nothing:app --port 0
```

```text
switchboard: error: cannot import 'nothing': there is no module 'nothing' in ...
```
"""


def pages() -> dict[Path, str]:
    """Return the text of each generated page."""
    return {
        FOLDER / "settings.md": settings_page(),
        FOLDER / "cli.md": cli_page(),
        FOLDER / "metrics.md": f"{NOTICE}\n{metrics_page(table)}",
    }


def settings_page() -> str:
    """Return the page of all settings."""
    arguments = [
        argument
        for argument in commands["serve"].assemble_argument_collection()
        if argument.show and argument.keys
    ]
    own = [argument for argument in arguments if len(argument.keys) == 1]
    sections = [f"## The server\n\n{_setting_table(own, Settings)}"]
    for name, (title, kind) in TABLES.items():
        of_table = [argument for argument in arguments if argument.keys[0] == name]
        head = f"## {title}\n\nThey are the table `[{name}]` of the file.\n\n"
        sections.append(head + _setting_table(of_table, kind))
    known = {field.name for field in fields(Settings)}
    assert {argument.keys[0] for argument in arguments} <= known, "a setting has no section"
    return "\n".join([NOTICE, SETTINGS_HEAD, *sections, SETTINGS_TAIL])


def _setting_table(arguments: list[Any], kind: type) -> str:
    about = attributes(kind)
    rows = [_setting_row(argument, about[argument.keys[-1]]) for argument in arguments]
    return table(SETTING_COLUMNS, rows)


SETTING_COLUMNS = ("setting", "what it is", "default", "values", "flag, environment variable")


def _setting_row(argument: Any, about: str) -> tuple[str, ...]:
    # A default that depends on the machine is said in words at the end of its line.
    about = about.removesuffix(".").replace("; the app's: ", "; default: the app's, ")
    text, _, default = about.partition("; default: ")
    variable = ENV_PREFIX + "_".join(argument.keys).upper()
    return (
        f"`{argument.keys[-1]}`",
        f"{text}.",
        default or f"`{argument.field_info.default}`",
        _values(argument),
        # A flag that is refused is none.
        f"`{variable}`" if argument.keys[-1] in SECRETS else f"`{argument.name}` `{variable}`",
    )


def _values(argument: Any) -> str:
    choices = [hint for hint in (argument.hint, *get_args(argument.hint)) if _is_choice(hint)]
    if choices:
        return ", ".join(f"`{value}`" for value in get_args(choices[0]))
    for number in argument.parameter.validator:
        if number.lte is None:
            return f"over {number.gt}" if number.gte is None else f"{number.gte} or more"
        return f"{f'over {number.gt}' if number.gte is None else number.gte} to {number.lte}"
    return "text"


def _is_choice(hint: Any) -> bool:
    return get_origin(hint) is Literal


def attributes(kind: type) -> dict[str, str]:
    """Return what the docstring of a class says about each of its attributes."""
    _, _, section = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    joined = re.sub(r"\n {8,}", " ", section)
    return dict(re.findall(r"^ {4}(\w+): (.*)$", joined, re.MULTILINE))


def cli_page() -> str:
    """Return the page of all commands."""
    parts = [NOTICE, "# Command line\n", f"{commands.help.strip()}\n"]
    for name in COMMANDS:
        command = commands[name]
        arguments = list(command.assemble_argument_collection())
        usage = f"`python -m server {name} [{'] ['.join(_usage(arguments))}]`"
        parts.append(f"## {name}\n\n{command.help}\n\n{usage}\n")
        rows = [_argument_row(argument) for argument in arguments if _is_own(argument)]
        parts.append(table(("argument", "what it is", "default"), rows))
        if any(argument.keys for argument in arguments):
            parts.append("All [settings](settings.md) are flags of this command.\n")
    listed = re.findall(r"(\d) ([^,.]+)", re.split("Exit codes:", server.cli.__doc__ or "")[1])
    exit_codes = table(("code", "meaning"), [(f"`{code}`", text) for code, text in listed])
    return "\n".join([*parts, CLI_TAIL.format(exit_codes=exit_codes)])


def _usage(arguments: list[Any]) -> Iterator[str]:
    yield from (argument.name for argument in arguments if _is_own(argument))
    if any(argument.keys for argument in arguments):
        yield "SETTINGS"


def _is_own(argument: Any) -> bool:
    return bool(argument.show and not argument.keys)


def _argument_row(argument: Any) -> tuple[str, ...]:
    info = argument.field_info
    default = "it is required" if argument.required else f"`{info.default}`"
    return f"`{argument.name}`", str(argument.parameter.help), default


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` compare them; returns the exit code."""
    is_check = arguments == ["--check"]
    stale = [
        path for path, text in pages().items() if not path.is_file() or path.read_text() != text
    ]
    for path in stale:
        if is_check:
            sys.stderr.write(f"error: {path.name} is out of date; run: make docs\n")
        else:
            path.write_text(pages()[path])
    return int(is_check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
