"""How the APIs of providers say the same: texts in, vectors out, or what is wrong. For ``embedding_server.EmbeddingServer``."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Sequence
from typing import Any, Protocol

Json = dict[str, Any]
TOO_LONG = "maximum context length is 8192 tokens"


class Dialect(Protocol):
    def texts(self, body: Json) -> list[str]: ...

    def answer(self, body: Json, vectors: Sequence[Sequence[float]], tokens: int) -> Json: ...

    def headers(self, status: int, tokens: int) -> dict[str, str]: ...

    def error(self, message: str, fault: Json) -> Json: ...

    def too_long(self) -> str: ...


class OpenAI:
    def texts(self, body: Json) -> list[str]:
        return list(body["input"])

    def answer(self, body: Json, vectors: Sequence[Sequence[float]], tokens: int) -> Json:
        def said(vector: Sequence[float]) -> Any:
            return base64.b64encode(array("f", vector).tobytes()).decode() if in_bytes else vector

        in_bytes = body.get("encoding_format") == "base64"
        data = [{"index": number, "embedding": said(vector)} for number, vector in enumerate(vectors)]
        # In another order than they were asked for: the index says whose each is.
        return {
            "data": data[::-1],
            "model": body.get("model"),
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    def headers(self, status: int, tokens: int) -> dict[str, str]:
        return {}

    def error(self, message: str, fault: Json) -> Json:
        return {"error": {"message": message, **fault.get("error", {})}}

    def too_long(self) -> str:
        return TOO_LONG


class Cohere:
    def texts(self, body: Json) -> list[str]:
        return list(body["texts"])

    def answer(self, body: Json, vectors: Sequence[Sequence[float]], tokens: int) -> Json:
        return {
            "id": "1",
            "response_type": "embeddings_by_type",
            "embeddings": {"float": vectors},
            "texts": body["texts"],
            "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": tokens}},
        }

    def headers(self, status: int, tokens: int) -> dict[str, str]:
        return {}

    def error(self, message: str, fault: Json) -> Json:
        return {"id": "1", "message": message, **fault.get("error", {})}

    def too_long(self) -> str:
        return f"invalid request: {TOO_LONG}"


class Bedrock:
    """Titan's requests, and Cohere's there."""

    def texts(self, body: Json) -> list[str]:
        return [body["inputText"]] if "inputText" in body else list(body["texts"])

    def answer(self, body: Json, vectors: Sequence[Sequence[float]], tokens: int) -> Json:
        if "inputText" in body:
            return {"embedding": vectors[0] if vectors else [], "inputTextTokenCount": tokens}
        return {"id": "1", "response_type": "embeddings_by_type", "embeddings": {"float": vectors}}

    def headers(self, status: int, tokens: int) -> dict[str, str]:
        names = {
            400: "ValidationException",
            401: "UnrecognizedClientException",
            403: "AccessDeniedException",
            404: "ResourceNotFoundException",
            424: "ModelErrorException",
            429: "ThrottlingException",
            500: "InternalServerException",
            503: "ServiceUnavailableException",
        }
        if status == 200:
            return {"x-amzn-bedrock-input-token-count": str(tokens)}
        return {"x-amzn-errortype": f"{names[status]}:http://internal.amazon.com/coral/com.amazon.bedrock/"}

    def error(self, message: str, fault: Json) -> Json:
        return {"message": message, **fault.get("error", {})}

    def too_long(self) -> str:
        return "400 Bad Request: Too many input tokens. Max input tokens: 8192, request input token count: 9001"


_OPENAI, _COHERE, _BEDROCK = OpenAI(), Cohere(), Bedrock()


def dialect_of(path: str) -> Dialect:
    """By the path of a request."""
    if path.startswith("/model/") and path.endswith("/invoke"):
        return _BEDROCK
    return {"/v1/embeddings": _OPENAI, "/v2/embed": _COHERE}[path]
