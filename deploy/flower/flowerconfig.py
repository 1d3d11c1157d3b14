"""Flower's configuration in a container. What it does is told in the module that it takes everything from."""

from palaver.workers.flowerconfig import *  # noqa: F403 - Flower reads its options from this file's names
