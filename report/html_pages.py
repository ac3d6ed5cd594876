"""Renders templates as pages that are one file each, and writes them; all include style.css."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from core.files import atomic_write

TEMPLATES = Path(__file__).parent / "templates"


def render_page(template: Path, **values: object) -> str:
    """The HTML of a template, which may include what lies beside it and here; values are escaped."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, TEMPLATES]), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template.name).render(**values)


def write_page(page: Path, template: Path, **values: object) -> None:
    """Render a template into a file, whole or not at all."""
    html = render_page(template, **values)
    with atomic_write(page) as temporary:
        temporary.write_text(html, encoding="utf-8")
