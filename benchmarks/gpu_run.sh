#!/usr/bin/env bash
# run.sh of the folders that benchmarks/gpu_kit.py lays out: unpack the images; where wheels are, install them into a
# folder of its own and measure. Nothing is fetched. Arguments go to gpu.py; results come to $OUT, by default out/ here.
# $DSTRUN_GPU (default: dstrun_gpu in the temporary folder) keeps images, run folders and compiled code between calls.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
keep=${DSTRUN_GPU:-${TMPDIR:-/tmp}/dstrun_gpu}
python=${PYTHON:-python3}
mkdir -p "$keep"
if [ -d "$here/wheels" ]; then # beside the unpacking, which takes some seconds
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target "$keep/site" \
        --disable-pip-version-check --root-user-action ignore "$here"/wheels/*.whl &
fi
"$python" "$here/gpu_images.py" unpack "$here/images" "$keep/data"
wait
[ -d "$here/wheels" ] || exit 0
export PYTHONPATH="$keep/site${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" "$here/gpu.py" --out "${OUT:-$here/out}" --work "$keep/work" --data "$keep/data" "$@"
