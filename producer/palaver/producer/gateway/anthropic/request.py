"""A request to Anthropic's messages as fields of a job; pure.

https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from palaver.producer.gateway.shapes import Json, list_at, object_at
from palaver.shared.plain import refuse, shape

_PARAMS: Final = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "stop_sequences": "stop",
}
_TAKEN: Final = {
    *_PARAMS,
    *("model", "messages", "system", "stream", "tools", "tool_choice", "thinking", "metadata"),
}
_MODES: Final = {"auto": "auto", "any": "required", "none": "none"}


def job_fields(body: Mapping[str, Any]) -> Json:
    """The fields of the job. Raises ValidationError; what is not known here goes to the provider as it is."""
    given = {name: value for name, value in body.items() if value is not None}
    params = {ours: given[theirs] for theirs, ours in _PARAMS.items() if theirs in given}
    if user := (given.get("metadata") or {}).get("user_id"):
        params["user"] = user
    extra = {name: value for name, value in given.items() if name not in _TAKEN}
    fields: Json = {
        "model": given.get("model"),
        "messages": list(_messages(given.get("messages"))),
        "params": {**params, "extra": extra},
    }
    if given.get("system"):
        fields["system"] = _text(given["system"], "system")
    if given.get("tools"):
        fields["tools"] = [_tool(tool, f"tools[{n}]") for n, tool in enumerate(given["tools"])]
    if "tool_choice" in given:
        fields |= _tool_choice(given["tool_choice"])
    if "thinking" in given:
        fields["reasoning"] = _thinking(given["thinking"])
    return fields


def place(param: str) -> str:
    """Where in the request a field of the job was given."""
    name = param.removeprefix("params.").removeprefix("extra.")
    return {ours: theirs for theirs, ours in _PARAMS.items()}.get(name, name)


def _messages(messages: Any) -> Iterator[Json]:
    for number, message in enumerate(list_at(messages, "messages")):
        at = f"messages[{number}]"
        role, content = object_at(message, at).get("role"), message.get("content")
        if role not in ("user", "assistant", "system"):
            refuse(f"{at}.role", f"must be user or assistant, not {shape(role)}")
        if isinstance(content, str):
            yield {"role": role, "content": content}
        else:
            blocks = [object_at(block, at) for block in list_at(content, f"{at}.content")]
            yield from _assistant(blocks) if role == "assistant" else _user(role, blocks, at)


def _assistant(blocks: Sequence[Json]) -> Iterator[Json]:
    message: Json = {
        "role": "assistant",
        "content": "".join(block.get("text", "") for block in blocks if block.get("type") == "text"),
    }
    calls = [
        {"id": block.get("id"), "name": block.get("name"), "arguments": block.get("input", {})}
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    thoughts = "".join(block.get("thinking", "") for block in blocks if block.get("type") == "thinking")
    yield {
        **message,
        **({"tool_calls": calls} if calls else {}),
        **({"reasoning": thoughts} if thoughts else {}),
    }


def _user(role: str, blocks: Sequence[Json], at: str) -> Iterator[Json]:
    """Results of tools are messages of their own, and come first: they answer the assistant's calls."""
    parts = []
    for number, block in enumerate(blocks):
        if block.get("type") == "tool_result":
            content = block.get("content") or ""
            told = _text(content, f"{at}.content[{number}].content")
            yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": told}
        else:
            parts.append(_part(block, f"{at}.content[{number}]"))
    if parts:
        yield {"role": role, "content": parts}


def _part(block: Json, at: str) -> Json:
    if block.get("type") == "text":
        return {"type": "text", "text": block.get("text")}
    if block.get("type") != "image":
        refuse(f"{at}.type", "must be text, image or tool_result")
    source = object_at(block.get("source"), f"{at}.source")
    url = source.get("url")
    if source.get("type") == "base64":
        url = f"data:{source.get('media_type')};base64,{source.get('data')}"
    return {"type": "image_url", "image_url": {"url": url}}


def _tool(tool: Any, at: str) -> Json:
    known = object_at(tool, at)
    if "input_schema" not in known:
        refuse(at, "must have an input_schema: tools that Anthropic runs itself are not offered")
    fields: Json = {"name": known.get("name"), "parameters": known["input_schema"]}
    return fields | ({"description": known["description"]} if "description" in known else {})


def _tool_choice(choice: Any) -> Json:
    known = object_at(choice, "tool_choice")
    fields: Json = {"tool_choice": _MODES.get(known.get("type", ""), "")}
    if known.get("type") == "tool":
        fields = {"tool_choice": {"mode": "function", "name": known.get("name")}}
    if not fields["tool_choice"]:
        refuse("tool_choice.type", f"must be auto, any, tool or none, not {shape(known.get('type'))}")
    if known.get("disable_parallel_tool_use"):
        fields["parallel_tool_calls"] = False
    return fields


def _thinking(thinking: Any) -> Json | bool:
    known = object_at(thinking, "thinking")
    if known.get("type") == "disabled":
        return False
    budget = known.get("budget_tokens")
    return {"enabled": True} if budget is None else {"enabled": True, "max_tokens": budget}


def _text(content: Any, at: str) -> str:
    if isinstance(content, str):
        return content
    texts = [object_at(block, at) for block in list_at(content, at)]
    if any(block.get("type") != "text" or not isinstance(block.get("text"), str) for block in texts):
        refuse(at, "must be text")
    return "".join(block["text"] for block in texts)
