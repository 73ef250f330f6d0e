"""Dynamic Sparse Training (Liu et al., ICLR 2020, arXiv:2005.06870)."""
