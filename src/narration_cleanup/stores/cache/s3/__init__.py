"""Narrations in an S3-compatible bucket: with an index among them, or without."""

from narration_cleanup.stores.cache.s3.indexed import IndexedBucket
from narration_cleanup.stores.cache.s3.unindexed import PlainBucket

__all__ = ["IndexedBucket", "PlainBucket"]
