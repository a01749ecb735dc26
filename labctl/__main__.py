"""The entry point. `--version` is answered before anything heavy is imported."""

import gc
import os
import sys

from labctl import __version__


def main() -> None:
    """Run the command line; exits with the documented code."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"labctl {__version__}\n")
        return
    # Else pydantic looks for plugins in every distribution there is; none may change our models.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # What is imported stays: to look through it again and again is a twentieth of a short run.
    gc.set_threshold(50_000)
    from labctl.cli import run

    sys.exit(run())


if __name__ == "__main__":
    main()
