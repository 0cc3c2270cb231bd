"""Measurements, side by side in one run; what they print are ratios, for absolute figures drift with the machine."""
