"""Document 000's model presets: a model, where it is, and the defaults of its jobs."""

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, SecretStr

from palaver.shared.document import Document
from palaver.shared.params import ChatParams
from palaver.shared.plain import Flag, Integer, JsonObject, Real, Text, optional, shape

MAIN_PROTOCOL: Final = "__main__"
"""The original's name for the OpenAI dialect."""


def _secret(value: Any) -> Any:
    if value is None or isinstance(value, str | SecretStr):
        return value
    raise ValueError(f"must be a key, not {shape(value)}")


class PresetConfig(Document):
    """Defaults of a preset's jobs."""

    top_k: Annotated[Integer, Field(ge=1)] | None = optional()
    top_p: Annotated[Real, Field(ge=0, le=1)] | None = optional()
    temperature: Annotated[Real, Field(ge=0, le=2)] | None = optional()
    max_tokens: Annotated[Integer, Field(ge=1)] | None = optional()
    stream: Flag = True
    multimodal: Flag = False

    def params(self) -> ChatParams:
        """The defaults as parameters of a job."""
        names = ("top_k", "top_p", "temperature", "max_tokens")
        return ChatParams(**{name: value for name in names if (value := getattr(self, name)) is not None})


class ModelPreset(Document):
    """A model under a name of its own. The key is in no repr and no dump; `protocol` is a profile's kind."""

    model: Annotated[Text, Field(min_length=1)]
    name: Annotated[Text, Field(min_length=1)] = "default"
    base_url: Text | None = optional()
    api_key: Annotated[SecretStr | None, BeforeValidator(_secret)] = Field(default=None, exclude=True)
    protocol: Annotated[Text, Field(min_length=1)] = MAIN_PROTOCOL
    config: PresetConfig = Field(default_factory=PresetConfig)
    extra: JsonObject = Field(default_factory=dict)
