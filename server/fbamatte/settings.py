"""A program's settings: one frozen dataclass, from which its flags and environment variables derive.

::

    @dataclass(frozen=True)
    class Settings:
        plate: str = positional("the plate's sequence")
        inside: float = option(6.0, "width in pixels", metavar="PX")

    add_flags(parser, Settings)
    settings = from_arguments(Settings, parser.parse_args())
"""

from __future__ import annotations

import argparse
import os
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, field, fields
from typing import Any, Literal, Optional, TypeVar, Union, get_args, get_origin

from fbamatte.errors import UsageError

Settings = TypeVar("Settings")

PREFIX = "FBAMATTE_"


def option(
    default: Any,
    help: str,  # noqa: A002 - argparse's own word for it
    *,
    metavar: Optional[str] = None,
    choices: Optional[Sequence[str]] = None,
    flags: Sequence[str] = (),
    secret: bool = False,
) -> Any:
    """Return a field that is a flag ``--its-name`` and an environment variable ``FBAMATTE_ITS_NAME``.

    ``flags`` replace the derived spelling. A ``secret`` comes from the environment alone and is kept
    out of the settings' printed form. A field typed ``tuple[...]`` may be given several times; one typed
    ``Literal[...]`` has those choices.
    """
    about = {"help": help, "metavar": metavar, "choices": choices, "flags": tuple(flags), "secret": secret}
    return field(default=default, repr=not secret, metadata=about)


def positional(help: str, metavar: Optional[str] = None) -> Any:  # noqa: A002 - argparse's own word for it
    """Return a field that is a required argument without a flag."""
    return field(metadata={"help": help, "metavar": metavar, "positional": True})


def add_flags(parser: argparse.ArgumentParser, settings: type[Any]) -> None:
    """Add an argument to ``parser`` for every field of ``settings``."""
    types = typing.get_type_hints(settings)
    for item in fields(settings):
        about = item.metadata
        if about.get("secret"):
            continue
        if about.get("positional"):
            parser.add_argument(
                item.name, help=about["help"].replace("%", "%%"), metavar=about["metavar"] or item.name.upper()
            )
            continue
        _add_flag(parser, item, types[item.name])


def _add_flag(parser: argparse.ArgumentParser, item: Field[Any], kind: Any) -> None:
    about = item.metadata
    flags = about["flags"] or ("--" + item.name.replace("_", "-"),)
    base, several = _base_type(kind)
    text = about["help"] + ("" if item.default in {None, "", (), False} else f" (default {item.default})")
    keywords: dict[str, Any] = {"dest": item.name, "default": None, "help": text.replace("%", "%%")}
    if base is bool:
        keywords["action"] = argparse.BooleanOptionalAction
    else:
        choices = about["choices"] or (get_args(kind) if get_origin(kind) is Literal else None)
        keywords.update(type=base, choices=choices, metavar=about["metavar"])
        keywords["action"] = "append" if several else "store"
    parser.add_argument(*flags, **keywords)


def from_arguments(
    settings: type[Settings], arguments: argparse.Namespace, environment: Optional[Mapping[str, str]] = None
) -> Settings:
    """Return the settings that flags give, else the environment, else the defaults.

    Raises
    ------
    UsageError
        If an environment variable's value is not of its field's type or choices.
    """
    environment = os.environ if environment is None else environment
    types = typing.get_type_hints(settings)
    values: dict[str, Any] = {}
    for item in fields(settings):  # type: ignore[arg-type]  # any dataclass
        given = getattr(arguments, item.name, None)
        if given is not None:
            values[item.name] = tuple(given) if isinstance(given, list) else given
        elif environment.get(PREFIX + item.name.upper()) and not item.metadata.get("positional"):
            values[item.name] = _from_text(item, types[item.name], environment[PREFIX + item.name.upper()])
        elif item.default is MISSING and item.default_factory is MISSING:
            raise UsageError(f"{item.name} is missing")
    return settings(**values)


def _from_text(item: Field[Any], kind: Any, text: str) -> Any:
    base, several = _base_type(kind)
    parts = text.split(",") if several else [text]
    choices = item.metadata.get("choices") or (get_args(kind) if get_origin(kind) is Literal else ())
    values = []
    for part in parts:
        if choices and part not in choices:
            raise UsageError(f"{PREFIX}{item.name.upper()}={part}: must be one of {', '.join(choices)}")
        try:
            values.append(_boolean(part) if base is bool else base(part))
        except ValueError as error:
            raise UsageError(f"{PREFIX}{item.name.upper()}={part}: not a valid {base.__name__}") from error
    return tuple(values) if several else values[0]


def _boolean(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in known:
        raise ValueError(text)
    return known[text.lower()]


def _base_type(kind: Any) -> tuple[Any, bool]:
    """Return the type of one value and whether several may be given."""
    if get_origin(kind) is Union:
        kind = next(part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is Literal:
        return str, False
    if get_origin(kind) is tuple:
        return get_args(kind)[0], True
    return kind, False
