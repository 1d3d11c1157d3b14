"""`python -m palaver.producer.cli`, where no `palaver` is on PATH."""

import sys

from palaver.producer.cli import main

sys.exit(main())
