"""A request to Anthropic's messages as fields of a job; pure.

https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from palaver.producer.gateway.anthropic.body import (
    AnyBlock,
    Block,
    DocumentBlock,
    ImageBlock,
    MessagesRequest,
    Prompt,
    RedactedThinkingBlock,
    Shown,
    TextBlock,
    TextSource,
    ThinkingBlock,
    Tool,
    ToolChoice,
    ToolResultBlock,
    ToolUseBlock,
    Turn,
)
from palaver.producer.gateway.shapes import Json
from palaver.shared.plain import refuse

LEAST_BUDGET: Final = 1024
"""Tokens to think with."""

_PARAMS: Final = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "stop_sequences": "stop",
}
_EXTRA: Final = "params.extra."
_MODES: Final = {"auto": "auto", "any": "required", "none": "none"}


def job_fields(body: MessagesRequest) -> Json:
    """The fields of the job. Raises ValidationError; what is not known here goes to the provider as it is."""
    given = {ours: getattr(body, theirs) for theirs, ours in _PARAMS.items()}
    params: Json = {name: value for name, value in given.items() if value not in (None, [])}
    if body.metadata is not None and body.metadata.user_id:
        params["user"] = body.metadata.user_id
    fields = prompt_fields(body)
    if body.thinking is not None:
        fields["reasoning"] = _thinking(body)
    return {**fields, "params": {**params, "extra": body.others}}


def prompt_fields(body: Prompt) -> Json:
    """Those of them that a model is told. Raises ValidationError."""
    system, messages = _system(body), list(_messages(body.messages))
    fields: Json = {"model": body.model, "messages": messages}
    if isinstance(system, str):
        fields["system"] = system
    elif system:
        messages.insert(0, {"role": "system", "content": system})
    if body.tools:
        fields["tools"] = [_tool(tool, f"tools[{number}]") for number, tool in enumerate(body.tools)]
    if body.tool_choice is not None:
        fields |= _tool_choice(body.tool_choice)
    return fields


def place(param: str) -> str:
    """Where in the request a field of the job was given."""
    if param.startswith(_EXTRA):
        return param.removeprefix(_EXTRA)
    name = param.removeprefix("params.")
    return {ours: theirs for theirs, ours in _PARAMS.items()}.get(name, name)


def _system(body: Prompt) -> str | list[Json] | None:
    """As text; only where a part of it is to be cached as the parts that it is made of."""
    if body.system is None or isinstance(body.system, str):
        return body.system or None
    if any(block.cache_control for block in body.system):
        return [_text_part(block) for block in body.system]
    return "".join(block.text for block in body.system) or None


def _messages(turns: Sequence[Turn]) -> Iterator[Json]:
    for number, turn in enumerate(turns):
        at = f"messages[{number}].content"
        if isinstance(turn.content, str):
            if turn.role == "user" and not turn.content.strip():
                refuse(at, "must not be empty")
            yield {"role": turn.role, "content": turn.content}
        elif turn.role == "assistant":
            yield _assistant(turn.content, at)
        else:
            yield from _user(turn.role, turn.content, at)


def _assistant(blocks: Sequence[AnyBlock], at: str) -> Json:
    """An answer. Thinking that nobody has signed is told to models, but is no block that a provider takes."""
    text: list[str] = []
    thoughts: list[str] = []
    signed: list[Json] = []
    calls: list[Json] = []
    for number, block in enumerate(blocks):
        if isinstance(block, TextBlock):
            text.append(block.text)
        elif isinstance(block, ToolUseBlock):
            calls.append({"id": block.id, "name": block.name, "arguments": block.input})
        elif isinstance(block, ThinkingBlock):
            thoughts.append(block.thinking)
            signed += [block.model_dump()] if block.signature else []
        elif isinstance(block, RedactedThinkingBlock):
            signed.append(block.model_dump())
        else:
            refuse(f"{at}[{number}].type", "must not be in an assistant's message")
    message: Json = {"role": "assistant", "content": "".join(text), **_mark(blocks)}
    more: Json = {"tool_calls": calls, "reasoning": "".join(thoughts), "thinking_blocks": signed}
    return message | {name: value for name, value in more.items() if value}


def _user(role: str, blocks: Sequence[AnyBlock], at: str) -> Iterator[Json]:
    """Results of tools are messages of their own, and come first: they answer the assistant's calls."""
    parts: list[Json] = []
    if not blocks:
        refuse(at, "must not be empty")
    for number, block in enumerate(blocks):
        if isinstance(block, ToolResultBlock):
            yield _result(block, f"{at}[{number}].content")
        elif isinstance(block, TextBlock) and not block.text.strip():
            refuse(f"{at}[{number}].text", "must not be empty")
        elif isinstance(block, TextBlock | ImageBlock | DocumentBlock):
            parts += _parts(block, f"{at}[{number}]")
        else:
            refuse(f"{at}[{number}].type", f"must not be in a message of the {role}'s")
    if parts:
        yield {"role": role, "content": parts}


def _result(block: ToolResultBlock, at: str) -> Json:
    content: Any = block.content or ""
    if not isinstance(content, str):
        content = [part for n, shown in enumerate(content) for part in _parts(shown, f"{at}[{n}]")]
        if all(part.keys() == {"type", "text"} for part in content):  # which every provider takes
            content = "".join(part["text"] for part in content)
    result: Json = {"role": "tool", "tool_call_id": block.tool_use_id, "content": content}
    if block.is_error:
        result["metadata"] = {"is_error": True}
    return result | _mark([block])


def _parts(block: Shown, at: str) -> list[Json]:
    if isinstance(block, TextBlock):
        return [_text_part(block)]
    if isinstance(block, ImageBlock):
        return [_image_part(block)]
    return _document(block, at)


def _text_part(block: TextBlock) -> Json:
    return {"type": "text", "text": block.text, **_mark([block])}


def _image_part(block: ImageBlock) -> Json:
    return {"type": "image_url", "image_url": {"url": block.source.url}, **_mark([block])}


def _document(block: DocumentBlock, at: str) -> list[Json]:
    """A document as the text and images that it is made of, behind its title."""
    if (block.citations or {}).get("enabled"):
        refuse(f"{at}.citations", "are not offered")
    parts = [{"type": "text", "text": told} for told in (block.title, block.context) if told]
    source = block.source
    if isinstance(source, TextSource):
        parts.append({"type": "text", "text": source.data})
    elif isinstance(source.content, str):
        parts.append({"type": "text", "text": source.content})
    else:
        parts += [part for shown in source.content for part in _parts(shown, at)]
    if not parts:
        refuse(f"{at}.source", "must not be empty")
    parts[-1] |= _mark([block])
    return parts


def _mark(blocks: Sequence[Any]) -> Json:
    """`cache_control`, if one of these blocks has it: the last one's."""
    marks = [block.cache_control for block in blocks if isinstance(block, Block) and block.cache_control]
    return {"cache_control": marks[-1]} if marks else {}


def _tool(tool: Tool, at: str) -> Json:
    if tool.input_schema is None or tool.type not in (None, "custom"):
        refuse(at, "must have an input_schema: tools that Anthropic runs itself are not offered")
    fields: Json = {"name": tool.name, "parameters": tool.input_schema}
    more = {"description": tool.description, "strict": tool.strict, "cache_control": tool.cache_control}
    return fields | {name: value for name, value in more.items() if value is not None}


def _tool_choice(choice: ToolChoice) -> Json:
    if choice.type == "tool":
        if not choice.name:
            refuse("tool_choice.name", "is required: which tool?")
        fields: Json = {"tool_choice": {"mode": "function", "name": choice.name}}
    else:
        fields = {"tool_choice": _MODES[choice.type]}
    if choice.disable_parallel_tool_use:
        fields["parallel_tool_calls"] = False
    return fields


def _thinking(body: MessagesRequest) -> Json | bool:
    """The budget is a part of `max_tokens`, as Anthropic counts them."""
    thinking = body.thinking
    if thinking is None or thinking.type == "disabled":
        return False
    budget = thinking.budget_tokens
    if thinking.type == "adaptive" or budget is None:
        if thinking.type == "enabled":
            refuse("thinking.budget_tokens", "is required")
        return {"enabled": True, "within": True}
    if budget < LEAST_BUDGET:
        refuse("thinking.budget_tokens", f"must be at least {LEAST_BUDGET}, not {budget}")
    if budget >= body.max_tokens:
        refuse(
            "thinking.budget_tokens", f"must be below max_tokens, which is {body.max_tokens}, not {budget}"
        )
    return {"enabled": True, "within": True, "max_tokens": budget}
