"""What is counted, what failed, and how it is told: health, logs, metrics.

Everybody above may write here. Nothing here decides anything or waits for anything.
"""
