"""The application: routes of the API, of Weaviate, of live time lines and of the pages, behind one gate."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from bind import __version__, report
from bind.bridge.bridge import Bridge
from bind.bridge.remedies import GapChoice
from bind.model.binder import Binder
from bind.search.index import Index
from bind.serve.batching import Batcher
from bind.serve.bodies import (
    AskRequest,
    AskResponse,
    CaptionedItem,
    CaptionResponse,
    EmbeddedItem,
    EmbedRequest,
    EmbedResponse,
    SearchRequest,
    SearchResponse,
    ask_request_of_form,
    body_of,
    definitions_of,
    embed_request_of_form,
    is_form,
    read_body,
    read_form,
    search_request_of_form,
)
from bind.serve.embedding import embed_items
from bind.serve.gate import Gate
from bind.serve.limits import Limits, RefusedError
from bind.serve.live import LiveRun, live_routes
from bind.serve.metrics import Metrics
from bind.serve.searching import Searcher, public_hit
from bind.serve.weaviate import weaviate_routes
from bind.serve.words import Words

PAGE = Path(__file__).parent / "page"
REPORT_PAGE = Path(report.__file__).parent / "page"
PAGE_FILES = {
    "/": (PAGE / "index.html", "text/html; charset=utf-8"),
    "/page.js": (PAGE / "page.js", "text/javascript; charset=utf-8"),
    "/page.css": (PAGE / "page.css", "text/css; charset=utf-8"),
    "/docs": (PAGE / "docs.html", "text/html; charset=utf-8"),
    "/docs.js": (PAGE / "docs.js", "text/javascript; charset=utf-8"),
    "/live": (PAGE / "live.html", "text/html; charset=utf-8"),
    "/live.js": (PAGE / "live.js", "text/javascript; charset=utf-8"),
    "/microphone.js": (PAGE / "microphone.js", "text/javascript; charset=utf-8"),
    "/media.js": (REPORT_PAGE / "media.js", "text/javascript; charset=utf-8"),
    "/samples.css": (REPORT_PAGE / "samples.css", "text/css; charset=utf-8"),
    "/report.css": (REPORT_PAGE / "page.css", "text/css; charset=utf-8"),
}
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; media-src data: blob:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""The pages ask no other host, and none shows them inside its own."""


def create_app(
    binder: Binder,
    index: Index | None = None,
    *,
    limits: Limits | None = None,
    token: str | None = None,
    only_local: bool = True,
    run_dir: Path | None = None,
    label_sets: Mapping[str, Mapping[str, Any]] | None = None,
    bridge: Bridge | None = None,
    gap: GapChoice = None,
) -> Gate:
    """The service as an ASGI application.

    Args:
        binder: on the device where it embeds.
        index: of this binder; None: it embeds and does not search.
        limits: None: the defaults.
        token: that clients have to send; None: anybody may ask.
        only_local: answer to names of this machine alone.
        run_dir: of the run whose binder it is, which may hold fits of time lines.
        label_sets: of that run, `data.zero_shot` of its config, for live time lines.
        bridge: over this binder; None: it says nothing in words.
        gap: between modalities, in place of the bridge's own remedies.

    Raises:
        ValueError: for an index of another binder, or remedies that the bridge does not take.
    """
    limits, metrics = limits or Limits(), Metrics()
    if index is not None:
        index.use_binder(binder)
    batcher, searcher, words = Batcher(binder, limits, metrics), Searcher(index, limits), Words(bridge, gap)
    metrics.watch_waiting(lambda: batcher.num_waiting)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await batcher.stop()
        searcher.stop()
        words.stop()

    app = FastAPI(
        title="bind",
        version=__version__,
        lifespan=lifespan,
        summary="Embed and search across modalities",
        docs_url=None,  # FastAPI's load their viewers from another host
        redoc_url=None,
    )
    about = {"version": __version__, "modalities": list(binder.modalities), "dim": binder.dim}
    about |= {"anchor": binder.anchor.name, "limits": asdict(limits)}
    app.include_router(
        weaviate_routes(batcher, lambda: {**about, "index": searcher.describe(), "bridge": words.describe()})
    )
    app.include_router(live_routes(LiveRun(binder, run_dir, label_sets or {}, batcher.text_lock), limits, token))
    _add_error_handlers(app)
    _add_page(app)

    @app.get("/healthz", tags=["service"])
    async def healthz() -> dict[str, str]:
        """Whether the service is there."""
        return {"status": "ok"}

    @app.get("/metrics", tags=["service"], response_class=PlainTextResponse)
    async def prometheus() -> PlainTextResponse:
        """Metrics as Prometheus reads them."""
        return PlainTextResponse(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.post("/embed", tags=["binder"], response_model=EmbedResponse, openapi_extra=body_of(EmbedRequest, EMBED_FORM))
    async def embed(request: Request) -> Response:
        """Unit vectors of texts and files; an item that can't be embedded has an error, and spoils no other."""
        if is_form(request):
            wanted = embed_request_of_form(await read_form(request, limits))
        else:
            wanted = await read_body(request, EmbedRequest)
        outcomes = await embed_items(batcher, wanted.items)
        items = [
            EmbeddedItem(modality=item.modality[:60], error=str(outcome))
            if isinstance(outcome, ValueError)
            else EmbeddedItem(modality=item.modality, vector=outcome.tolist())
            for item, outcome in zip(wanted.items, outcomes, strict=True)
        ]
        answer = EmbedResponse(dim=binder.dim, items=items)
        # FastAPI would copy every number twice.
        return Response(answer.model_dump_json(), media_type="application/json")

    @app.post("/caption", tags=["bridge"], openapi_extra=body_of(EmbedRequest, EMBED_FORM))
    async def caption(request: Request) -> CaptionResponse:
        """What texts and files are, in words; an item that can't be embedded has an error, and spoils no other."""
        if is_form(request):
            wanted = embed_request_of_form(await read_form(request, limits))
        else:
            wanted = await read_body(request, EmbedRequest)
        items = [
            CaptionedItem(modality=item.modality[:60], error=str(text))
            if isinstance(text, ValueError)
            else CaptionedItem(modality=item.modality, caption=text)
            for item, text in zip(wanted.items, await words.caption(batcher, wanted), strict=True)
        ]
        return CaptionResponse(items=items)

    @app.post("/ask", tags=["bridge"], openapi_extra=body_of(AskRequest, ASK_FORM))
    async def ask(request: Request) -> AskResponse:
        """The answer to a question about texts and files."""
        if is_form(request):
            wanted = ask_request_of_form(await read_form(request, limits))
        else:
            wanted = await read_body(request, AskRequest)
        return AskResponse(answer=await words.answer(batcher, wanted))

    @app.post("/search", tags=["index"], openapi_extra=body_of(SearchRequest, SEARCH_FORM))
    async def search(request: Request) -> SearchResponse:
        """What is nearest to words, files, or several of them, in the index."""
        if is_form(request):
            wanted = search_request_of_form(await read_form(request, limits))
        else:
            wanted = await read_body(request, SearchRequest)
        hits, num_vectors = await searcher.search(batcher, wanted)
        return SearchResponse(hits=[dict(public_hit(hit)) for hit in hits], num_vectors=num_vectors)

    @app.get("/media", tags=["index"])
    async def media(modality: str, key: str, number: int = 0) -> dict[str, Any]:
        """A sample of the index, small: a picture, a sound, a trace or a text."""
        return await searcher.media(batcher, modality, key, number)

    _add_definitions(app)
    return Gate(app, limits, metrics, token=token, only_local=only_local, open_paths=PAGE_FILES)


EMBED_FORM = {"description": "a field per item, called after its modality: a text, or a file"}
ASK_FORM = {"description": "the question, and a field per item, called after its modality: a text, or a file"}
SEARCH_FORM = {"description": "a field per modality of the query, and the options by their names, lists as JSON"}


def _add_error_handlers(app: FastAPI) -> None:
    """Errors are JSON with one key, `error`, as Weaviate reads them."""

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> JSONResponse:
        return JSONResponse({"error": error.message}, error.status)

    @app.exception_handler(ValueError)
    async def wrong(request: Request, error: ValueError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 422)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return JSONResponse({"error": f"{first['loc'][-1]}: {first['msg']}"}, 422)

    @app.exception_handler(HTTPException)
    async def known(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": f"{request.method} {request.url.path}: {error.detail}"}, error.status_code)


def _add_definitions(app: FastAPI) -> None:
    """Describe the models within bodies, which FastAPI does not read by itself."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        for model in (EmbedRequest, AskRequest, SearchRequest):
            schema["components"]["schemas"].update(definitions_of(model))
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def _add_page(app: FastAPI) -> None:
    async def send(request: Request) -> FileResponse:
        path, kind = PAGE_FILES[request.url.path]
        return FileResponse(path, media_type=kind, headers=PAGE_HEADERS)

    for route in PAGE_FILES:
        app.add_route(route, send, include_in_schema=False)
