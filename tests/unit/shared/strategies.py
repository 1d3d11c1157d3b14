"""Random but valid parts of the contract."""

from hypothesis import strategies as st

from palaver.shared import ChatResponse, ErrorInfo, FinishReason, Message, ToolCall, Usage

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
name = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz._-"), min_size=1, max_size=12)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    text,
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(text, json_values, max_size=3)
parts = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": text}),
    st.fixed_dictionaries(
        {
            "type": st.just("image_url"),
            "image_url": st.fixed_dictionaries({"url": name}, optional={"detail": name}),
        }
    ),
)
tool_calls = st.builds(ToolCall, id=name, name=name, arguments=text | json_objects)
extras = st.dictionaries(name.map(lambda key: f"x_{key}"), json_values, max_size=2)
messages = st.one_of(
    st.builds(
        lambda more, **fields: Message(**fields, **more),
        extras,
        role=st.sampled_from(["system", "user", "assistant", "developer"]),
        content=text | st.lists(parts, min_size=1, max_size=3),
        name=st.none() | name,
        metadata=st.none() | json_objects,
        reasoning=st.none() | text,
    ),
    st.builds(
        Message,
        role=st.just("assistant"),
        content=st.none(),
        tool_calls=st.lists(tool_calls, min_size=1, max_size=2),
    ),
    st.builds(Message, role=st.just("tool"), content=text, tool_call_id=name),
)
counts = st.none() | st.integers(0, 10**9)
usages = st.builds(
    Usage, input_tokens=counts, output_tokens=counts, total_tokens=counts, details=json_objects
)
errors = st.builds(
    ErrorInfo,
    type=name,
    code=name,
    message=text,
    retryable=st.booleans(),
    http_status=st.integers(400, 599),
    job_id=st.none() | name,
    provider=st.none() | name,
    param=st.none() | name,
    details=st.dictionaries(name, json_values.filter(lambda value: value is not None), max_size=2),
)
answers = st.builds(
    ChatResponse,
    content=text,
    finish_reason=st.none() | st.sampled_from(FinishReason),
    usage=st.none() | usages,
    model=st.none() | name,
    provider=st.none() | name,
    tool_calls=st.lists(tool_calls, max_size=2),
    reasoning=st.none() | text,
    metadata=json_objects,
    raw=json_values,
)
responses = st.one_of(
    answers, st.builds(lambda error, content: ChatResponse.failed(error, content=content), errors, text)
)
