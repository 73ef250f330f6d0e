"""Create a W&B workspace with the dashboard's views.

    python docs/wandb_workspace.py ENTITY PROJECT

Needs `pip install wandb-workspaces` and an account. W&B itself draws one chart per logged key, in
sections by the part before the slash; this adds charts that compare runs and that show all layers.
"""

import sys

import wandb_workspaces.reports.v2 as panels
import wandb_workspaces.workspaces as workspaces


def workspace(entity: str, project: str) -> workspaces.Workspace:
    """Return a workspace that compares accuracy and density, and shows every layer."""
    remaining, accuracy = (
        panels.SummaryMetric("density/model"),
        panels.SummaryMetric("accuracy/test"),
    )
    settings = [panels.Config(key) for key in ("reg.alpha", "schedule.lr", "reg.granularity")]
    columns = [
        panels.ParallelCoordinatesPlotColumn(metric) for metric in (*settings, remaining, accuracy)
    ]
    compare = [
        panels.ScatterPlot(title="accuracy against density", x=remaining, y=accuracy, log_x=True),
        panels.ScatterPlot(title="density against alpha", x=settings[0], y=remaining, log_x=True),
        panels.ScatterPlot(title="accuracy against alpha", x=settings[0], y=accuracy, log_x=True),
        panels.ParallelCoordinatesPlot(title="settings and results", columns=columns),
    ]
    courses = [
        panels.LinePlot(title=f"{what} of every layer", x="epoch", metric_regex=rf"{what}/\d+\..*")
        for what in ("density", "threshold", "churn", "explored", "gradient_norm")
    ]
    training = [
        panels.LinePlot(title=title, x="epoch", y=keys)
        for title, keys in {
            "density and accuracy": ["density/model", "accuracy/test"],
            "loss": ["loss/train", "loss/test"],
            "multiply-adds": ["flops/model"],
        }.items()
    ]
    sections = {"Compare": compare, "Layers": courses, "Training": training}
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name="dstrun",
        sections=[
            workspaces.Section(name=name, panels=some, is_open=True)
            for name, some in sections.items()
        ],
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(workspace(*sys.argv[1:]).save().url)
