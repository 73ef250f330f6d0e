"""Names of the files in a run folder; docs/files.md says what is in each."""

CONFIG_FILE = "config.yaml"
STATUS_FILE = "status.json"
METRICS_FILE = "metrics.csv"
LAYERS_FILE = "layers.csv"
SUMMARY_FILE = "summary.json"
LOG_FILE = "train.log"
CHECKPOINT_FILE = "checkpoint.pt"
PREVIOUS_CHECKPOINT_FILE = "checkpoint.before.pt"
STOP_FILE = "stop"  # created by anyone, it stops the run at the end of the epoch
RESULT_FILES = (CONFIG_FILE, METRICS_FILE, LAYERS_FILE, SUMMARY_FILE)  # with digests in status.json
