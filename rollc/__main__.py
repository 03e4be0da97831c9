"""``python -m rollc`` is the ``rollc`` command."""

from rollc.cli import main

if __name__ == "__main__":
    main()
