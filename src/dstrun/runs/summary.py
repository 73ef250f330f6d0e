"""Content of summary.json: the figures of the last epoch, and what was kept of how much."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dstrun.methods.flops import MultiplyAdds
    from dstrun.methods.mask_stats import LayerFigures


def summarise(
    rows: Sequence[Mapping[str, Any]],
    layers: "Sequence[LayerFigures]",
    *,
    left_dense: Mapping[str, int],
    reasons: Mapping[str, str],
    parameters: int,
    thresholds: int,
    work: "MultiplyAdds | None",
) -> dict[str, Any]:
    """Return the summary of a run from its rows of metrics.csv and its layers at the end.

    left_dense, reasons: size of each weight without a mask, and why it has none. parameters,
    thresholds: the model's own, and those that the method added. work: None where the multiply-adds
    are not known. `total` and `kept` are weights of masked layers, `weights` and `weights_kept`
    those of the whole model, of which `left_dense_share` has no mask.
    """
    kept = sum(layer.kept for layer in layers)
    total = sum(layer.total for layer in layers)
    dense = sum(left_dense.values())
    weights, weights_kept = total + dense, kept + dense
    not_masked = {}
    for name, count in left_dense.items():
        not_masked[name] = {"weights": count, "reason": reasons[name]}
    return {
        **rows[-1],
        "density_model": weights_kept / weights,
        "kept": kept,
        "total": total,
        "weights": weights,
        "weights_kept": weights_kept,
        "parameters": parameters,
        "parameters_kept": parameters - (total - kept),
        "thresholds": thresholds,
        "multiply_adds": work and work.total,
        "multiply_adds_kept": work and work.kept(layers),
        "left_dense": not_masked,
        "left_dense_share": dense / weights,
        "total_seconds": sum(row["seconds"] or 0 for row in rows),
    }
