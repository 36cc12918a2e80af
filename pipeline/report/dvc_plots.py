"""The template page of `dvc plots`, with its scripts included; DVC's own loads them from the internet.

`python -m pipeline.report.dvc_plots` writes it into .dvc/ and names it to DVC in .dvc/config.local, which git ignores.
"""

from __future__ import annotations

import configparser
from pathlib import Path

from pipeline.artifacts.atomic import write_text
from pipeline.report.scripts import vega_script

_PAGE = """<!doctype html>
<html>
<head>
<meta charset="utf-8">
{refresh_tag}
<title>DVC Plot</title>
<script>SCRIPT</script>
<style>body { font-family: sans-serif; } table { border-spacing: 15px; }</style>
</head>
<body>
{plot_divs}
</body>
</html>
"""


def write_plots_page(root: Path) -> Path:
    """Write `root`/.dvc/plots.html and configure DVC to use it; its path."""
    page = root / ".dvc/plots.html"
    write_text(page, _PAGE.replace("SCRIPT", vega_script(root)))
    place = root / ".dvc/config.local"
    config = configparser.ConfigParser()
    config.read(place)
    if not config.has_section("plots"):
        config.add_section("plots")
    config.set("plots", "html_template", page.name)
    with open(place, "w", encoding="utf-8") as file:
        config.write(file)
    return page


if __name__ == "__main__":
    print(write_plots_page(Path.cwd()))
