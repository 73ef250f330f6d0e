"""CUDA without a GPU: training on fake tensors, whose values are never computed.

libraries   two stand-ins for the driver, which a process needs before it imports torch
"""
