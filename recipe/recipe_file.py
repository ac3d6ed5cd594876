"""Recipes in YAML, read with bounds: what aliases blow up, or is nested too deep, is refused at once."""

import re
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader

from recipe import SECTIONS

MAX_BYTES = 1 << 18
MAX_NODES = 100_000
"""Values of a file, those of an alias counted each time."""


_NULL_TAG = "tag:yaml.org,2002:null"
_load_yaml = get_loader("yaml")


class RecipeFileError(ValueError):
    """What is wrong with a recipe file, in words that follow its path."""


class _RecipeLoader(yaml.SafeLoader):
    """A loader that refuses duplicate keys, of which PyYAML keeps the last, and too many values."""

    def construct_document(self, node: yaml.Node) -> Any:
        if _count_nodes(node, {}) > MAX_NODES:
            raise RecipeFileError("its aliases stand for too many values: write them out")
        return super().construct_document(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for number, (key, _) in enumerate(node.value):
            if key.value in keys[:number]:
                raise yaml.MarkedYAMLError(None, None, f"key {key.value!r} stands there twice", key.start_mark)
        return super().construct_mapping(node, deep)


class _TextLoader(yaml.BaseLoader):
    """A loader of values as they are written, but of a key without a value as None."""


_TextLoader.add_implicit_resolver(_NULL_TAG, re.compile("$"), [""])
_TextLoader.add_constructor(_NULL_TAG, lambda *_: None)


def load_texts(text: str) -> Any:
    """What a text in YAML holds; in lists and mappings, texts.

    They are read by the types of their keys: for YAML, the labels no, 007 and null are no texts.
    """
    values = yaml.load(text, _TextLoader)
    return values if isinstance(values, list | dict) else _load_yaml(text)


def _count_nodes(node: yaml.Node, counted: dict[int, int]) -> int:
    """The values below a node; `counted` holds those of nodes, and infinitely many of one within itself."""
    if id(node) not in counted:
        counted[id(node)] = MAX_NODES + 1
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        counted[id(node)] = 1 + sum(_count_nodes(part, counted) for part in parts if isinstance(part, yaml.Node))
    return counted[id(node)]


def read_recipe_file(path: Path) -> dict[str, Any]:
    """The sections in a file. Raises RecipeFileError, and OSError."""
    if path.stat().st_size > MAX_BYTES:
        raise RecipeFileError(f"is larger than {MAX_BYTES >> 10} KiB: no recipe is")
    try:
        return parse_recipe(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise RecipeFileError(f"is not UTF-8 (byte {error.start}): save it as UTF-8") from None


def parse_recipe(text: str) -> dict[str, Any]:
    """The sections in a text. Raises RecipeFileError."""
    try:
        values = yaml.load(text, _RecipeLoader)
    except RecipeFileError as error:
        raise RecipeFileError(f"is no recipe: {error}") from None
    except RecursionError:
        raise RecipeFileError("is nested too deep: write sections, as the files in recipes/ have them") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:  # the latter for dates and keys that are none
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise RecipeFileError(f"is no YAML ({problem or error}{line})") from None
    if not isinstance(values, dict):
        raise RecipeFileError("holds no keys: write sections, as the files in recipes/ have them")
    for name, section in values.items():
        if name in SECTIONS and not isinstance(section, dict):
            raise RecipeFileError(f"has {section!r:.40} for section {name}: write its keys below it, or leave it out")
    if "recipe" in values:
        raise RecipeFileError("has the key recipe: a recipe names no other, give --recipe twice")
    return values
