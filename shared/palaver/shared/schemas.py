"""The contract for other languages: JSON Schemas and an AsyncAPI document, generated from the models."""

from typing import Any, Final, cast

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from palaver.shared import contract, names
from palaver.shared.errors import ErrorInfo
from palaver.shared.events import EVENT_TYPES, BaseEvent, Event, Resync
from palaver.shared.ids import SESSION_ID
from palaver.shared.jobs import ChatJob
from palaver.shared.messages import Message
from palaver.shared.responses import ChatResponse

VERSION: Final = f"{contract.VERSION}.0.0"
"""The version of the contract: a first number that changes breaks readers."""

NAMESPACE: Final = {"default": names.DEFAULT_NAMESPACE, "description": "PALAVER_NAMESPACE"}

_SCHEMA: Final = GenerateJsonSchema.schema_dialect
# What a producer may send is described as it is read, what a worker sends as it is written.
_DOCUMENTS: Final[dict[str, tuple[Any, JsonSchemaMode]]] = {
    "chat_job": (ChatJob, "validation"),
    "message": (Message, "validation"),
    "event": (Event, "serialization"),
    "chat_response": (ChatResponse, "serialization"),
    "error_info": (ErrorInfo, "serialization"),
}


def documents() -> dict[str, Any]:
    """All documents by file name, as JSON-able values."""
    schemas: dict[str, Any] = {
        f"{name}.schema.json": {"$schema": _SCHEMA, "$id": f"{name}.schema.json", **_schema(kind, mode)}
        for name, (kind, mode) in _DOCUMENTS.items()
    }
    return {**schemas, "asyncapi.json": asyncapi()}


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3 document: the session's channel with its events, and the task that takes whole jobs."""
    logged = {tag: kind for tag, kind in EVENT_TYPES.items() if kind is not Resync}
    messages = {tag: _message(tag, kind) for tag, kind in logged.items()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Palaver",
            "version": VERSION,
            "description": (
                "The events of chat sessions, on Redis pub/sub and in a stream per session,"
                " and the one Celery message that holds a whole job."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {"session": _session_channel(list(logged)), "submit": _submit_channel()},
        "operations": {
            "followSession": {
                "action": "send",
                "channel": {"$ref": "#/channels/session"},
                "summary": "A worker publishes the events of a session's jobs.",
            },
            "submitJob": {
                "action": "receive",
                "channel": {"$ref": "#/channels/submit"},
                "summary": "A worker takes a whole job from a Celery client in any language.",
            },
        },
        "components": {
            "messages": {**messages, "submit": _submit_message()},
            "schemas": _components(list(logged.values())),
        },
    }


def _schema(kind: Any, mode: JsonSchemaMode) -> dict[str, Any]:
    return TypeAdapter(kind).json_schema(mode=mode)


def _session_channel(tags: list[str]) -> dict[str, Any]:
    return {
        "address": "{namespace}:{{sessionId}}",
        "title": "The events of one session",
        "description": (
            "Pub/sub channel. The braces around the session id are literal. The stream at the same name"
            " followed by `:events` is the log: entry id `SEQ-0`, one field `e` with the same JSON."
            " The log is the truth, the channel wakes readers: subscribe, read the log from your cursor,"
            " then take messages whose `seq` is above the last; on a gap read the log."
        ),
        "parameters": {
            "namespace": NAMESPACE,
            "sessionId": {"description": f"matches {SESSION_ID}"},
        },
        "messages": {tag: {"$ref": f"#/components/messages/{tag}"} for tag in tags},
    }


def _submit_channel() -> dict[str, Any]:
    return {
        "address": names.queue_name(names.Queue.SUBMIT, "{namespace}"),
        "title": "Jobs from other services",
        "parameters": {"namespace": NAMESPACE},
        "description": f"A Celery queue; the task is `{names.TASK_SUBMIT}`, its one argument the job.",
        "messages": {"submit": {"$ref": "#/components/messages/submit"}},
    }


def _submit_message() -> dict[str, Any]:
    return {
        "name": names.TASK_SUBMIT,
        "title": "A whole chat job",
        "payload": {"$ref": "#/components/schemas/ChatJob"},
    }


def _message(tag: str, kind: type[BaseEvent]) -> dict[str, Any]:
    return {
        "name": tag,
        "title": (kind.__doc__ or tag).partition("\n")[0],
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
    }


def _components(events: list[type[BaseEvent]]) -> dict[str, Any]:
    template = "#/components/schemas/{model}"
    _, written = models_json_schema([(kind, "serialization") for kind in events], ref_template=template)
    _, read = models_json_schema([(ChatJob, "validation")], ref_template=template)
    return {**cast("dict[str, Any]", read["$defs"]), **cast("dict[str, Any]", written["$defs"])}
