"""Whole numbers in given proportions. No torch."""

from collections.abc import Sequence


def apportion(total: int, shares: Sequence[float], room: Sequence[int]) -> list[int]:
    """Return whole numbers in the proportion of `shares`, at most `room` each, that add up.

    Their sum is `total`, or what there is room for. What exceeds the room of one is split in equal
    parts over those that have room. Largest remainders are rounded up, of equal ones the first.
    Shares that are all 0 are equal.
    """
    total, whole = min(total, sum(room)), sum(shares)
    parts = [total * (share / whole if whole else 1 / len(shares)) for share in shares]
    while (excess := sum(max(part - most, 0) for part, most in zip(parts, room, strict=True))) > 0:
        free = sum(part < most for part, most in zip(parts, room, strict=True))
        if not free:  # the excess is a rounding error
            break
        added = excess / free
        parts = [p + added if p < most else most for p, most in zip(parts, room, strict=True)]
    numbers = [int(part) for part in parts]
    places = sorted(range(len(parts)), key=lambda place: numbers[place] - parts[place])
    for place in places[: total - sum(numbers)]:
        numbers[place] += 1
    return numbers
