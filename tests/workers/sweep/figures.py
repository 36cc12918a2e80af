"""A sweep of one parameter, and the figures of its experiments."""

from __future__ import annotations

from pipeline.families.family import Family

RATES = "name: r\ngrid: {train_head_step4.lr: [0.001, 0.002, 0.003]}\n"
OF_VAL = {"r-1": 0.5, "r-2": 0.7, "r-3": 0.6}


def figures_of(family: Family, name: str) -> dict[str, dict[str, float]]:
    """By network; they differ between the networks, so that a table of another one's is seen."""
    return {
        network: {"mAP50": OF_VAL.get(name, 0.4) - number / 100, "AP": 0.2, f"of_{family.name}": 1.0, "images": 8.0}
        for number, network in enumerate(sorted(family.networks, key=lambda network: network != family.judged))
    }
