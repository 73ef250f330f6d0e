"""What must hold under faults: each with a few examples in the fast suite, and thousands by `make
faults`."""
