"""Trackers: programs that receive a copy of a run's figures while it trains, and show them."""
