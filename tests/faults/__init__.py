"""Tests under faults: a few examples in the fast tests, thousands by `make faults`."""
