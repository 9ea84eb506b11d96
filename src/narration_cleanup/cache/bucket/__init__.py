"""Narrations in an S3-compatible bucket: with an index among them, or without."""

from narration_cleanup.cache.bucket.indexed import IndexedBucket
from narration_cleanup.cache.bucket.plain import PlainBucket

__all__ = ["IndexedBucket", "PlainBucket"]
