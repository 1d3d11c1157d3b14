"""Draws results.png: `python plot.py RESULTS_JSON PNG`. Lives with the rivals because matplotlib does."""

import json
import sys
from pathlib import Path
from statistics import median

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

PANELS = (
    ("CPU of the worker per chunk (µs)", "200 streams x 20/s", "cpu_us"),
    ("chunks a second, unpaced", "100 streams, unpaced", "chunks_a_second"),
    ("added latency, p99 (ms)", "latency, 100 streams x 20/s", "p99_ms"),
    ("short jobs a second", "short jobs", "jobs_a_second"),
)
COLOURS = {"palaver": "tab:blue", "floor": "tab:gray"}


def main(source: Path, target: Path) -> None:
    runs = json.loads(source.read_text(encoding="utf-8"))["runs"]
    figure, panels = plt.subplots(2, 2, figsize=(11, 6.5), layout="constrained")
    for panel, (title, scenario, name) in zip(panels.flat, PANELS, strict=True):
        bars = {
            who: median(run[name] for run in found.values()) for who, found in runs.get(scenario, {}).items()
        }
        colours = [COLOURS.get(who, "tab:orange") for who in bars]
        drawn = panel.barh(list(bars), list(bars.values()), color=colours)
        panel.bar_label(drawn, fmt="{:,.1f}" if max(bars.values(), default=0) < 100 else "{:,.0f}", padding=3)
        panel.invert_yaxis()
        panel.margins(x=0.2)
        panel.set_title(title)
        panel.set_visible(bool(bars))
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
