"""Training on fake CUDA tensors: shapes, dtypes and devices without values, and without a GPU.

    python -m tests.helpers.fake_cuda --help

libraries   two stand-ins for the driver, which a process needs before it imports torch
emulation   what torch's fake tensors lack for a whole training run
watch       a look at every operation: devices mixed, waits, launches, memory
cases       networks, and options that training is tried with
trial       one network with one case, through two epochs and a checkpoint
faults      mistakes put in on purpose, which the watch must find
"""
