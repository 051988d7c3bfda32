"""The landscape that a sampler sees: FLOPs against parameters of many kernels, hand-designed ones marked.

One HTML file that opens offline. `canvas sample --plot` calls it.
"""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from canvas._core import Infeasible, Kernel, Layer
from canvas.errors import writing


def write_landscape(
    bindings: Sequence[Any], layers: Sequence[Layer], path: str | os.PathLike[str], marks: Mapping[str, Kernel]
) -> Path:
    """Draws sampled kernels and marked ones by what they cost on a network, as fractions of the original.

    Args:
        bindings: of the sampled kernels to the layers.
        layers: the network's.
        path: the HTML file to write.
        marks: kernels to mark by name, each at its largest; those that do not serve the layers are left out.

    Returns:
        The path.

    Raises:
        UserError: the file cannot be written.

    Example:
        >>> layers = [canvas.Layer(64, 64, (32, 32))]
        >>> bindings = [kernel.bind(layers) for kernel in canvas.sample(layers, 1000)]
        >>> write_landscape(bindings, layers, "landscape.html", canvas.zoo())  # doctest: +SKIP
    """
    import plotly.graph_objects as go

    marked = {}
    for name, kernel in marks.items():
        try:
            marked[name] = kernel.bind(list(layers))
        except (Infeasible, ValueError):  # of another signature
            continue
    drawn = (
        ("sampled", list(bindings), [b.kernel.name for b in bindings]),
        ("hand-designed", [*marked.values()], [*marked]),
    )
    original = {cost: sum(getattr(layer, cost) * layer.count for layer in layers) for cost in ("flops", "params")}
    figure = go.Figure()
    for title, points, names in drawn:
        by_hand = title != "sampled"
        figure.add_trace(
            go.Scattergl(
                name=f"{title} ({len(points)})",
                x=[point.flops / original["flops"] for point in points],
                y=[point.params / original["params"] for point in points],
                hovertext=[
                    f"<b>{name}</b><br>{_lines(point.kernel)}" for name, point in zip(names, points, strict=True)
                ],
                hoverinfo="text+x+y",
                mode="markers",
                marker={"size": 10, "symbol": "diamond", "color": "#d1495b"}
                if by_hand
                else {"size": 4, "opacity": 0.4},
            )
        )
    figure.update_layout(
        title=f"{len(bindings)} sampled kernels: operations and parameters of the network's replaced layers",
        xaxis={"title": "FLOPs, of the original", "type": "log"},
        yaxis={"title": "parameters, of the original", "type": "log"},
        template="plotly_white",
        hoverlabel={"font": {"family": "monospace"}, "align": "left"},
    )
    target = Path(path)
    with writing(target):
        figure.write_html(target, include_plotlyjs=True, full_html=True)
    return target


def _lines(kernel: Kernel) -> str:
    return html.escape(str(kernel).rstrip()).replace("\n", "<br>")
