"""Judgement over history: pure, no I/O, no clock, no unseeded randomness."""
