"""TensorBoard: event files in the run folder, written without TensorFlow or torch."""

import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from tensorboard.summary.writer.record_writer import RecordWriter

from dstrun.runs.trackers.tracker import TrackedRun

END = "_hparams_/session_end_info"


class TensorBoardTracker:
    """Tracker that writes `tensorboard/` in the run folder, with the epoch as step.

    A run that resumes copies the events of the epochs that it keeps to a new file.
    """

    def __init__(self, run: TrackedRun) -> None:
        folder = Path(run.folder, "tensorboard")
        folder.mkdir(exist_ok=True)
        old = sorted(folder.glob("*tfevents*"))
        kept = [event for file in old for event in _events(file) if _is_kept(event, run)]
        self.epoch = max((event.step for event in kept), default=0)
        file = (folder / f"events.out.tfevents.{time.time_ns()}").open("xb")
        self._file = RecordWriter(file)
        self._write(file_version="brain.Event:2")
        # a TensorBoard that runs drops what it has read of the old files
        self._write(session_log=SessionLog(status=SessionLog.START))
        for event in kept:
            self._file.write(event.SerializeToString())
        if not kept:
            self._describe(run)
        self._file.flush()
        for path in old:  # a TensorBoard that runs stops at a file that is gone, not at its end
            path.open("wb").close() if path.stat().st_size else path.unlink()

    def log(self, row: Mapping[str, float]) -> None:
        """Write a row to the disk."""
        values = []
        for tag, value in row.items():
            if tag != "epoch":
                values.append(Summary.Value(tag=tag, simple_value=value))
        self._write(step=int(row["epoch"]), summary=Summary(value=values))
        self._file.flush()

    def finish(self, exit_code: int) -> None:
        """Write whether the run is finished, which the tab of hyperparameters shows."""
        status = STATUS_FAILURE if exit_code else STATUS_SUCCESS
        end = SessionEndInfo(status=status, end_time_secs=time.time())
        self._add_hparams(END, HParamsPluginData(session_end_info=end))
        self._file.close()

    def _describe(self, run: TrackedRun) -> None:
        """Write the config as hyperparameters, and folder, group, tags and notes as text."""
        start = SessionStartInfo(start_time_secs=time.time(), group_name=f"{run.group}/{run.name}")
        for key, value in run.config.items():
            if isinstance(value, bool):
                start.hparams[key].bool_value = value
            elif isinstance(value, int | float):
                start.hparams[key].number_value = value
            elif value is not None:
                start.hparams[key].string_value = str(value)
        self._add_hparams(
            "_hparams_/session_start_info", HParamsPluginData(session_start_info=start)
        )
        about = run.about | {"tags": ", ".join(run.tags), "notes": run.notes}
        lines = [f"{name}: {text}" for name, text in about.items() if text]
        self._add("run", "text", b"", "  \n".join(lines).encode())

    def _add_hparams(self, tag: str, data: Any) -> None:
        self._add(tag, "hparams", data.SerializeToString())

    def _add(self, tag: str, plugin: str, content: bytes, *texts: bytes) -> None:
        data = SummaryMetadata.PluginData(plugin_name=plugin, content=content)
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=len(texts))])
        tensor = TensorProto(dtype=DT_STRING, string_val=texts, tensor_shape=shape)
        value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=data), tensor=tensor)
        self._write(summary=Summary(value=[value]))

    def _write(self, **fields: Any) -> None:
        self._file.write(Event(wall_time=time.time(), **fields).SerializeToString())


def _is_kept(event: Event, run: TrackedRun) -> bool:
    """Return whether a run that resumes keeps an event of its file."""
    tags = [value.tag for value in event.summary.value]
    return run.resumes and event.step <= run.epoch and bool(tags) and END not in tags


def _events(path: Path) -> Iterator[Event]:
    """Yield the events of a file up to its end, or to a record that is incomplete.

    A record is length, checksum (12 bytes), data, and its checksum (4 bytes).
    """
    with path.open("rb") as file:
        while len(head := file.read(12)) == 12:
            (size,) = struct.unpack("<Q", head[:8])
            data = file.read(size + 4)
            if len(data) < size + 4:
                return
            yield Event.FromString(data[:size])
