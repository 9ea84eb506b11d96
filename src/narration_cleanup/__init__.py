"""Keep a narration system healthy: remove expired audio, cancel abandoned requests, report.

A run looks at what is there (survey), decides what should go and why without touching anything
(plan), does it while checking each item once more (apply), and tells everyone the same story
(report).
"""

__version__ = "0.1.1"
