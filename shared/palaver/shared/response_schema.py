"""Structured output: the JSON Schema that an answer has to fit, and whether it does."""

from collections.abc import Iterator
from typing import Annotated, Any, Final, NamedTuple

import orjson
from pydantic import AfterValidator, BaseModel, Field, model_validator
from pydantic.errors import PydanticUserError

from palaver.shared.document import Document
from palaver.shared.error_tree import ValidationError
from palaver.shared.plain import Flag, Integer, JsonObject, Text, optional, plain, refuse, shape
from palaver.shared.strict_schema import is_strict, with_root

__all__ = ["AnswerSchema", "Problem", "ResponseSchema", "schema_of"]

MOST_PROBLEMS: Final = 10
LONGEST_PROBLEM: Final = 300  # characters
BACKTRACKS: Final = 100_000  # of a pattern, before the text counts as not matching
FENCE: Final = "```"


def _identifier(value: str) -> str:
    if not value.isascii() or not value.replace("-", "_").isidentifier() or len(value) > 64:
        raise ValueError("must be 1 to 64 ASCII letters, digits, underscores or hyphens")
    return value


class ResponseSchema(Document):
    """What an answer has to be: JSON that fits `json_schema`. `name` is for the provider.

    `strict` has a provider that can do so decode by the schema; None: where the schema allows it. An answer
    that does not fit is asked for again, `repairs` times at most.
    """

    json_schema: JsonObject
    name: Annotated[Text, AfterValidator(_identifier)] = "answer"
    strict: Flag | None = optional()
    repairs: Annotated[Integer, Field(ge=0, le=5)] = 1

    @model_validator(mode="after")
    def _is_schema(self) -> "ResponseSchema":
        AnswerSchema(self.json_schema)
        return self

    def response_format(self) -> dict[str, Any]:
        """The form of chat/completions."""
        strict = is_strict(self.json_schema) if self.strict is None else self.strict
        told = {"name": self.name, "schema": self.json_schema, **({"strict": True} if strict else {})}
        return {"type": "json_schema", "json_schema": told}

    def instruction(self) -> str:
        """The same in words, for a provider that takes no schema."""
        schema = orjson.dumps(self.json_schema).decode()
        return f"Answer with JSON that fits this JSON Schema, and with nothing else:\n{schema}"


class Problem(NamedTuple):
    """Why an answer does not fit: `place` is the keyword's in the schema, the caller's own words; `told` is
    for the model, and names places of its answer.
    """

    place: str
    told: str


class AnswerSchema:
    """A schema, ready to check answers. It fetches nothing, and no pattern can hold it up.

    Raises ValidationError for what is no JSON Schema.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        import jsonschema_rs  # 50 ms, which a job without a schema need not spend

        problem = None
        try:
            self._validator = jsonschema_rs.validator_for(
                schema,
                mask="the value",
                offline=True,
                pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACKS),
            )
        except jsonschema_rs.ValidationError as error:
            problem = "/".join(map(str, error.instance_path))
        except (jsonschema_rs.ReferencingError, ValueError):
            problem = "a reference"
        if problem is not None:
            refuse("json_schema", f"is no JSON Schema that can be used here: {problem or 'as a whole'}")

    def read(self, text: str) -> tuple[Any, list[Problem]]:
        """The answer's value, and what is wrong with it; without a problem the value is what was wanted.

        A fence of Markdown around the JSON is taken off.
        """
        try:
            value = plain(orjson.loads(_unfenced(text)))
        except orjson.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            return None, [Problem("no JSON", f"it is no valid JSON ({where})")]
        except ValidationError as unfit:
            return None, [Problem("no JSON", unfit.message)]
        return value, list(self._problems(value))

    def _problems(self, value: Any) -> Iterator[Problem]:
        for count, error in enumerate(self._validator.iter_errors(value)):
            if count == MOST_PROBLEMS:
                return
            place = "/".join(map(str, error.schema_path))
            at = "/".join(map(str, error.instance_path))
            yield Problem(place, f"/{at}: {error.message}"[:LONGEST_PROBLEM])


def schema_of(model: Any) -> ResponseSchema:
    """The schema of a pydantic model. Raises ValidationError for anything else."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        refuse("response_model", f"must be a pydantic model, a class, not {shape(model)}")
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in model.__name__).lstrip("0123456789")
    try:
        schema = with_root(model.model_json_schema())
    except PydanticUserError as error:
        problem = str(error.code).replace("-", " ")
        raise ValidationError(f"response_model: {problem}", param="response_model") from None
    return ResponseSchema(json_schema=schema, name=name[:64] or "answer")


def _unfenced(text: str) -> str:
    text = text.strip()
    if text.startswith(FENCE) and text.endswith(FENCE) and "\n" in text:
        return text[text.index("\n") + 1 : -len(FENCE)]
    return text
