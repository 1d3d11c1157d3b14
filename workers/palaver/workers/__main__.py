"""`python -m palaver.workers`: see `command`."""

import sys

from palaver.shared.first_process import end_when_told

if __name__ == "__main__":
    end_when_told()
    from palaver.workers.command import main  # takes a second

    options = sys.argv[1:]
    # What Celery starts anew at SIGHUP. By its path it would find our `http` where Python's is meant.
    sys.argv = ["-m", "palaver.workers", *options]
    sys.exit(main(options))
