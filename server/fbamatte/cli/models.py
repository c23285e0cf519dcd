"""``fbamatte models``: which estimators there are, and may they be used commercially."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fbamatte.errors import FbaMatteError

if TYPE_CHECKING:
    from fbamatte.models.base import ModelInfo


def add_parser(verbs: Any) -> None:
    """Add the verb to the command."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "models",
        help="list, import or verify models",
        description="Models by name, with their licences. Imported ones are in $FBAMATTE_MODELS, "
        "else in the user's data folder.",
    )
    parser.add_argument("--json", action="store_true", help="the answer as JSON on standard output")
    parser.set_defaults(run=run, action="list")
    actions = parser.add_subparsers(dest="action", metavar="list|import|verify")
    quiet = argparse.ArgumentParser(add_help=False)
    # SUPPRESS: the flag counts before the action as well as after it
    quiet.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    actions.add_parser("list", parents=[quiet], help="what there is (the default)")
    taken = actions.add_parser("import", parents=[quiet], help="convert a .pth and add it")
    taken.add_argument("file", metavar="FILE", help="the authors' FBA.pth, or a .safetensors")
    taken.add_argument("--name", default="", help="what to call it (default: as the file, in lower case)")
    checked = actions.add_parser("verify", parents=[quiet], help="read a model whole and check its hash")
    checked.add_argument("name", metavar="NAME", help="a model's name or file")


def run(options: argparse.Namespace) -> int:
    """List, import or verify; 2 where a model is not what it says."""
    return {"list": _list, "import": _import, "verify": _verify, None: _list}[options.action](options)


def _list(options: argparse.Namespace) -> int:
    from fbamatte.models import registry
    from fbamatte.models.folder import models_folder

    rows = [_described(name) for name in registry.names()]
    if options.json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return 0
    _print_table(rows)
    print(f"\nimported models are in {models_folder()}")
    return 0


def _import(options: argparse.Namespace) -> int:
    from fbamatte.models import registry
    from fbamatte.models.checkpoint import import_checkpoint
    from fbamatte.models.folder import models_folder

    path = import_checkpoint(options.file, models_folder(), name=options.name)
    info = registry.describe(path)
    if options.json:
        print(json.dumps({**_row(info), "path": str(path)}, ensure_ascii=False, indent=2))
        return 0
    print(f"{options.file} is now model {info.name}: {path}")
    print(f"licence: {info.licence}")
    print(f"SHA-256 of the weights: {info.sha256}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from fbamatte.models import registry

    info = registry.describe(options.name)
    if info.sha256:
        from fbamatte.models.card import recognises_refinement
        from fbamatte.models.checkpoint import load_checkpoint
        from fbamatte.models.refinement import load

        path = registry.path_of(options.name)
        load(path) if recognises_refinement(path) else load_checkpoint(path)
    if options.json:
        print(json.dumps({**_row(info), "verified": True}, ensure_ascii=False, indent=2))
        return 0
    weights = f"weights of SHA-256 {info.sha256} are as recorded" if info.sha256 else "no weights to check"
    print(f"{info.name}: {weights}; licence: {info.licence}")
    return 0


def _described(name: str) -> dict[str, Any]:
    from fbamatte.models import registry

    try:
        return _row(registry.describe(name), default=name == registry.DEFAULT)
    except FbaMatteError as error:  # a broken file must not hide the others
        return {"name": name, "error": str(error)}


def _row(info: ModelInfo, **more: Any) -> dict[str, Any]:
    return {**asdict(info), **more}


def _print_table(rows: list[dict[str, Any]]) -> None:
    table = [("NAME", "COMMERCIAL USE", "HASH", "LICENCE", "TITLE")]
    for row in rows:
        if "error" in row:
            table.append((row["name"], "-", "-", "-", f"cannot be used: {row['error']}"))
            continue
        name = f"{row['name']} (default)" if row["default"] else row["name"]
        commercial = "yes" if row["commercial"] else "NO"
        table.append((name, commercial, row["sha256"][:12] or "-", row["licence"], row["title"]))
    widths = [max(len(line[column]) for line in table) for column in range(4)]
    for line in table:
        print("  ".join([*(text.ljust(width) for text, width in zip(line, widths)), line[4]]))
