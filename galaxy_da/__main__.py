"""``python -m galaxy_da``: the ``galaxy-da`` command."""

from galaxy_da.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
