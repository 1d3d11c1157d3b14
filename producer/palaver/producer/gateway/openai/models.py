"""`GET /v1/models`: what live workers serve, and a key allows."""

from __future__ import annotations

from typing import Literal

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

from palaver.producer.gateway.access.caller import Asking, Caller
from palaver.producer.gateway.answers import json_response
from palaver.producer.gateway.anthropic.models import document_of, page_of
from palaver.producer.gateway.faults import is_anthropic
from palaver.producer.gateway.openai.errors import OPENAI_ERRORS
from palaver.producer.gateway.routing import counted_router
from palaver.producer.gateway.state import Gateway, Served
from palaver.producer.prepare import ALIAS
from palaver.shared.plain import refuse

router = counted_router(tags=["OpenAI"], responses=OPENAI_ERRORS)


class Model(BaseModel):
    """A model, or an alias. `created` is unknown, and 0."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str


class Models(BaseModel):
    """All of them, by name."""

    object: Literal["list"] = "list"
    data: list[Model]


@router.get("/v1/models", response_model=Models)
async def list_models(request: Request, gateway: Served, caller: Asking) -> Response:
    """The models by name; of a profile that lists none, any `profile/model` may be asked for."""
    models = await _models(gateway, caller)
    if is_anthropic(request):
        return json_response(page_of([model.id for model in models]))
    return json_response(Models(data=models))


@router.get("/v1/models/{model:path}", response_model=Model)
async def show_model(request: Request, gateway: Served, caller: Asking, model: str) -> Response:
    """One of them."""
    found = next((known for known in await _models(gateway, caller) if known.id == model), None)
    if found is None:
        refuse("model", f"there is no model {model[:64]!r}")
    return json_response(document_of(found.id) if is_anthropic(request) else found)


async def _models(gateway: Gateway, caller: Caller) -> list[Model]:
    models = []
    for name, served in sorted((await gateway.client.served()).items()):
        if served.get("kind") == ALIAS:
            models.append(Model(id=name, owned_by="palaver"))
        else:
            models += [Model(id=f"{name}/{model}", owned_by=name) for model in served.get("models") or ()]
    return [model for model in models if caller.key is None or caller.key.allows([model.id])]
