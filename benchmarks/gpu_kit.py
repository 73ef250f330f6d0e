"""Lay out what to carry to a GPU machine without a network: two folders of about 50 MiB each.

    python benchmarks/gpu_kit.py [--data ROOT] [--out build]

    build/gpu/          benchmarks, wheels of what such a machine lacks, half of CIFAR-10, run.sh
    build/gpu-images/   the other half, and a run.sh that unpacks it

The machine has Python ≥ 3.11, torch ≥ 2.11 with CUDA, torchvision, numpy, pandas, scikit-learn,
rich and safetensors. Wheels that do not come from this checkout are fetched by pip.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import gpu_images

ROOT = Path(__file__).parents[1]
CARRIED = ("hydra-core", "omegaconf", "antlr4-python3-runtime")
SOURCE = ("pyproject.toml", "README.md", "LICENSE", "src", "conf", "sweeps")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DSTRUN_DATA", "data")))
    parser.add_argument("--out", type=Path, default=Path("build"), metavar="DIR")
    options = parser.parse_args()
    kit, images = options.out / "gpu", options.out / "gpu-images"
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out) as place:  # an earlier kit stays until then
        made = [Path(place, folder.name) for folder in (kit, images)]
        for folder in made:
            folder.mkdir()
        try:
            gpu_images.pack_all(options.data, [folder / "images" for folder in made[::-1]])
        except (OSError, ValueError) as error:
            where = f"no CIFAR-10 below {options.data} ($DSTRUN_DATA)"
            print(f"gpu_kit.py: --data: {where}: {error}", file=sys.stderr)
            sys.exit(2)
        lay_out(*made)
        wheels(made[0] / "wheels")
        for new, folder in zip(made, (kit, images), strict=True):
            shutil.rmtree(folder, ignore_errors=True)
            new.replace(folder)
    for folder in (images, kit):
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        print(f"{folder}: {size / 2**20:.1f} MiB")
    print(f"there: bash {images}/run.sh; then bash {kit}/run.sh")


def lay_out(kit: Path, images: Path) -> None:
    """Copy the benchmarks, and the script that starts them."""
    here = Path(__file__).parent
    for file in [here / "common.py", *here.glob("gpu*.py")]:
        shutil.copy(file, kit)
    for folder in (kit, images):
        shutil.copy(here / "gpu_run.sh", folder / "run.sh")
    shutil.copy(here / "gpu_images.py", images)


def wheels(folder: Path) -> None:
    """Build dstrun's wheel, from a copy since building leaves files, and fetch the others."""
    with tempfile.TemporaryDirectory() as copy:
        for name in SOURCE:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(ROOT / name, Path(copy, name), ignore=ignored)
            else:
                shutil.copy(ROOT / name, copy)
        names = [f"{name}=={version(name)}" for name in CARRIED]
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        subprocess.run([*command, "--wheel-dir", str(folder), *names, copy], check=True)


if __name__ == "__main__":
    main()
