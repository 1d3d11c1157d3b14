"""Flower's templates, with ours beside them, and a link to our page in its navigation."""

from pathlib import Path
from typing import Any, Final

from tornado.template import Loader, Template

__all__ = ["Templates"]

HERE: Final = Path(__file__).parent
NAVIGATION: Final = "navbar.html"
BROKER: Final = """<a class="nav-link{% if active_tab == 'broker' %} active{% end %}"""
"""The last link of Flower's navigation begins so; ours goes before it."""
LINK: Final = """<a class="nav-link{% if active_tab == 'streams' %} active{% end %}"
            href="{{ reverse_url('streams') }}">Streams</a>
        </li>
        <li class="nav-item">
          """


class Templates(Loader):
    """A template of ours comes before one of Flower's of the same name."""

    def _create_template(self, name: str) -> Template:
        ours = HERE / name
        source = (ours if ours.is_file() else Path(self.root, name)).read_text(encoding="utf-8")
        if name == NAVIGATION:
            source = source.replace(BROKER, LINK + BROKER, 1)
        return Template(source, name=name, loader=self)


def templates_beside(settings: dict[str, Any]) -> Templates:
    """For Flower's settings."""
    return Templates(settings["template_path"])
