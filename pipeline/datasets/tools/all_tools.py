"""The annotation tools whose own files are read, by the name of the reader."""

from __future__ import annotations

from pipeline.datasets.tools.annotated import Tool
from pipeline.datasets.tools.cvat import CVAT
from pipeline.datasets.tools.label_studio import LABEL_STUDIO
from pipeline.datasets.tools.labelme import LABELME
from pipeline.datasets.tools.openimages import OPENIMAGES
from pipeline.datasets.tools.vott import VOTT

TOOLS: dict[str, Tool] = {tool.section: tool for tool in (LABELME, CVAT, LABEL_STUDIO, VOTT, OPENIMAGES)}
