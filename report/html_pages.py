"""Renders templates as pages that are one file each; all include style.css."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader

TEMPLATES = Path(__file__).parent / "templates"


def render_page(template: Path, **values: object) -> str:
    """The HTML of a template, which may include what lies beside it and here; values are escaped."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, TEMPLATES]), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template.name).render(**values)
