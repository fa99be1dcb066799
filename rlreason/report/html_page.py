"""What every page shares: one HTML file that loads nothing and runs only its own two scripts.

Foreign text reaches a page through jinja's escaping. Should that ever fail, the page's content
security policy names the hashes of its scripts, so no other script can run, and forbids every
connection.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from rlreason import __version__
from rlreason.report.chart import Chart

_PAGE_SCRIPT = "page.js"


def render_page(template: str, values: Mapping[str, Any]) -> str:
    """A template of this package as text.

    ``values`` join what each page needs: ``policy``, ``scripts``, ``version`` and ``plot_json``.
    """
    loader = PackageLoader("rlreason", "report")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    own, _, _ = loader.get_source(environment, _PAGE_SCRIPT)
    scripts = [text.replace("\r\n", "\n") for text in (get_plotlyjs(), own)]
    shared = {
        "version": __version__,
        "policy": _policy(scripts),
        "scripts": [Markup(script) for script in scripts],
        "plot_json": plot_json,
    }
    return environment.get_template(template).render(shared | dict(values))


def write_page(target: Path, page: str) -> None:
    """Put ``page`` in place of whatever is there, whole or not at all."""
    temporary = target.with_name(target.name + ".tmp")
    # newline="": the hashes in the policy hold for exactly these characters.
    with temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(page)
    os.replace(temporary, target)


def _policy(scripts: Sequence[str]) -> str:
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    # Plotly styles its charts inline; data: and blob: are its own pictures.
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def plot_json(chart: Chart) -> Markup:
    """The figure as JSON that cannot end the script element it stands in."""
    text = json.dumps(chart.figure, allow_nan=False, separators=(",", ":"))
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)
