"""A page in Flower: what runs now, and a button that ends it."""

from palaver.workers.flower_pages.streams import install

__all__ = ["install"]
