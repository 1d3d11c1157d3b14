"""`python -m palaver.workers`: see `command`."""

import sys

from palaver.shared.first_process import end_when_told

if __name__ == "__main__":
    end_when_told()
    from palaver.workers.command import main  # takes a second

    sys.exit(main(sys.argv[1:]))
