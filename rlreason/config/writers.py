"""Who writes candidates and critiques: a local model, an endpoint, a file, or a plug-in."""

from __future__ import annotations

import re
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from rlreason.config.sections import PluginConfig, PromptSection, Section, checked_name

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,127}")


class PriceSection(Section):
    """Price of a million tokens, in any one currency."""

    prompt: float = Field(default=0.0, ge=0)
    """Of tokens read."""
    completion: float = Field(default=0.0, ge=0)
    """Of tokens written."""


class WriterSection(Section):
    """A generator of candidate solutions, or a teacher of critiques.

    ``model`` alone is a local model through vLLM; with ``endpoint`` it is that server's name for
    a model; ``file`` and ``use`` stand alone.
    """

    name: str
    """Unique; appears in artifacts and reports."""
    model: str | None = None
    """Local: a shipped name, a folder or a hub name. With ``endpoint``: its name for the model."""
    endpoint: str | None = None
    """Base address of a server that speaks the OpenAI protocol: ``https://host/v1``."""
    file: str | None = None
    """Generators only: a ``.jsonl`` or ``.parquet`` file with columns problem_id and solution."""
    use: PluginConfig | None = None
    """A plug-in that keeps ``protocols.Writer``."""
    samples: int | None = Field(default=None, ge=1)
    """Texts per problem or solution; null: as the stage says."""
    temperature: float = Field(default=1.0, ge=0)
    """Sampling temperature; 0 is greedy."""
    max_tokens: int = Field(default=2048, ge=1)
    """Longest text; longer ones are cut with finish_reason ``length``."""
    prompt: PromptSection = PromptSection()
    """Local: how a prompt becomes tokens. Endpoint: ``system`` and ``shots``."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Local: precision of the weights; ``auto``: as they were saved."""
    vllm: dict[str, Any] = Field(default_factory=dict)
    """Local: passed to vLLM's engine as they are."""
    key_from: str | None = None
    """Endpoint: the environment variable that holds the key; the key itself is never written."""
    concurrency: int = Field(default=8, ge=1)
    """Endpoint: calls under way at once."""
    timeout_s: float = Field(default=300.0, gt=0)
    """Endpoint: longest wait for one call."""
    max_attempts: int = Field(default=6, ge=1)
    """Endpoint: calls for one text before it counts as failed."""
    price: PriceSection | None = None
    """Endpoint: for the cost in the report; null: tokens are counted, cost is not."""
    body: dict[str, Any] = Field(default_factory=dict)
    """Endpoint: further fields of the request's body (``top_p``, ``reasoning_effort`` ...)."""

    _name = field_validator("name")(checked_name)

    @property
    def kind(self) -> Literal["local", "endpoint", "file", "plugin"]:
        """Where the text comes from."""
        if self.endpoint is not None:
            return "endpoint"
        if self.file is not None:
            return "file"
        return "local" if self.model is not None else "plugin"

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        given = [name for name in ("file", "use") if getattr(self, name) is not None]
        if self.model is not None or self.endpoint is not None:
            given.append("endpoint" if self.endpoint is not None else "model")
        if len(given) != 1:
            raise ValueError(
                f"{self.name}: name one of model, endpoint (with model), file and use; "
                f"given: {', '.join(sorted(given)) or 'none'}"
            )
        if self.endpoint is not None and self.model is None:
            raise ValueError(f"{self.name}: endpoint needs model, its name for the model")
        return self

    @model_validator(mode="after")
    def _endpoint_is_sane(self) -> Self:
        # The messages name no value: what stands there by mistake may be a credential.
        if self.key_from is not None and not _VARIABLE.fullmatch(self.key_from):
            raise ValueError(
                f"{self.name}: key_from is the name of an environment variable in capitals, such "
                "as OPENAI_API_KEY; the key itself must not stand in a recipe"
            )
        if self.endpoint is None:
            return self
        parts = urlsplit(self.endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{self.name}: endpoint must look like https://host/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                f"{self.name}: endpoint must hold no user, password or query; name the "
                "environment variable with the key in key_from"
            )
        return self


class TeacherSection(WriterSection):
    """A teacher; colder than a generator, as one good critique is wanted."""

    temperature: float = Field(default=0.3, ge=0)
    """Sampling temperature; 0 is greedy."""
