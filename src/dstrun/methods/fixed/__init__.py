"""Masks that a method gives, and does not compute anew at every step; parts of such methods."""
