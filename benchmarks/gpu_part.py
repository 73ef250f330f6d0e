"""One part of `benchmarks/gpu.py`, in a process of its own: python gpu_part.py JOB JSON."""

import json
import sys
import traceback
from importlib import import_module

JOBS = {  # job: module of benchmarks/ that has it
    "facts": "gpu_facts",
    "reference": "gpu_reference",
    "agreement": "gpu_agreement",
    "devices": "gpu_agreement",
    "waits": "gpu_graphs",
    "recompilation": "gpu_graphs",
    "resume": "gpu_repeat",
    "repeat": "gpu_repeat",
    "commands": "gpu_commands",
    "sweep": "gpu_commands",
    "memory": "gpu_commands",
    "speed": "gpu_timings",
    "share": "gpu_timings",
}


def main() -> None:
    job, told = sys.argv[1:]
    from gpu_child import Child

    child = Child(json.loads(told))
    try:
        getattr(import_module(JOBS[job]), job)(child)
    except Exception as error:
        child.say(error=f"{type(error).__name__}: {str(error)[:500]}")
        traceback.print_exc()
        sys.exit(1)


if __name__ == "__main__":
    main()
