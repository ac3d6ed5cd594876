"""Labels of recipes as they are written: YAML makes a boolean of no, a number of 007 and nothing of null."""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import yaml
from jsonargparse import get_loader

TEXT_KEYS = ("labels", "label_names", "label_icons", "columns")
"""Keys of section `data` whose lists and mappings hold texts alone."""
_OPTIONS = tuple(f"--data.{key}" for key in TEXT_KEYS)
_load_yaml = get_loader("yaml")


def quote_labels(arguments: Sequence[str]) -> list[str]:
    """A command line whose lists and mappings of TEXT_KEYS hold texts alone."""
    quoted = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        option, equals, value = argument.partition("=")
        if equals and option in _OPTIONS:
            argument = f"{option}={_quote(value)}"
        quoted.append(_quote(argument) if before in _OPTIONS else argument)
    return quoted


def load_recipe_yaml(text: str) -> Any:
    """What a text in YAML holds, with TEXT_KEYS as texts."""
    values, texts = _load_yaml(text), _read_texts(text)
    for key in TEXT_KEYS:
        with suppress(KeyError, TypeError):
            if isinstance(values["data"][key], list | dict):
                values["data"][key] = texts["data"][key]
    return values


def _quote(text: str) -> str:
    """A list or a mapping in YAML as one of texts in JSON; any other text as it is."""
    texts = _read_texts(text)
    return json.dumps(texts, ensure_ascii=False) if isinstance(texts, list | dict) else text


def _read_texts(text: str) -> Any:
    """What a text in YAML holds, each value as it is written; None where it is no YAML."""
    try:
        return yaml.load(text, yaml.BaseLoader)
    except yaml.YAMLError:
        return None
