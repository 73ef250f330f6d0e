"""Short spellings of numbers."""


def short(number: float) -> str:
    """Return a number in as few characters as possible: 5e-4, 1.5e-5, 0, 2e-2 for 0.02."""
    mantissa, exponent = f"{number:.6e}".split("e")
    digits = mantissa.rstrip("0").rstrip(".")
    return digits if int(exponent) == 0 else f"{digits}e{int(exponent)}"
