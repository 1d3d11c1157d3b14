"""The tests; a package, so that `from tests.servers import …` means these files and no others."""
