"""Schemas of answers: what is one, what fits it, and what is told of what does not."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, field_validator

from palaver.shared.errors import StructuredOutputError, ValidationError
from palaver.shared.jobs import ChatJob
from palaver.shared.response_schema import AnswerSchema, ResponseSchema, schema_of
from palaver.shared.responses import ChatResponse, ModelResponse
from palaver.shared.strict_schema import is_strict

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^(a+)+$"},
        "age": {"type": "integer", "maximum": 150},
    },
    "required": ["name"],
    "additionalProperties": False,
}


class Person(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    age: int = Field(ge=0)


class Either(Person):
    pet: Person | None


class Cat(Person):
    kind: Literal["cat"]


class Dog(Person):
    kind: Literal["dog"]


class Tagged(Person):
    pet: Cat | Dog = Field(discriminator="kind")


class Node(Person):
    children: list["Node"]


def closed(*names: str) -> dict[str, Any]:
    properties = {name: {"type": "string"} for name in names}
    return {"type": "object", "properties": properties, "required": [*names], "additionalProperties": False}


class Family(BaseModel):
    members: list[Person]
    kind: Literal["small", "large"] = "small"


class Odd(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"{value} is even, hunter2")
        return value


@pytest.mark.parametrize(
    "text",
    ['{"name": "aa"}', ' \n{"name": "aa"}\n', '```json\n{"name": "aa"}\n```', '```\n{"name": "aa"}```'],
)
def test_an_answer_may_be_fenced(text: str) -> None:
    assert AnswerSchema(SCHEMA).read(text) == ({"name": "aa"}, [])


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ('{"age": 200}', ["properties/age/maximum", "required"]),
        ('{"name": "aa", "s3cr3t": 1}', ["additionalProperties"]),
        ('{"name": 7}', ["properties/name/type"]),
        ("[]", ["type"]),
        ("null", ["type"]),
        ("", ["no JSON"]),
        ("Sure! {}", ["no JSON"]),
        ('{"name": NaN}', ["no JSON"]),
        ("```", ["no JSON"]),
        ("[" * 100 + "]" * 100, ["no JSON"]),
        ('{"name": "' + "a" * 60 + '!"}', ["properties/name/pattern"]),  # for ever, to a naive engine
    ],
)
def test_what_does_not_fit_is_told_by_its_place(text: str, places: list[str]) -> None:
    _, problems = AnswerSchema(SCHEMA).read(text)
    assert sorted(problem.place for problem in problems) == places


def test_only_the_model_is_told_where_in_its_answer() -> None:
    (problem,) = AnswerSchema({"additionalProperties": {"type": "integer"}}).read('{"s3cr3t": "hunter2"}')[1]
    assert problem == ("additionalProperties/type", '/s3cr3t: the value is not of type "integer"')


def test_not_all_problems_of_a_large_answer_are_told() -> None:
    text = "[" + ",".join(['"x"'] * 1000) + "]"
    assert len(AnswerSchema({"items": {"type": "integer"}}).read(text)[1]) == 10


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nothing"},
        {"properties": {"a": {"pattern": "(("}}},
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "#/$defs/missing"},
        {"$schema": "http://127.0.0.1:9/own"},
    ],
)
def test_what_is_no_schema_is_refused_before_anything_is_stored(schema: Any) -> None:
    with pytest.raises(ValidationError, match="is no JSON Schema that can be used here") as refused:
        ChatJob(messages="?", response_schema={"json_schema": schema})
    assert refused.value.param == "response_schema.json_schema"


def test_a_schema_may_refer_to_itself() -> None:
    for schema in ({"$ref": "#"}, {"type": "object", "properties": {"next": {"$ref": "#"}}}):
        assert AnswerSchema(schema).read('{"next": {"next": {}}}')[1] == []


def test_a_format_is_said_once() -> None:
    format_ = {"type": "json_object"}
    with pytest.raises(ValidationError, match="exclude each other"):
        ChatJob(messages="?", params={"response_format": format_}, response_schema={"json_schema": SCHEMA})


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 65, "1"])
def test_the_name_is_one_that_providers_take(name: str) -> None:
    with pytest.raises(ValidationError, match="ASCII letters"):
        ResponseSchema(json_schema={}, name=name)


@pytest.mark.parametrize(
    ("schema", "closed"),
    [
        (Person.model_json_schema(), True),
        (Family.model_json_schema(), False),  # has a default, and takes more
        ({"type": "array", "items": {"type": "object"}}, False),
        ({"type": "string"}, False),  # the root has to be an object
        (Either.model_json_schema(), True),
        (Tagged.model_json_schema(), False),  # oneOf
        (RootModel[Person | Either].model_json_schema(), False),  # anyOf in the root
        ({**Person.model_json_schema(), "not": {"required": ["x"]}}, False),
        (closed("oneOf", "properties"), True),  # names, not keywords
        ({**closed(), "x-example": {"properties": {}, "required": 5}}, False),  # a value, and no schema
        ({**closed(), "const": {"properties": 5, "required": [[]]}}, False),
    ],
)
def test_strict_decoding_is_asked_for_where_the_schema_allows_it(schema: Any, closed: bool) -> None:
    assert is_strict(schema) is closed
    told = ResponseSchema(json_schema=schema).response_format()["json_schema"]
    assert told.get("strict", False) is closed
    own = ResponseSchema(json_schema=schema, strict=not closed).response_format()["json_schema"]
    assert own.get("strict", False) is not closed


def test_a_model_has_a_schema() -> None:
    schema = schema_of(Family)
    assert (schema.name, schema.json_schema) == ("Family", Family.model_json_schema())


def test_the_root_of_a_model_that_holds_itself_is_an_object() -> None:
    schema = schema_of(Node)
    assert (schema.json_schema["type"], "$ref" in schema.json_schema) == ("object", False)
    assert schema.response_format()["json_schema"]["strict"]
    leaf = '{"name": "b", "age": 1, "children": [%s]}'
    assert AnswerSchema(schema.json_schema).read(leaf % (leaf % ""))[1] == []
    assert AnswerSchema(schema.json_schema).read(leaf % "{}")[1]


@pytest.mark.parametrize("model", [7, "Person", dict, list[int], Person(name="a", age=1)])
def test_only_a_model_has(model: Any) -> None:
    with pytest.raises(ValidationError, match="must be a pydantic model") as refused:
        schema_of(model)
    assert refused.value.param == "response_model"


def test_a_response_has_an_instance_of_the_model() -> None:
    parsed = {"members": [{"name": "Ada", "age": 36}]}
    response = ChatResponse(content="{}", parsed=parsed, usage={"input_tokens": 1}, model="m")
    typed = ModelResponse.of(response, Family)
    assert typed.parsed == Family(members=[Person(name="Ada", age=36)])
    assert (typed.content, typed.usage, typed.model) == ("{}", response.usage, "m")
    assert "Ada" not in repr(typed)
    assert "Ada" not in repr(response)


@pytest.mark.parametrize("parsed", [{"number": 2}, {}, None])
def test_what_the_schema_could_not_say_is_an_error_with_the_answer(parsed: Any) -> None:
    response = ChatResponse(content="raw", parsed=parsed)
    with pytest.raises(StructuredOutputError) as refused:
        ModelResponse.of(response, Odd)
    assert "hunter2" not in str(refused.value)
    assert refused.value.response is response
