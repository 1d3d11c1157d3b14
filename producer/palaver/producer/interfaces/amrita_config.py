"""Document 000's configuration of one turn, and the fields of a job that it and a preset mean; pure.

What neither says is left to the workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from palaver.producer.interfaces.clients import Clients
from palaver.producer.interfaces.endpoint import Endpoint, named
from palaver.producer.prepare import JobFields
from palaver.shared.document import Document
from palaver.shared.jobs import Retries, Seconds
from palaver.shared.memory import MemoryModel, SendMessageWrap
from palaver.shared.messages import Message, Role, parse_history
from palaver.shared.params import ChatParams
from palaver.shared.plain import Flag, Integer, optional, refuse
from palaver.shared.presets import MAIN_PROTOCOL, ModelPreset


class LLMConfig(Document):
    """How the model is asked. `llm_timeout` is in seconds, between two bytes."""

    max_tokens: Annotated[Integer, Field(ge=1)] | None = optional()
    llm_timeout: Seconds | None = optional()
    max_retries: Retries | None = optional()
    require_tools: Flag = False


class FunctionConfig(Document):
    """What the model sees. `use_minimal_context`: the system prompt and the user's message alone."""

    use_minimal_context: Flag = False


class AmritaConfig(Document):
    """The configuration of one `ChatObject`. Keys that it does not know are refused."""

    llm: LLMConfig = Field(default_factory=LLMConfig)
    function_config: FunctionConfig = Field(default_factory=FunctionConfig)


def job_fields(config: AmritaConfig, preset: ModelPreset | None, clients: Clients) -> JobFields:
    """The fields of a turn's job, with a copy of the configuration in its metadata. A preset's defaults win.

    Raises ConfigurationError for a preset that no profile is like, and that cannot be sealed; ValidationError
    for tools that are required.
    """
    llm = config.llm
    if llm.require_tools:
        refuse("config.llm.require_tools", "cannot be kept: the turns of a ChatObject have no tools")
    params = ChatParams() if llm.max_tokens is None else ChatParams(max_tokens=llm.max_tokens)
    said = config.model_dump(mode="json", exclude_defaults=True)
    fields: JobFields = {"metadata": {"config": said} if said else {}, "params": params}
    if llm.llm_timeout is not None:
        fields["timeouts"] = {"connect": llm.llm_timeout, "read": llm.llm_timeout}
    if llm.max_retries is not None:
        fields["max_retries"] = llm.max_retries
    if preset is not None:
        fields["model"] = named(clients.profile(_endpoint(preset)), preset.model)
        fields["params"] = params.merged(preset.config.params()).merged({"extra": preset.extra})
    return fields


def wrapped(
    train: Message | Mapping[str, Any], memory: MemoryModel, message: Message, config: AmritaConfig
) -> SendMessageWrap:
    """What a turn sends; what the memory has only as a summary stands behind the system prompt."""
    (system,) = parse_history([train], param="train")
    if system.role is not Role.SYSTEM or system.blank:
        refuse("train", "must be a system message, with a text")
    if config.function_config.use_minimal_context:
        return SendMessageWrap(system, [], message)
    if memory.abstract:
        text = f"{system.text}\n\nSummary of the conversation before:\n{memory.abstract}"
        system = system.model_copy(update={"content": text})
    return SendMessageWrap(system, memory, message)


def _endpoint(preset: ModelPreset) -> Endpoint:
    return Endpoint(
        base_url=preset.base_url,
        api_key=preset.api_key.get_secret_value() if preset.api_key is not None else None,
        kind=None if preset.protocol == MAIN_PROTOCOL else preset.protocol,
    )
