"""What workers serve to the tests of the page: an agent with a widget, and a tool."""

from typing import Any

from palaver.workers.agents import ResponseStream, display_widget, path
from palaver.workers.generation import tool


@tool
async def price(item: str) -> float:
    """What an item costs."""
    return {"tea": 4.5}[item]


class Kettle:
    """Says something, shows something, and says more."""

    async def get_response(self, message: str, session_context: dict[str, Any], **kwargs: Any) -> None:
        with ResponseStream() as stream:
            stream.start({})
            stream.write("Before. ")
            display_widget("table", {"title": "Teas", "columns": ["tea", "price"], "rows": [["green", 4.5]]})
            display_widget("weather", {"title": "Ulm", "degrees": 21, "sky": "<b>clear</b>"})
            stream.write("After.")


chat_urlpatterns = [path("kettle/", Kettle)]
