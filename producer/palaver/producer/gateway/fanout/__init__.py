"""From one subscription of the process to any number of readers."""
