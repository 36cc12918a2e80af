"""Vega's scripts as one text, for pages that must not ask a network for them."""

from __future__ import annotations

import contextlib
from importlib.metadata import version
from pathlib import Path

import vl_convert
from markupsafe import Markup

from pipeline.artifacts.atomic import write_text


def vega_script(root: Path) -> Markup:
    """`window.vegaEmbed` for a script element. Bundling takes a second and a half, so that it is kept in .dvc/tmp."""
    kept = root / ".dvc/tmp" / f"vega-{version('vl-convert-python')}.js"
    if kept.is_file():
        return Markup(kept.read_text(encoding="utf-8"))
    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_text(kept, script)
    return Markup(script)
