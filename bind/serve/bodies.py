"""Bodies of requests: JSON or a form with files, as the models of the API."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from bind.files.plain_data import parse_json
from bind.serve.limits import Limits, RefusedError

M = TypeVar("M", bound=BaseModel)
MAX_FORM_FIELDS = 256
SMALL_BYTES = 2**14
"""Of a body that is read without a thread of its own."""


class Strict(BaseModel):
    """A model without unknown fields."""

    model_config = ConfigDict(extra="forbid")


class File(Strict):
    """A file inside a request."""

    data: str = Field(description="its bytes as base64, without a data: prefix")
    name: str = Field(default="", description="nothing but its suffix counts; without one the content says what it is")
    sidecar: str | None = Field(
        default=None, description="of a .npy recording the JSON that names its channels, as text"
    )


class RequestItem(Strict):
    """One thing to embed: a text, or a file of a modality."""

    modality: str = "text"
    text: str | None = None
    file: File | None = None


class EmbedRequest(Strict):
    """Things to embed."""

    items: list[RequestItem] = Field(min_length=1)


class EmbeddedItem(BaseModel):
    """A unit vector, or why there is none."""

    modality: str
    vector: list[float] | None = None
    error: str | None = None


class EmbedResponse(BaseModel):
    """One for each item, in their order."""

    dim: int
    items: list[EmbeddedItem]


class AskRequest(EmbedRequest):
    """A question about things, which are read in their order."""

    question: str = Field(min_length=1, max_length=2000)


class CaptionedItem(BaseModel):
    """A caption, or why there is none."""

    modality: str
    caption: str | None = None
    error: str | None = None


class CaptionResponse(BaseModel):
    """One for each item, in their order."""

    items: list[CaptionedItem]


class AskResponse(BaseModel):
    """The answer to a question."""

    answer: str


class SearchRequest(Strict):
    """A search as `bindspace search` makes it."""

    query: dict[str, str | File] = Field(description="modality → text or file", default_factory=dict)
    vectors: dict[str, list[float]] = Field(description="modality → a vector in place of a file", default_factory=dict)
    top: int = Field(default=10, ge=1, le=1000)
    in_: list[str] | None = Field(default=None, alias="in", description="modalities that are searched, all by default")
    where: str | None = Field(default=None, description="a condition on the columns, such as split = 'test'")
    fusion: str = "early"
    weights: dict[str, float] = Field(default_factory=dict)
    comparable: bool = True


class SearchResponse(BaseModel):
    """The hits, the best first; what the index does not know of one is left out."""

    hits: list[dict[str, Any]]
    num_vectors: int


async def read_json_body(request: Request) -> Any:
    """The JSON of a body; ValueError where it is none."""
    body = await request.body()
    if len(body) <= SMALL_BYTES:  # to wait for a thread takes longer than to read it
        return parse_json(body, "the body")
    return await run_in_threadpool(parse_json, body, "the body")


async def read_body(request: Request, model: type[M]) -> M:
    """A body of JSON as a model; ValueError that names the first field that is wrong."""
    return validated(model, await read_json_body(request))


def validated(model: type[M], value: Any) -> M:
    """A value as a model; ValueError that names the first field that is wrong."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise ValueError(f"{where[:200]}: {first['msg']}") from None


def is_form(request: Request) -> bool:
    """Whether a body is a form with files."""
    return request.headers.get("content-type", "").startswith("multipart/form-data")


async def read_form(request: Request, limits: Limits) -> list[tuple[str, str | File]]:
    """Fields of a form and their texts or files, in their order."""
    try:
        async with request.form(
            max_files=limits.max_items, max_fields=MAX_FORM_FIELDS, max_part_size=limits.max_bytes
        ) as form:
            fields: list[tuple[str, str | File]] = []
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    content = await value.read()
                    fields.append((name, File(data=base64.b64encode(content).decode(), name=value.filename or "")))
                else:
                    fields.append((name, value))
            return fields
    except (HTTPException, KeyError, UnicodeError) as error:
        reason = error.detail if isinstance(error, HTTPException) else repr(error)
        raise RefusedError(400, f"the form can't be read: {reason}") from error


def embed_request_of_form(fields: list[tuple[str, str | File]]) -> EmbedRequest:
    """A field per item, whose name is its modality."""
    items = [
        RequestItem(modality=name, text=value) if isinstance(value, str) else RequestItem(modality=name, file=value)
        for name, value in fields
    ]
    return validated(EmbedRequest, {"items": items})


def ask_request_of_form(fields: list[tuple[str, str | File]]) -> AskRequest:
    """A field per item, whose name is its modality, and one called `question`."""
    questions = [value for name, value in fields if name == "question"]
    if len(questions) != 1 or not isinstance(questions[0], str):
        raise ValueError("question: give one, as text")
    items = embed_request_of_form([(name, value) for name, value in fields if name != "question"]).items
    return validated(AskRequest, {"items": items, "question": questions[0]})


def search_request_of_form(fields: list[tuple[str, str | File]]) -> SearchRequest:
    """A field per modality of the query, and the options by their names; lists and weights as JSON."""
    values: dict[str, Any] = {"query": {}}
    options = {field.alias or name for name, field in SearchRequest.model_fields.items()} - {"query"}
    for name, value in fields:
        place: dict[str, Any] = values if name in options else values["query"]
        if name in place:
            raise ValueError(f"{name[:60]}: is there twice")
        is_json = name in ("in", "weights", "vectors") and isinstance(value, str)
        place[name] = parse_json(str(value), name) if is_json else value
    return validated(SearchRequest, values)


def body_of(model: type[BaseModel], form: Mapping[str, Any]) -> dict[str, Any]:
    """What OpenAPI says of a route whose body is read by `read_body` or `read_form`; see `definitions_of`."""
    schema = json.loads(json.dumps(_schema_of(model)))
    schema.pop("$defs", None)
    content = {"application/json": {"schema": schema}, "multipart/form-data": {"schema": {"type": "object", **form}}}
    return {"requestBody": {"required": True, "content": content}}


def definitions_of(model: type[BaseModel]) -> dict[str, Any]:
    """The models within a model, which `body_of` refers to as components of the API."""
    definitions: dict[str, Any] = _schema_of(model).get("$defs", {})
    return definitions


def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(ref_template="#/components/schemas/{model}")
