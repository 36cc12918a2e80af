"""The ablations of the Faster R-CNN paper, each one change of the present params.yaml."""

from __future__ import annotations

from pipeline.orchestrate.ablations import Ablation
from pipeline.params.reading import Params

# The paper's lambda is the weight of a box loss averaged over some 2,400 anchor locations, beside a classification loss
# averaged over 256 anchors; its default 10 is then about the plain sum over 256 of the code, `rpn.box_loss_weight` 1.
_LAMBDA_OF_WEIGHT_1 = 10.0


def network_ablations(params: Params, network: str) -> list[Ablation]:
    """The ablations that change anchors, losses or the head, for every kind of training."""
    ratios, scales = params.anchors.ratios, params.anchors.scales
    one_scale, one_ratio = [scales[len(scales) // 2]], [min(ratios, key=lambda ratio: abs(ratio - 1.0))]
    other_pool = "roi_align" if params.roi_head.pool == "roi_pool" else "roi_pool"
    return [
        Ablation("anchors-1-scale-1-ratio", {"anchors.scales": one_scale, "anchors.ratios": one_ratio}, network),
        Ablation("anchors-1-scale", {"anchors.scales": one_scale}, network),
        Ablation("anchors-1-ratio", {"anchors.ratios": one_ratio}, network),
        *(
            Ablation(f"lambda-{weight:g}", {"rpn.box_loss_weight": weight / _LAMBDA_OF_WEIGHT_1}, network)
            for weight in (0.1, 1.0, 100.0)
        ),
        *(Ablation(f"proposals-{count}", {"detect.proposals": count}, network) for count in (20, 50, 100, 1000)),
        Ablation(other_pool.replace("_", "-"), {"roi_head.pool": other_pool}, network),
    ]


def _ablations(params: Params) -> list[Ablation]:
    """All ablations of the present params.yaml."""
    other_init = "imagenet" if params.finetune_joint.init == "step4" else "step4"
    return [
        Ablation("base", {}, "step4"),
        Ablation("unshared", {}, "step2"),
        *network_ablations(params, "step4"),
        Ablation("joint", {}, "joint"),
        Ablation(f"joint-from-{other_init}", {"finetune_joint.init": other_init}, "joint"),
    ]


ABLATIONS = _ablations
