"""Side by side with the peers: speed, peak memory, and how long the service waits.

``python3 dev.py bench`` (or ``python -m benchmarks``) makes trees and tables in the service's own
form, runs this tool and each peer that is installed in alternation on fresh copies, and prints
medians, ratios and peak memory. Quote the ratios: a time says as much about the machine.
"""
