"""Self-contained HTML pages from ``templates/pages``.

What a model or a user wrote is untrusted text: templates are rendered with autoescaping, data travels
as JSON that the page's script puts in as text, and the page's content policy runs only that script.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import partial

from sari_data.resources import templates_dir


def render_html(name: str, *, styles: Sequence[str] = (), scripts: Sequence[str] = (), **values: object) -> str:
    """Render ``templates/pages/<name>.html.jinja`` with its style sheets and scripts inside.

    Args:
        name: The page's name.
        styles: Further style sheets of that folder, by name, between ``base.css`` and the page's own.
        scripts: Further scripts of that folder, by name, between ``common.js`` and the page's own: one script together.
        values: What the template shows. It also gets ``style``, ``script`` and ``script_digest`` (SHA-256, base64, as
            a content policy names it).
    """
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment
    from markupsafe import Markup

    folder = templates_dir() / "pages"
    environment = SandboxedEnvironment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = "\n".join((folder / f"{part}.js").read_text(encoding="utf-8") for part in ("common", *scripts, name))
    sheets = [(folder / f"{sheet}.css").read_text(encoding="utf-8") for sheet in ("base", *styles, name)]
    return environment.get_template(f"{name}.html.jinja").render(
        **values,
        style=Markup("\n".join(sheets)),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def json_for_script(value: object) -> str:
    """Return a value as JSON that can stand in a script element: nothing in it ends the element or begins another.

    It is ASCII, and has no ``<``, ``>``, ``&`` or ``'``.
    """
    from jinja2.utils import htmlsafe_json_dumps

    return str(htmlsafe_json_dumps(value, dumps=partial(json.dumps, separators=(",", ":"))))
