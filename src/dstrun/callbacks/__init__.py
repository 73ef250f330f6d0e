"""Training loops of others: the record of a run, and callbacks of their trainers.

`HuggingFaceCallback` is for `transformers.Trainer`, `LightningCallback` for `lightning`'s.
Importing the package imports neither, nor torch.
"""
