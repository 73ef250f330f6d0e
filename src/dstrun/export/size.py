"""Size of a trained network, dense and kept: parameters, multiply-adds for one example, bytes."""

import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dstrun.export import load
from dstrun.export.trained import Trained
from dstrun.methods.flops import MultiplyAdds, multiply_adds


def measure_size(trained: Trained) -> dict[str, Any]:
    """Return parameters, multiply-adds for one example, bytes and layers, as in export.json.

    The layer "left dense" is everything without a mask: its weights, and products of its weights
    or of no weights (attention).
    """
    work = multiply_adds(trained.plain, trained.example)
    count = sum(parameter.numel() for parameter in trained.plain.parameters())
    pruned = sum(layer.total - layer.kept for layer in trained.layers)
    return {
        "run": trained.folder.resolve().name,
        "parameters": count,
        "parameters_kept": count - pruned,
        "multiply_adds": work.total,
        "multiply_adds_kept": work.kept(trained.layers),
        **_measure_bytes(trained),
        "layers": _layer_rows(trained, work),
    }


def _layer_rows(trained: Trained, work: MultiplyAdds) -> list[dict[str, Any]]:
    """Return weights and multiply-adds of each masked layer, and of the rest where there is one."""
    rows = []
    for layer in trained.layers:
        positions = work.positions.get(layer.layer, 0)
        counts = layer.total, layer.kept, layer.total * positions, layer.kept * positions
        rows.append(_row(layer.layer, *counts))
    weights = sum(p.numel() for p in trained.plain.parameters() if p.dim() > 1)
    unmasked = weights - sum(layer.total for layer in trained.layers)
    products = work.total - sum(row["multiply_adds"] for row in rows)
    if unmasked or products:
        name = "left dense" if unmasked else "products without weights"
        rows.append(_row(name, unmasked, unmasked, products, products))
    return rows


def _row(layer: str, weights: int, kept: int, products: int, products_kept: int) -> dict[str, Any]:
    return {
        "layer": layer,
        "weights": weights,
        "kept": kept,
        "multiply_adds": products,
        "multiply_adds_kept": products_kept,
    }


def _measure_bytes(trained: Trained) -> dict[str, int]:
    """Return the bytes of the file with dense weights, with packed ones, and of the former
    zipped.
    """
    weights = trained.plain.state_dict()
    with TemporaryDirectory() as folder:
        dense, packed = Path(folder, "dense"), Path(folder, "packed")
        load.save(dense, trained.about, weights, "dense")
        load.save(packed, trained.about, weights, "packed")
        return {
            "bytes_dense": dense.stat().st_size,
            "bytes_packed": packed.stat().st_size,
            "bytes_zipped": len(zlib.compress(dense.read_bytes(), 9)),
        }
