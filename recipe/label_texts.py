"""Labels of recipes as they are written: YAML makes a boolean of no, a number of 007 and nothing of null."""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import yaml
from jsonargparse import get_loader

_KEY = "--data.labels"
_load_yaml = get_loader("yaml")


def quote_labels(arguments: Sequence[str]) -> list[str]:
    """A command line whose lists of --data.labels hold texts alone."""
    quoted = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if argument.startswith(f"{_KEY}="):
            argument = f"{_KEY}={_quote(argument.partition('=')[2])}"
        quoted.append(_quote(argument) if before == _KEY else argument)
    return quoted


def load_recipe_yaml(text: str) -> Any:
    """What a text in YAML holds, with data.labels as texts."""
    values, texts = _load_yaml(text), _read_texts(text)
    with suppress(KeyError, TypeError):
        if isinstance(values["data"]["labels"], list):
            values["data"]["labels"] = texts["data"]["labels"]
    return values


def _quote(text: str) -> str:
    """A list in YAML as a list of texts in JSON; any other text as it is."""
    labels = _read_texts(text)
    return json.dumps(labels, ensure_ascii=False) if isinstance(labels, list) else text


def _read_texts(text: str) -> Any:
    """What a text in YAML holds, each value as it is written; None where it is no YAML."""
    try:
        return yaml.load(text, yaml.BaseLoader)
    except yaml.YAMLError:
        return None
