"""Templates into pages, each one file that needs no other; style.css, which they include, is how all of them look."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader

TEMPLATES = Path(__file__).parent / "templates"


def render_page(template: Path, **values: object) -> str:
    """The HTML of a template, which may include what lies beside it and here; values are escaped."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, TEMPLATES]), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template.name).render(**values)
