"""Number of runs of each file in sweeps/."""

RUNS = {  # settings times seeds
    "quick": 2 * (1 + 8),
    "table1": 4 * 2 * 3,
    "best_table1": 4 * 2 * 3,
    "table2": 2 * 3 + 2 * 3 + 2 * 3,
    "best_table2": 2 * 3 * (1 + 2),
    "short_table2": (1 + 2) + (1 + 3 + 2) + (1 + 2) + (1 + 1),
    "threshold_clip": 1 + 3,
    "table3": 1 + 2,
    "figure3": 3 * 3 * (1 + 7),
    "figure4": 2 * 3,
    "lenet_alpha": 3 * (1 + 6),
    "ablation": 2 * (1 + 13),
    "steering": 3 * (1 + 3 + 3),
    "short_steering": 2 * (1 + 3 + 3),
    "few_updates": 3 * (3 + 2 + 2 + 6 + 5) + 3,
    "figure5": 2 * 3,
    "figure6": 2 * 3,
    "figure7": 3 * (1 + 3),
    "granularity": 3 * (1 + 3),
}
