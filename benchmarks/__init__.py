"""What a run costs: processor seconds, time, bytes written, peak memory, and the service's waits.

``python3 dev.py bench`` (or ``python -m benchmarks``) makes trees and tables in the service's own
form, and runs this tool, an earlier version of it and other programs in alternation on fresh
copies. Quote the ratios: a time says as much about the machine.
"""
