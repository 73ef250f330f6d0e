"""What a run records: rows, console lines, its copies in trackers, and the summary."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import inf
from types import TracebackType
from typing import Any

from dstrun.methods.flops import multiply_adds
from dstrun.methods.mask_stats import LayerFigures, weights_left_dense
from dstrun.runs.folder import RunFolder
from dstrun.runs.identity import applies
from dstrun.runs.labels import quantity
from dstrun.runs.metrics import LAYERS, STREAMED, Rows, columns_of, number, wandb_row
from dstrun.runs.status import Status
from dstrun.runs.summary import summarise
from dstrun.runs.target_density import as_asked
from dstrun.runs.tasks import Figure
from dstrun.runs.trackers.tracker import Tracker
from dstrun.system.files import write_json
from dstrun.system.run_files import LAYERS_FILE, METRICS_FILE, SUMMARY_FILE
from dstrun.system.terminal import duration
from dstrun.training import describe
from dstrun.training.console import RunConsole
from dstrun.training.loop import Record
from dstrun.training.prepare import Prepared
from dstrun.training.recipes import changed_from_recipe, recipe_of
from dstrun.training.trainer import Trainer


class Recorder:
    """The records of one run while it trains: opened at a checkpoint's rows, or empty.

    marks: sizes of metrics.csv and layers.csv in the checkpoint to resume from, as `Rows.mark`
    gave them; rows after that are cut. As a context it closes the files at the end.
    """

    def __init__(
        self,
        folder: RunFolder,
        prepared: Prepared,
        trainer: Trainer,
        console: RunConsole,
        marks: Mapping[str, Mapping[str, int]],
    ) -> None:
        self._folder, self._config = folder, folder.config
        self._prepared, self._trainer, self._console = prepared, trainer, console
        model, method = trainer.model, trainer.method
        self._work = multiply_adds(model, prepared.example)
        self._left_dense = weights_left_dense(model, method.left_dense)
        columns = columns_of(prepared.task, has_validation=prepared.validation is not None)
        columns += (STREAMED if prepared.decoder else ()) + tuple(method.metric_columns)
        self._metrics = self._open(METRICS_FILE, columns, marks)
        self._layers = self._open(LAYERS_FILE, LAYERS, marks)

    def _open(
        self, name: str, columns: Sequence[str], marks: Mapping[str, Mapping[str, int]]
    ) -> Rows:
        keep = marks[name]["bytes"] if name in marks else 0
        return Rows(self._folder.path / name, columns, keep)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._metrics.close()
        self._layers.close()

    def announce(self, status: Status) -> None:
        """Show what is about to be trained, on what, and notes on data and model."""
        self._console.say(str(self._folder), style="bold")
        self._console.show_facts(self._facts(status.content))
        notes = []
        for note in self._prepared.splits.notes:
            notes.append(note if note.startswith("data.") else f"data.root: {note}")
        asked, count = self._config.reg.images, len(self._prepared.splits.train)
        if applies(self._config, "reg.images") and asked > count:
            examples = self._prepared.task.examples
            notes.append(f"reg.images={asked} is more than there are: {count:,} train {examples}")
        steps = self._trainer.rounds.total * len(self._trainer.batches)
        if steps and (rarely := self._trainer.method.moves_rarely()):
            every = f"reg.every={self._config.reg.every}"
            notes.append(f"{every}: {rarely}, for the run has {quantity(steps, 'step')}")
        for note in [*notes, *self._prepared.trial.notes, *self._prepared.notes]:
            self._console.say(f"note: {note}", style="yellow")

    def _facts(self, status: Mapping[str, Any]) -> dict[str, str]:
        config, trainer, size = self._config, self._trainer, self._size()
        dense = describe.dense_line(self._left_dense, trainer.method.left_dense, size.masked)
        per_epoch = len(trainer.batches)
        step, steps = trainer.progress.step, trainer.rounds.total * per_epoch
        recipe, changed = recipe_of(config), changed_from_recipe(as_asked(config))
        examples = self._prepared.task.examples
        device, name, threads = (status[key] for key in ("device", "device_name", "threads"))
        return {
            "data": describe.data_line(config.data.name, self._prepared.data),
            "model": describe.model_line(config, size, trainer.method.has_masks),
            "left dense": dense if trainer.method.has_masks else "",
            "method": trainer.method.describe(),
            "schedule": describe.schedule_line(config, per_epoch, recipe, changed, examples),
            "device": describe.device_line(
                device, name, threads, config.schedule, self._prepared.gpu
            ),
            "ranks": describe.ranks_line(trainer.ranks.size, config.schedule.batch_size, examples),
            "resuming": f"at step {step:,} of {steps:,}" if step else "",
        }

    def _size(self) -> describe.Size:
        """Return trained parameters and weights of the model, from its tensors' shapes."""
        added = self._trainer.method.added_parameters()
        of_method = {id(parameter) for parameter in added}
        parameters = weights = 0
        for parameter in self._trainer.model.parameters():
            if id(parameter) not in of_method:
                parameters += parameter.numel()
                weights += parameter.numel() if parameter.dim() > 1 else 0
        masked = weights - sum(self._left_dense.values())
        return describe.Size(parameters, masked, sum(one.numel() for one in added))

    def figures_so_far(self) -> dict[str, float]:
        """Return the epoch under way, its mean loss and headline figure, and the density now.

        Waits for the device.
        """
        headline = self._prepared.task.headline
        progress, method = self._trainer.progress, self._trainer.method
        kept, total = int(method.kept()), self._size().masked
        dense = sum(self._left_dense.values())
        loss, right = (float(one) / progress.images for one in (progress.loss_sum, progress.right))
        return {
            "epoch": progress.epoch + 1,
            "loss": loss,
            headline.name: headline.of(loss, right),
            "density": kept / total,
            "density_model": (kept + dense) / (total + dense),
        }

    def write(self, record: Record, tracker: Tracker) -> None:
        """Write the rows of a Record; at an epoch's end show a line and send it to the trackers."""
        layers = []
        for layer in record.layers:
            row = {"epoch": record.epoch, "step": record.step, **asdict(layer)}
            layers.append(row | {"density": layer.density})
        self._layers.append(layers)
        if record.kind == "epoch":
            figures = record.figures | {"epoch": record.epoch, "step": record.step}
            figures["flops_fraction"] = self._work.fraction(record.layers)
            if not self._prepared.decoder:
                figures.pop("data_wait", None)
            self._metrics.append([figures])
            rounds = self._trainer.rounds
            note = describe.round_words(rounds, record.epoch - 1)
            self._console.show_epoch(record.epoch, rounds.total, figures, note)
            tracker.log(wandb_row(figures, layers))

    def marks(self) -> dict[str, dict[str, int]]:
        """Flush the rows to the disk and return their marks, for a checkpoint."""
        return {METRICS_FILE: self._metrics.mark(), LAYERS_FILE: self._layers.mark()}

    def finish(self) -> None:
        """Write summary.json, and show the layers' densities and what can be done next."""
        layers = self._trainer.method.measure()
        summary = self._summary(layers)
        write_json(self._folder.path / SUMMARY_FILE, summary)
        self._console.stop()
        left_dense = sum(self._left_dense.values())
        courses = self._density_curves(summary["total"])
        self._console.show_layers([asdict(layer) for layer in layers], courses, left_dense)
        result = describe.result_line(summary, duration(summary["total_seconds"]))
        self._console.say(result, style="bold green")
        has_masks = self._trainer.method.has_masks
        advice = {"sparser": describe.advice(self._folder.config, summary["density"])}
        self._console.show_facts(advice | describe.next_commands(self._folder.path, has_masks))
        self._console.say(str(self._folder))

    def _density_curves(self, total: int) -> dict[str, list[float]]:
        """Return densities over the run, of each layer and of all masked layers ("model")."""
        kept: dict[str, int] = {}  # by step
        curves: dict[str, list[float]] = {}
        for row in self._layers.read():
            curves.setdefault(row["layer"], []).append(float(row["density"]))
            kept[row["step"]] = kept.get(row["step"], 0) + int(row["kept"])
        curves["model"] = [count / total for count in kept.values()]
        return curves

    def _summary(self, layers: Sequence[LayerFigures]) -> dict[str, Any]:
        """Return what `summarise` does, and the best epoch by validation if there is a split."""
        rows = []
        for row in self._metrics.read():
            rows.append({column: number(text) for column, text in row.items()})
        size = self._size()
        summary = summarise(
            rows,
            layers,
            left_dense=self._left_dense,
            reasons=self._trainer.method.left_dense,
            parameters=size.parameters,
            thresholds=size.added,
            work=self._work,
        )
        if self._prepared.validation:
            reg = self._config.reg
            target = reg.target_density if reg.method == "dst" else rows[-1]["density"]
            headline = self._prepared.task.headline
            best = _best(rows, target or 0.0, summary["total"], headline)
            summary["best_by_validation"] = best
        return summary


def _best(
    rows: Sequence[dict[str, float | None]], target: float, total: int, headline: Figure
) -> dict[str, float | None]:
    """Return the epoch whose headline is best in validation, among those at the target if there is
    one.

    A density is at its target within one weight of `total`, since counts are whole.
    """
    limit = target + 1 / total if target else 1.0
    at_target = [row for row in rows if (row["density"] or 0) <= limit]
    column = headline.column("validation")

    def score(row: dict[str, float | None]) -> float:
        value = row[column]
        return -inf if value is None else headline.score(value)

    return max(at_target or rows, key=score)
